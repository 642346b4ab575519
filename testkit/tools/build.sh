#!/usr/bin/env bash
# Builds the real programs that the tests and the demo run, each from its pinned Go module beside this script, into
# $STOWAGE_TOOLS (default ~/.cache/stowage/tools). A program is built once per pin; running this again costs nothing.
#
# kube-apiserver, etcd and kubectl are taken from KUBEBUILDER_ASSETS when that folder has all three (the ecosystem's
# convention); kube-controller-manager is then looked for there and on PATH too.
#
#   build.sh [PROGRAM...]     default: every program
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${STOWAGE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/stowage/tools}
mkdir -p "$tools"
export GOTOOLCHAIN=local CGO_ENABLED=0 GOFLAGS="-buildvcs=false -trimpath"

die() { echo "make tools: $*" >&2; exit 1; }

# The pin of a program: a hash of everything that decides its bytes.
pin() { cat "$here/$1/go.mod" "$here/$1/go.sum" "$here/build.sh" | sha256sum | cut -d' ' -f1; }

# build PROGRAM MODULE PACKAGE [GO BUILD FLAGS...]
build() {
  local program=$1 module=$2 package=$3
  shift 3
  local want stamp=$tools/.$program.pin started=$SECONDS
  want=$(pin "$module")
  if [[ -x $tools/$program && $(cat "$stamp" 2>/dev/null) == "$want" ]]; then return; fi
  command -v go >/dev/null || die "Go 1.26 or later is needed to build $program (https://go.dev/dl), or set KUBEBUILDER_ASSETS"
  echo "make tools: building $program (${package##*/cmd/}); the first time this takes a while" >&2
  if ! (cd "$here/$module" && go build -mod=mod "$@" -o "$tools/$program.new" "$package") >"$tools/$program.log" 2>&1; then
    tail -5 "$tools/$program.log" >&2
    die "building $program failed; the whole output is in $tools/$program.log"
  fi
  mv "$tools/$program.new" "$tools/$program"
  echo "$want" >"$stamp"
  rm -f "$tools/$program.log"
  echo "make tools: $program built in $((SECONDS - started)) s" >&2
}

kubernetes_version=v1.34.4
version_flags() {
  local package
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    printf -- ' -X %s.gitVersion=%s -X %s.gitMajor=1 -X %s.gitMinor=34 -X %s.gitTreeState=clean' \
      "$package" "$kubernetes_version" "$package" "$package" "$package"
  done
}
kubernetes() { build "$1" kubernetes "k8s.io/kubernetes/cmd/$1" -ldflags "-s -w$(version_flags)"; }
plain() { build "$1" "$2" "$3" -ldflags '-s -w'; }

# given PROGRAM: the ecosystem's convention already provides it
given() { [[ -n ${KUBEBUILDER_ASSETS:-} && -x $KUBEBUILDER_ASSETS/$1 ]]; }

program() {
  if given "$1"; then ln -sf "$KUBEBUILDER_ASSETS/$1" "$tools/$1"; rm -f "$tools/.$1.pin"; return; fi
  case $1 in
    kube-apiserver | kube-controller-manager | kubectl) kubernetes "$1" ;;
    etcd) plain etcd etcd go.etcd.io/etcd/server/v3 ;;
    nats-server) plain nats-server nats-server github.com/nats-io/nats-server/v2 ;;
    versitygw) plain versitygw versitygw github.com/versity/versitygw/cmd/versitygw ;;
    restic) plain restic restic github.com/restic/restic/cmd/restic ;;
    restic-0.13) plain restic-0.13 restic-0.13 github.com/restic/restic/cmd/restic ;;
    *) die "no such program: $1" ;;
  esac
}

for name in "${@:-}"; do
  [[ -n $name ]] && program "$name" && continue
  for every in kubectl etcd kube-apiserver kube-controller-manager restic restic-0.13 versitygw nats-server; do program "$every"; done
done
