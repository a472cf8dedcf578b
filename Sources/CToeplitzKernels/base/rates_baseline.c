#include "CToeplitzKernels.h"
#include "target.h"
#define SUFFIX baseline
#define TZ_BYTES 16
#include "rates.inc.h"
