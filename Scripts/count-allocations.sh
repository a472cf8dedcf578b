#!/bin/sh
# Counts how often a push into a buffer allocates memory, by standing in for malloc.
#
#     Scripts/count-allocations.sh .build/release/toeplitz vocoder --chunk 2
#
# The counter is preloaded; `toeplitz bench --stream` finds it and prints how many allocations a push makes.
set -e
tool=$1
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/count.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
static atomic_ulong count;

unsigned long allocation_count(void) { return atomic_load(&count); }
void *malloc(size_t size) { count++; return __libc_malloc(size); }
void *calloc(size_t number, size_t size) { count++; return __libc_calloc(number, size); }
void *realloc(void *block, size_t size) { count++; return __libc_realloc(block, size); }
void *memalign(size_t alignment, size_t size) { count++; return __libc_memalign(alignment, size); }
void *aligned_alloc(size_t alignment, size_t size) { count++; return __libc_memalign(alignment, size); }
int posix_memalign(void **block, size_t alignment, size_t size) {
  count++;
  *block = __libc_memalign(alignment, size);
  return *block ? 0 : ENOMEM;
}
C
cc -O2 -shared -fPIC -o "$folder/count.so" "$folder/count.c"
LD_PRELOAD="$folder/count.so" "$tool" bench --stream "$@"
