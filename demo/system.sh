#!/usr/bin/env bash
# The whole system on a real node, from installation to a snapshot that restic reads: the eleven steps of a backup (ARCHITECTURE.md). Called
# by demo/run.sh through `testbed run --node --s3`, which gives KUBECONFIG, an S3 server, and images of the programs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"; [[ -z ${watch:-} ]] || kill "$watch" 2>/dev/null || true' EXIT
# shellcheck source=demo/steps.sh
source "$here/steps.sh"

say "Installing: custom resources, NATS and the five services (docs/install.md)"
kubectl apply --server-side -k "$here/../k8s/crds" >"$work/log"
kubectl wait --for=condition=established crd --all --timeout=90s >>"$work/log"
kubectl apply -k "$here/../k8s/overlays/dev" >>"$work/log"
for service in scheduler dispatcher uploader metrics-gateway; do
  kubectl -n stowage rollout status "deployment/$service" --timeout=180s
done
run kubectl get pods -n stowage

say "1-3  A Secret, a Repository and a BackupConfiguration: examples/cluster.yaml, with the bucket of this demo and a session every minute"
kubectl create namespace backup
kubectl create secret generic store -n backup --from-literal=RESTIC_PASSWORD=demo \
  --from-literal=AWS_ACCESS_KEY_ID="$AWS_ACCESS_KEY_ID" --from-literal=AWS_SECRET_ACCESS_KEY="$AWS_SECRET_ACCESS_KEY"
place=${TESTBED_S3_IN_PODS#s3:}
sed -e "s#{endpoint: .*, bucket: cluster-backups, prefix: cluster}#{endpoint: \"${place%/*}\", bucket: ${place##*/}, prefix: cluster}#" \
  -e 's#schedule: .*#schedule: "* * * * *"#' "$here/../examples/cluster.yaml" | kubectl apply -f -

say "4-5  The scheduler checks everything, and makes a CronJob"
kubectl wait -n backup backupconfiguration/whole-cluster --for=jsonpath='{.status.phase}'=Ready --timeout=60s
run kubectl get backupconfiguration,cronjob -n backup

say "6-10 The CronJob's own schedule makes a BackupSession; the scheduler tells NATS; the dispatcher makes a Job; the dumper streams to the uploader"
echo "(waiting for the next full minute)"
kubectl get backupsession -n backup --watch --no-headers 2>/dev/null &
watch=$!
session=
until [[ -n $session ]]; do
  sleep 1
  session=$(kubectl get backupsession -n backup -o name | head -n 1)
done
until [[ $(kubectl get "$session" -n backup -o jsonpath='{.status.phase}') =~ ^(Succeeded|Failed|Skipped)$ ]]; do sleep 1; done
kill "$watch" 2>/dev/null || true
wait "$watch" 2>/dev/null || true
watch=
kubectl patch backupconfiguration whole-cluster -n backup --type=merge -p '{"spec":{"paused":true}}' >>"$work/log"

say "11   The session has ended; retention, check and sizes are done"
run kubectl get backupsession,job -n backup
kubectl get "$session" -n backup -o jsonpath='{range .status.conditions[*]}{.type}{"  "}{.message}{"\n"}{end}'
run kubectl get repository.stash.appscode.com -n backup
[[ $(kubectl get "$session" -n backup -o jsonpath='{.status.phase}') == Succeeded ]] || { kubectl get "$session" -n backup -o yaml; exit 1; }

say "The events, as any tool can have them from NATS: nats sub 'stash.event.>'"
kubectl -n stowage port-forward statefulset/nats 14222:4222 >"$work/forward" 2>&1 &
watch=$!
until grep -q Forwarding "$work/forward"; do sleep 0.2; done
nats --server nats://127.0.0.1:14222 stream view STASH_EVENTS 100 --raw 2>/dev/null | head -n 40 || true
nats --server nats://127.0.0.1:14222 stream subjects STASH_EVENTS 2>/dev/null || true
kill "$watch" 2>/dev/null || true
watch=

say "restic reads the snapshot"
export RESTIC_REPOSITORY=$TESTBED_S3/cluster RESTIC_PASSWORD=demo
run restic snapshots
run restic check
run restic restore latest --target "$work/restored"
find "$work/restored/tmp/resources" -maxdepth 2 | sed "s#$work/restored/##" | sort | head -n 12
say "Done. \`make demo-quick\` shows a backup in one process, without any service."
