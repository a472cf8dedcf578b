#ifndef CTOEPLITZ_KERNELS_H
#define CTOEPLITZ_KERNELS_H
#include <stddef.h>
#include <stdint.h>
#endif
