#!/usr/bin/env bash
# Fuzzes each parser for some seconds of processor time (600 unless given) with libFuzzer and the address sanitizer. More
# than 2 GB, or 10 seconds for a file that is no model, count as findings. With BUILD=0 it takes what was built before.
#
#     Fuzz/run.sh [SECONDS] [PARSER ...]
#
# The seeds are the tests' fixtures and Fuzz/Corpus/PARSER (see make-seeds.py). With KEEP=1 inputs that reach code which those do not are
# added to Fuzz/Corpus/PARSER. Findings are left in Fuzz/Findings.
set -euo pipefail
cd "$(dirname "$0")"
seconds=${1:-600}
shift || true
parsers=("$@")
[ ${#parsers[@]} -gt 0 ] || parsers=(safetensors npy npz strings wav flac pt onnx value regex einsum quantize \
  png jpg bmp ppm idx json training)
# Coverage of the parsers themselves needs the flags for all modules.
[ "${BUILD:-1}" = 0 ] || swift build -c release --sanitize=address -Xswiftc -sanitize-coverage=edge,trace-cmp,inline-8bit-counters
export SWIFT_BACKTRACE=enable=no ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1
# A model of a few bytes may ask for much memory; what is looked for are other faults.
export TOEPLITZ_MEMORY_LIMIT=512
fixtures=../Tests/Fixtures
status=0
mkdir -p Findings

# The seconds of processor time that a process has taken.
taken() {
  ps -o time= -p "$1" | awk -F'[-:.]' '{ n = NF; s = $n + 60 * $(n - 1) + 3600 * $(n - 2) } END { print s + 0 }'
}

for parser in "${parsers[@]}"; do
  corpus=$(mktemp -d)
  find "$fixtures" "Corpus/$parser" -name "*.$parser" -size -64k -exec cp {} "$corpus" \; 2>/dev/null || true
  [ ! -d "Corpus/$parser" ] || cp "Corpus/$parser"/* "$corpus"
  case $parser in
  # A configuration, an index of parts, and files of the same kind as another parser's.
  json) cp ../Sources/ToeplitzCommand/Resources/vocoder/config.json "$corpus" ;;
  quantize) find "$fixtures"/onnx -name "*conv*.onnx" -o -name "*matmul*.onnx" -o -name "residual*.onnx" | xargs cp -t "$corpus" ;;
  training) cp "$fixtures"/checkpoint/*.safetensors "$corpus" ;;
  esac
  [ "$parser" != ppm ] || cp "$fixtures"/images/*.p[bg]m "$corpus"
  [ "$parser" != pt ] || cp "$fixtures"/torch/*.pth "$fixtures"/torch/*.ckpt "$fixtures"/torch/kinds/* "$corpus"
  echo "== $parser, $(ls "$corpus" | wc -l) seeds, $seconds s"
  # Models may compute long; the tool bounds their time itself. Files must not take long.
  case $parser in onnx | quantize) timeout=600 ;; *) timeout=10 ;; esac
  PARSER=$parser .build/release/Fuzz -rss_limit_mb=2048 -timeout=$timeout -max_len=65536 \
    -artifact_prefix="Findings/$parser-" -print_final_stats=1 "$corpus" >"Findings/$parser.log" 2>&1 &
  fuzzer=$!
  SECONDS=0
  # The time on the clock says little on a machine that has other work.
  while kill -0 $fuzzer 2>/dev/null && [ "$(taken $fuzzer)" -lt "$seconds" ]; do sleep 1; done
  echo "$(taken $fuzzer) s of processor time, $SECONDS s on the clock"
  kill -USR1 $fuzzer 2>/dev/null || true
  wait $fuzzer || status=1
  tail -8 "Findings/$parser.log"
  if [ "${KEEP:-}" ]; then
    mkdir -p "Corpus/$parser"
    PARSER=$parser .build/release/Fuzz -merge=1 -max_len=4096 "Corpus/$parser" "$corpus" 2>/dev/null
  fi
  rm -rf "$corpus"
done
exit $status
