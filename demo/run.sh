#!/usr/bin/env bash
# Called by `make demo` and `make demo-quick`, which have built the real programs that it needs.
#
# The system (`run.sh`): installs everything on a real node, lets a schedule fire, and reads the snapshot with restic. It needs Linux, root
# and containerd; where these are missing it says so and shows the other.
#
# One process (`run.sh quick`): backs a real control plane with a few thousand objects up, changes something, backs up again, restores,
# compares. With KUBECONFIG set, that cluster is backed up instead, and nothing in it is touched.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=demo/steps.sh
source "$here/steps.sh"
cd "$here/.."
target=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
export PATH=$target/release:$PATH

if [[ ${1:-} != quick && -z ${KUBECONFIG:-} ]]; then
  say "Building the programs (the first time takes some minutes)"
  cargo build --release --locked --quiet --workspace --bins
  if testbed node-check; then
    say "Assembling images"
    images --programs "$target/release" --out "$target/images" --nats
    archives=()
    for archive in "$target"/images/*.tar; do archives+=(--image "$archive"); done
    say "Starting a real node (etcd, API server, controller manager, scheduler, kubelet, containerd, CoreDNS)"
    exec testbed run --node --s3 "${archives[@]}" -- "$here/system.sh"
  fi
  say "No node can run here, for the reason above: showing the backup in one process"
fi

say "Building kubectl-stash (the first time takes some minutes)"
cargo build --release --locked --quiet --workspace --bins
if [[ -n ${KUBECONFIG:-} ]]; then
  say "Using the cluster of KUBECONFIG ($KUBECONFIG), without touching anything in it"
  DEMO_READ_ONLY=yes exec "$here/all.sh"
fi
say "Starting a real control plane (etcd, kube-apiserver) and filling it with thousands of objects"
exec testbed run --namespaces "${DEMO_NAMESPACES:-10}" --objects "${DEMO_OBJECTS:-5000}" -- "$here/all.sh"
