#!/usr/bin/env bash
# Fuzzes each parser for some seconds (600 unless given) with libFuzzer and the address sanitizer.
#
#     Fuzz/run.sh [SECONDS] [PARSER ...]
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-600}
shift || true
parsers=("$@")
[ ${#parsers[@]} -gt 0 ] || parsers=(safetensors npy npz wav pt onnx png jpg)
# Coverage of the parsers themselves needs the flags for all modules.
swift build -c release --sanitize=address -Xswiftc -sanitize-coverage=edge,trace-cmp,inline-8bit-counters
export SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
fixtures=../Tests/Fixtures
for parser in "${parsers[@]}"; do
  corpus=$(mktemp -d)
  find "$fixtures" -name "*.$parser" -size -64k -exec cp {} "$corpus" \;
  [ "$parser" != pt ] || cp "$fixtures"/torch/*.pth "$fixtures"/torch/*.ckpt "$corpus"
  echo "== $parser, $(ls "$corpus" | wc -l) seeds, $seconds s"
  PARSER=$parser .build/release/Fuzz -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=20 -max_len=65536 \
    -print_final_stats=1 "$corpus" 2>&1 | tail -8
  rm -rf "$corpus"
done
