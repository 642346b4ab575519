#!/usr/bin/env bash
# Builds the programs of images/list that this workspace has, and assembles their images into target/images, as archives for
# `docker load` and `ctr images import`.
#
#   local.sh REGISTRY VERSION REVISION
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=()
known=$(cargo metadata --no-deps --format-version 1 | grep -o '"name":"[^"]*"')
while read -r name; do
  if grep -qxF "\"name\":\"$name\"" <<<"$known"; then packages+=(-p "$name"); fi
done < <(grep -v '^#' images/list)
cargo build --release --locked --bins "${packages[@]}"

target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
cargo run --quiet --locked -p testkit --bin images -- --programs "$target/release" --out "$target/images" --registry "$1" --version "$2" --revision "$3"
