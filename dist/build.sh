#!/usr/bin/env bash
# Packs the plugin for this platform: dist/build.sh VERSION
# Leaves kubectl-stash-VERSION-OS-ARCH.tar.gz, with the licence, and SHA256SUMS in target/dist. The same program makes the same archive:
# times, owners and order are fixed.
set -euo pipefail

version=$1
root=$(cd "$(dirname "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
out=$root/target/dist

case $(uname -m) in
  x86_64) arch=amd64 ;;
  aarch64 | arm64) arch=arm64 ;;
  *) echo "dist/build.sh: no name for the processor $(uname -m)" >&2; exit 1 ;;
esac
os=$(uname -s | tr '[:upper:]' '[:lower:]')
archive=kubectl-stash-$version-$os-$arch.tar.gz

# The whole workspace's features, so that nothing is built twice beside other builds.
cargo build --manifest-path "$root/Cargo.toml" --release --locked --workspace --bin kubectl-stash

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
install -m 755 "$target/release/kubectl-stash" "$folder/kubectl-stash"
install -m 644 "$root/LICENSE" "$folder/LICENSE"
mkdir -p "$out"
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$folder" -cf - LICENSE kubectl-stash | gzip -n >"$out/$archive"
(cd "$out" && sha256sum "$archive" >SHA256SUMS)
echo "$out/$archive"
