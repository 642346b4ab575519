#!/usr/bin/env bash
# The main job from end to end, on a real control plane with a few thousand objects: back up, change something, back up
# again, restore, compare. Called by `make demo`, which has built what it needs.
#
# With KUBECONFIG set, that cluster is backed up instead, and nothing in it is touched.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=demo/steps.sh
source "$here/steps.sh"

say "Building kubectl-stash (the first time takes some minutes)"
cd "$here/.."
cargo build --release --locked --quiet -p kubectl-stash -p testkit --bins
target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
export PATH=$target/release:$PATH

if [[ -n ${KUBECONFIG:-} ]]; then
  say "Using the cluster of KUBECONFIG ($KUBECONFIG), without touching anything in it"
  DEMO_READ_ONLY=yes exec "$here/all.sh"
fi
say "Starting a real control plane (etcd, kube-apiserver) and filling it with thousands of objects"
exec testbed run --namespaces "${DEMO_NAMESPACES:-10}" --objects "${DEMO_OBJECTS:-5000}" -- "$here/all.sh"
