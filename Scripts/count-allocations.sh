#!/bin/sh
# Counts how often a push into a buffer allocates memory and takes locks, by standing in for malloc and pthread_mutex_lock.
#
#     Scripts/count-allocations.sh [--check] .build/release/toeplitz vocoder --chunk 2 --threads 1
#
# The counter is preloaded; `toeplitz bench --stream` finds it and prints how many a push makes. With --check it is an error if there
# are any.
set -e
check=
if [ "$1" = --check ]; then
  check=1
  shift
fi
tool=$1
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/count.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
static atomic_ulong count, locks;

unsigned long allocation_count(void) { return atomic_load(&count); }
unsigned long lock_count(void) { return atomic_load(&locks); }
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
int pthread_mutex_lock(pthread_mutex_t *mutex) {
  static int (*real)(pthread_mutex_t *);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pthread_mutex_lock");
  locks++;
  return real(mutex);
}
C
cc -O2 -shared -fPIC -o "$folder/count.so" "$folder/count.c" -ldl
if [ -z "$check" ]; then
  LD_PRELOAD="$folder/count.so" "$tool" bench --stream "$@"
  exit
fi
LD_PRELOAD="$folder/count.so" "$tool" bench --json --stream "$@" > "$folder/lines"
lines=$(wc -l < "$folder/lines")
free=$(grep '"allocations":0[,}]' "$folder/lines" | grep -c '"locks":0[,}]' || true)
echo "$*: $free of $lines chunk lengths without allocations and locks"
if [ "$lines" = 0 ] || [ "$free" != "$lines" ]; then
  cat "$folder/lines"
  exit 1
fi
