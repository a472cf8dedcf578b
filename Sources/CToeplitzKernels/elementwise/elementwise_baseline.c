#include <math.h>

#include "../base/target.h"
#include "CToeplitzKernels.h"
#define SUFFIX baseline
#define TZ_BYTES 16
#include "elementwise.inc.h"
