#include <math.h>

#include "../base/target.h"
#include "CToeplitzKernels.h"
#if defined(__aarch64__)
#define TZ_FUSES
#endif
#define SUFFIX baseline
#define TZ_BYTES 16
#include "elementwise.inc.h"
