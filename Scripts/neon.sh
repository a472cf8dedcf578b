#!/usr/bin/env bash
# Compiles the C kernels and their driver for arm64 and runs it under qemu. Needs clang, Debian's libc6-dev-arm64-cross,
# libgcc-12-dev-arm64-cross, binutils-aarch64-linux-gnu and qemu-user; says so and ends well where they are missing.
set -euo pipefail
cd "$(dirname "$0")/.."
root=/usr/aarch64-linux-gnu
if ! command -v clang > /dev/null || ! command -v qemu-aarch64 > /dev/null || [ ! -d "$root/include" ]; then
  echo "arm64 kernels: skipped (needs clang, qemu-user and Debian's cross packages for arm64)"
  exit 0
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
libraries=$(ls -d /usr/lib/gcc-cross/aarch64-linux-gnu/* | tail -1)
clang --target=aarch64-linux-gnu -O3 -Wall -ISources/CToeplitzKernels/include -isystem "$root/include" -fuse-ld=lld \
  -B"$libraries" -L"$libraries" -B"$root/lib" -L"$root/lib" Sources/CToeplitzKernels/*/*.c Tests/KernelDriver/driver.c -static -lm \
  -o "$folder/driver"
echo "arm64 kernels: $(qemu-aarch64 "$folder/driver")"
