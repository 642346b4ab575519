#!/usr/bin/env bash
# Runs fuzz targets, each for some seconds, one after another: fuzz/run.sh [SECONDS [TARGET...]]   (default: 60, every target)
#
# Needs no nightly toolchain and no cargo-fuzz (with these, `cargo fuzz run TARGET` works too): the pinned compiler takes the flags of
# libFuzzer with RUSTC_BOOTSTRAP. Found inputs stay in fuzz/corpus/TARGET, which is not committed; an input that breaks something is
# written to fuzz/artifacts/TARGET and ends the run.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
seconds=${1:-60}
shift || true
host=$(rustc -vV | sed -n 's/^host: //p')
targets=("$@")
if [[ ${#targets[@]} -eq 0 ]]; then
  for file in "$here"/fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi

# Coverage for libFuzzer; the address sanitizer watches the C code of zstd and the allocations. (The target is named so that build
# scripts and macros are not instrumented.)
export RUSTC_BOOTSTRAP=1
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Zsanitizer=address -Ccodegen-units=1"
cd "$here"
build=${CARGO_TARGET_DIR:-$here/target}
cargo build --release --locked --target "$host"
for target in "${targets[@]}"; do
  mkdir -p "corpus/$target" "artifacts/$target"
  "$build/$host/release/seeds" "$target" "corpus/$target"
  echo "== $target, $seconds s"
  # A megabyte of memory limit would be the sanitizer's own; 1,024 MiB show an allocation that follows a length in the input.
  status=0
  "$build/$host/release/$target" "corpus/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
    -malloc_limit_mb=64 -max_len=65536 -print_final_stats=1 -artifact_prefix="artifacts/$target/" \
    >"artifacts/$target.log" 2>&1 || status=$?
  grep -E '^(stat::|SUMMARY|==[0-9]+==ERROR|.*panicked|artifact_prefix)' "artifacts/$target.log" || true
  if [[ $status -ne 0 || -n $(ls -A "artifacts/$target") ]]; then
    echo "fuzz/run.sh: $target failed ($status): see fuzz/artifacts/$target and $target.log beside it" >&2
    exit 1
  fi
done
