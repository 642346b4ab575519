#!/usr/bin/env bash
# Builds the real programs that tests, demo and benchmarks run, into $STOWAGE_TOOLS (default ~/.cache/stowage/tools):
# each from its pinned Go module beside this script, Azurite from npm, rustic and cargo-deny from crates.io. What a node that
# runs Pods needs of the system is installed where the user may (Debian, root). A program is built once per pin; to run this again costs nothing. Go's own caches are left as they are: they are shared with whatever else
# uses Go.
#
# Programs in KUBEBUILDER_ASSETS (the ecosystem's convention: etcd, kube-apiserver, kubectl) are linked, not built.
#
#   build.sh [PROGRAM...]     default: every program
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${STOWAGE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/stowage/tools}
every=(kubectl etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet coredns kustomize kubeconform
  restic restic-0.13 versitygw nats-server nats rest-server fake-gcs-server azurite rustic-judge pushgateway promtool
  prometheus cargo-deny)
built=0 # programs built in this run

say() { echo "make tools: $*" >&2; }
die() { say "$@"; exit 1; }

# once PROGRAM PIN COMMAND...: unless the program stands there under this pin, run COMMAND, which writes PROGRAM.new.
once() {
  local program=$1 pin=$2 stamp=$tools/.$1.pin log=$tools/$1.log started=$SECONDS
  shift 2
  if [[ -x $tools/$program && $(cat "$stamp" 2>/dev/null) == "$pin" ]]; then return; fi
  say "building $program; the first time this takes a while"
  if ! "$@" >"$log" 2>&1; then
    tail -5 "$log" >&2
    die "building $program failed; the whole output is in $log"
  fi
  mv "$tools/$program.new" "$tools/$program"
  echo "$pin" >"$stamp"
  rm -f "$log"
  built=$((built + 1))
  say "$program built in $((SECONDS - started)) s"
}

# The pin of a Go program: a hash of its module and of the command that builds it, not of the words in this script.
go_pin() {
  local module=$1
  shift
  { find "$here/$module" -maxdepth 1 \( -name 'go.*' -o -name main.go \) | sort | xargs cat && echo "${go_environment[@]}" "$@"; } | sha256sum | cut -d' ' -f1
}

go_environment=(GOTOOLCHAIN=local CGO_ENABLED=0 "GOFLAGS=-buildvcs=false -trimpath -mod=readonly")

# go_program PROGRAM MODULE PACKAGE LDFLAGS
go_program() {
  local program=$1 module=$2 command=(go build -ldflags "$4" -o "$tools/$1.new" "$3")
  once "$program" "$(go_pin "$module" "$3" "$4")" go_build "$module" "${command[@]}"
}

go_build() {
  command -v go >/dev/null || { echo "Go 1.26 or later is needed: https://go.dev/dl"; return 1; }
  cd "$here/$1" && env "${go_environment[@]}" "${@:2}"
}

# Kubernetes states its version only if the linker tells it.
kubernetes_version=v1.34.4
kubernetes_ldflags='-s -w'
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  kubernetes_ldflags+=" -X $package.gitVersion=$kubernetes_version -X $package.gitMajor=1"
  kubernetes_ldflags+=" -X $package.gitMinor=34 -X $package.gitTreeState=clean"
done

# Without optimisation: it runs for a second, and to optimise it would take longer than all of its runs.
cargo_deny_version=0.20.2
cargo_deny() {
  env CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    CARGO_TARGET_DIR="$tools/cargo-deny.target" \
    cargo install --locked cargo-deny --version "$cargo_deny_version" --root "$tools/cargo-deny.root" &&
    mv "$tools/cargo-deny.root/bin/cargo-deny" "$tools/cargo-deny.new" &&
    rm -rf "$tools/cargo-deny.root" "$tools/cargo-deny.target"
}

# rustic's library under a small command line of our own.
rustic_judge() {
  CARGO_TARGET_DIR=$tools/rustic.target cargo build --release --locked --manifest-path "$here/rustic/Cargo.toml" &&
    mv "$tools/rustic.target/release/rustic-judge" "$tools/rustic-judge.new" && rm -rf "$tools/rustic.target"
}

# Azurite, Azure's own emulator of its storage, runs on Node.js; the pin is package-lock.json. Its packages' install scripts
# are not needed and not run.
azurite() {
  command -v npm >/dev/null || { echo "Node.js 20 or later with npm is needed: https://nodejs.org"; return 1; }
  local files=$tools/azurite.files
  rm -rf "$files" && mkdir "$files" && cp "$here"/azurite/package*.json "$files" &&
    (cd "$files" && npm ci --ignore-scripts --omit=dev --no-audit --no-fund --loglevel=error) &&
    printf '#!/bin/sh\nexec node "%s" "$@"\n' "$files/node_modules/azurite/dist/src/blob/main.js" >"$tools/azurite.new" &&
    chmod +x "$tools/azurite.new"
}

