#include "CToeplitzKernels.h"
