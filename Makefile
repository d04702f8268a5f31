# Coracle: `make up` starts a cluster on this machine, `make test` runs all tests.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

KUBE_VERSION := v1.37.2
COMMIT  := $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
DATE    := $(shell git log -1 --format=%cI 2>/dev/null || echo 1970-01-01T00:00:00Z)
VERSION := $(KUBE_VERSION)+coracle.$(COMMIT)
BASE    := k8s.io/component-base/version
LDFLAGS := -s -w -X $(BASE).gitVersion=$(VERSION) -X $(BASE).gitMajor=1 -X $(BASE).gitMinor=37 \
	-X $(BASE).gitCommit=$(COMMIT) -X $(BASE).gitTreeState=clean -X $(BASE).buildDate=$(DATE)
export CGO_ENABLED ?= 0
GO ?= go
# Packages of Debian that the build and the node need, and the commands that tell whether they are there.
include hack/helpers.mk

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 12

.PHONY: deps
deps: ## Install what this machine lacks (Debian packages)
	@hack/deps.sh

.PHONY: build
build: deps helpers ## Build bin/coracle
	$(GO) build -ldflags '$(LDFLAGS)' -o bin/coracle ./cmd/coracle
	$(GO) build -o bin/mkimage ./hack/mkimage
	@ln -sf coracle bin/kubectl
	@ln -sf coracle bin/kubectl-rolling_update

.PHONY: up
up: build ## Start a cluster of one node on this machine
	bin/coracle up --detach

.PHONY: down
down: ## Stop the cluster; its data stays
	bin/coracle down

.PHONY: reset
reset: ## Remove the cluster and everything that it made
	bin/coracle reset --yes

.PHONY: demo
demo: up ## Run the two-tier web application and print its address
	examples/two-tier/run.sh

.PHONY: unit
unit: deps helpers ## Run the tests that need no cluster of their own
	$(GO) test -timeout 15m $$($(GO) list ./... | grep -v /test/e2e)

.PHONY: e2e
e2e: build ## Run the scenarios on real containers, in a cluster of their own
	$(GO) test -timeout 20m -count 1 ./test/e2e/...

.PHONY: test
test: unit e2e ## Run all tests

.PHONY: bench
bench: build ## Measure, and print targets and upstream's figures beside
	$(GO) run ./test/bench

.PHONY: generate
generate: ## Make generated files anew
	hack/generate.sh

.PHONY: lint
lint: ## Look for likely mistakes
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

.PHONY: verify
verify: lint ## Check that generated files are current and that lint finds nothing
	hack/generate.sh
	git diff --exit-code

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin nodeagent/runtime/bin/coracle-* nodeagent/runtime/bin/runc