program() {
  if [[ -n ${KUBEBUILDER_ASSETS:-} && -x $KUBEBUILDER_ASSETS/$1 ]]; then
    ln -sf "$KUBEBUILDER_ASSETS/$1" "$tools/$1"
    rm -f "$tools/.$1.pin"
    return
  fi
  case $1 in
    kube-apiserver | kube-controller-manager | kube-scheduler | kube-proxy | kubelet | kubectl)
      go_program "$1" kubernetes "k8s.io/kubernetes/cmd/$1" "$kubernetes_ldflags" ;;
    etcd) go_program etcd etcd go.etcd.io/etcd/server/v3 '-s -w' ;;
    coredns) go_program coredns coredns . '-s -w' ;;
    kustomize) go_program kustomize kustomize sigs.k8s.io/kustomize/kustomize/v5 '-s -w' ;;
    kubeconform) go_program kubeconform kubeconform github.com/yannh/kubeconform/cmd/kubeconform '-s -w' ;;
    nats) go_program nats natscli github.com/nats-io/natscli/nats '-s -w' ;;
    nats-server) go_program nats-server nats-server github.com/nats-io/nats-server/v2 '-s -w' ;;
    versitygw) go_program versitygw versitygw github.com/versity/versitygw/cmd/versitygw '-s -w' ;;
    restic | restic-0.13) go_program "$1" "$1" github.com/restic/restic/cmd/restic '-s -w' ;;
    rest-server) go_program rest-server rest-server github.com/restic/rest-server/cmd/rest-server '-s -w' ;;
    fake-gcs-server) go_program fake-gcs-server fake-gcs-server github.com/fsouza/fake-gcs-server '-s -w' ;;
    azurite) once azurite "$(cat "$here"/azurite/package*.json | sha256sum | cut -d' ' -f1)" azurite ;;
    rustic-judge)
      once rustic-judge "$(cat "$here"/rustic/Cargo.* "$here"/rustic/src/*.rs | sha256sum | cut -d' ' -f1)" rustic_judge ;;
    pushgateway) go_program pushgateway pushgateway github.com/prometheus/pushgateway '-s -w' ;;
    promtool | prometheus) go_program "$1" prometheus "github.com/prometheus/prometheus/cmd/$1" '-s -w' ;;
    cargo-deny) once cargo-deny "$cargo_deny_version" cargo_deny ;;
    *) die "no such program: $1" ;;
  esac
}

# install_packages PACKAGE...: false where this user or system cannot.
install_packages() {
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then return 1; fi
  say "installing $*"
  (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@") >"$tools/apt.log" 2>&1 ||
    die "installing $* failed; the whole output is in $tools/apt.log"
}

# What Rust needs to link: a C compiler (ring, zstd) and lld (.cargo/config.toml).
linker() {
  if command -v cc >/dev/null && command -v ld.lld >/dev/null; then return; fi
  install_packages gcc libc6-dev lld || die "a C compiler and lld are needed; install the packages gcc and lld"
}

# What testkit's node needs beside the programs built here; without it the tests that run Pods are skipped.
node_packages=(containerd runc containernetworking-plugins iptables iproute2 conntrack busybox-static)
node_programs=(containerd runc iptables ip conntrack busybox)
node_runtime() {
  local program missing=()
  [[ $(uname) == Linux ]] || return 0
  for program in "${node_programs[@]}"; do command -v "$program" >/dev/null || missing+=("$program"); done
  [[ -e /usr/lib/cni/bridge || -e /opt/cni/bin/bridge || -e /usr/libexec/cni/bridge ]] || missing+=("network plugins")
  # In a shell of its own: what cannot be installed here only means that some tests are skipped.
  if [[ ${#missing[@]} == 0 ]] || (install_packages "${node_packages[@]}"); then return 0; fi
  say "tests that run Pods will be skipped: ${missing[*]} missing (as root on Debian, this installs them)"
}

mkdir -p "$tools"
linker
if [[ $# == 0 ]]; then
  set -- "${every[@]}"
  node_runtime
fi
for name in "$@"; do program "$name"; done
if ((built > 0)); then say "$built programs built in $SECONDS s, in $tools"; fi
