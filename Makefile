# `make` lists the targets. Real programs go to $(STOWAGE_TOOLS), outside the tree; cargo's output to target/, or to
# CARGO_TARGET_DIR when that is set.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help tools lint test soak fuzz rusoto demo demo-quick bench advisories images images-local dist

cache := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)
export STOWAGE_TOOLS ?= $(cache)/stowage/tools
export PATH := $(STOWAGE_TOOLS):$(PATH)

help: ## list the targets
	@echo "Stowage: back up Kubernetes resource YAML into restic repositories"
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

tools: ## build the real programs that tests and demo run, once (15 to 25 minutes on two cores)
	@testkit/tools/build.sh

lint: ## check format, clippy, doc links, licences and sources of dependencies, shell scripts
	@testkit/tools/build.sh cargo-deny
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
	cargo deny check bans licenses sources
	@if command -v shellcheck >/dev/null; then shellcheck $$(git ls-files '*.sh' .ci/run); \
	 else echo "make lint: shellcheck is not installed; shell scripts are not checked" >&2; fi

test: tools ## run every test, those against the real programs included
	cargo test --workspace --locked

soak: tools ## run 300 random histories of a repository, ours and restic's programs in turn (about 20 minutes)
	HISTORIES=300 cargo test --locked -p repository --test histories -- --nocapture

fuzz: ## fuzz every parser of stored or pushed bytes, SECONDS=60 each, one after another
	@fuzz/run.sh $(or $(SECONDS),60)

rusoto: tools ## check and test S3 through rusoto, which only the feature of that name builds (docs/adr/0009)
	cargo clippy -p repository --features rusoto --all-targets --locked -- -D warnings
	cargo test -p repository --features rusoto --lib --test storages --locked -- rusoto

demo: tools ## the whole system on a real node, from installation to a snapshot (Linux, root; else demo-quick)
	@demo/run.sh

demo-quick: tools ## back up a real cluster of a few thousand objects in one process, and restore from it, step by step
	@demo/run.sh quick

bench: tools ## measure speed and memory against the floor and against restic (docs/benchmarks.md)
	@bench/run.sh

registry ?= stowage.local
version := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
revision = $(shell git describe --always --abbrev=40 --dirty)
image_names = $(shell grep -v '^\#' images/list)

images: ## build the images with Docker (REGISTRY: make images registry=registry.example.com/stowage)
	for name in $(image_names); do \
	  docker build --target "$$name" --build-arg VERSION=$(version) --build-arg REVISION=$(revision) \
	    --tag "$(registry)/$$name:$(version)" .; \
	done

images-local: ## assemble the images from local programs, without Docker and registry, into target/images
	@images/local.sh $(registry) $(version) $(revision)

dist: ## pack the kubectl plugin for this platform, with licence and checksum, into target/dist
	@dist/build.sh $(version)

advisories: ## ask the RustSec database about the dependencies (needs the network)
	@testkit/tools/build.sh cargo-deny
	cargo deny check advisories
