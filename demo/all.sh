#!/usr/bin/env bash
# The demo's steps, on the cluster of KUBECONFIG.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source=demo/steps.sh
source "$here/steps.sh"
export RESTIC_REPOSITORY=$work/repo RESTIC_PASSWORD=demo RESTIC_CACHE_DIR=$work/cache

say "Backing up the whole cluster into a new encrypted repository"
run kubectl-stash backup -A

say "What is in the snapshot, by folder"
kubectl-stash ls latest >"$work/files"
awk -F/ '{ folder = $1 == "namespaces" ? $1 "/*/" $3 : NF == 1 ? $1 : $1 "/" $2; files[folder]++ } END { for (f in files) printf "%6d  %s\n", files[f], f }' \
  "$work/files" | sort -k2 | head -40

say "restic itself checks every byte of the repository"
run restic check --read-data --quiet && echo "restic: no errors were found"

if [[ ${DEMO_READ_ONLY:-} == yes ]]; then
  say "Done. Nothing in the cluster was touched; without KUBECONFIG the demo also changes objects and restores"
  exit 0
fi

namespace=$(awk -F/ '$1 == "namespaces" && $3 == "Deployment" { print $2; exit }' "$work/files")
configmap=$(awk -F/ -v n="$namespace" '$1 == "namespaces" && $2 == n && $3 == "ConfigMap" { sub(/\.yaml$/, "", $4); if ($4 != "kube-root-ca.crt") { print $4; exit } }' "$work/files")
secret=$(awk -F/ -v n="$namespace" '$1 == "namespaces" && $2 == n && $3 == "Secret" { sub(/\.yaml$/, "", $4); print $4; exit }' "$work/files")
say "Changing one object, deleting one, creating one in namespace $namespace"
run kubectl -n "$namespace" annotate configmap "$configmap" stowage.demo/changed=yes
run kubectl -n "$namespace" delete secret "$secret"
run kubectl -n "$namespace" create configmap made-by-the-demo --from-literal=on=yes

say "Backing up again: only what changed is stored"
run kubectl-stash backup -A >"$work/second"
sed -n '/^Snapshot/,$p' "$work/second"
run kubectl-stash snapshots

say "Restoring namespace $namespace as it was before and as it is now, and comparing the two"
first=$(kubectl-stash snapshots | awk 'NR == 2 { print $1 }')
run kubectl-stash restore-files "$first" "namespaces/$namespace" --to "$work/before"
run kubectl-stash restore-files latest "namespaces/$namespace" --to "$work/now"
diff -r "$work/before" "$work/now" || true

say "restic restores the same bytes"
run restic restore latest --include "/tmp/resources/namespaces/$namespace" --target "$work/by-restic" --quiet
diff -r "$work/by-restic/tmp/resources/namespaces/$namespace" "$work/now/namespaces/$namespace" && echo "identical"

say "Done"
