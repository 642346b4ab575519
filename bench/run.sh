#!/usr/bin/env bash
# Measures everything that docs/benchmarks.md reports and prints it in Markdown. Called by `make bench`, which has the
# other programs built. BENCH=quick measures only the 20,000 objects.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo build --release --locked --workspace --bins
cargo build --release --locked -p dumper --example emitter -p repository --example store
target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
export PATH=$target/release:$target/release/examples:$PATH
sizes=(20000 200000)
[[ ${BENCH:-} == quick ]] && sizes=(20000)

echo "## From dumper to uploader, without cluster and repository"
bench transport
echo "## Emitter"
emitter
for objects in "${sizes[@]}"; do
  echo "## Cluster with $objects objects"
  options=(--rounds 8)
  [[ $objects -gt 50000 ]] && options=(--rounds 13 --no-kubectl)
  testbed run --namespaces $((objects / 300)) --objects "$objects" -- bench cluster "${options[@]}"
  testbed run --namespaces $((objects / 300)) --objects "$objects" -- bench uploads --programs "$target/release"
done
[[ ${BENCH:-} == quick ]] && exit 0
echo "## Repository engine alone"
store bench --objects 300000 --rounds 7
