#!/usr/bin/env bash
# Builds the programs, and assembles their images into target/images, as archives for
# `docker load` and `ctr images import`.
#
#   local.sh REGISTRY VERSION REVISION
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cargo build --release --locked --workspace --bins

target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
"$target/release/images" --programs "$target/release" --out "$target/images" --registry "$1" --version "$2" --revision "$3"
