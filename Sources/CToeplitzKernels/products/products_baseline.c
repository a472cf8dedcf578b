#include "../base/target.h"
#include "CToeplitzKernels.h"
#define SUFFIX baseline
#define TZ_BYTES 16
#define TZ_ROWS 6
#define TZ_KEEP(v)
#include "products.inc.h"
