# shellcheck shell=bash
# Sourced by the demo's scripts: how a step is announced.
say() { printf '\n\033[1m── %s\033[0m\n' "$*"; }
# run CMD…: shows the command as one would type it, then runs it
run() { printf '$ %s\n' "$*" | sed "s#kubectl-stash#kubectl stash#; s#${work:?}#\$work#g"; "$@"; }
