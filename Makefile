# SPDX-License-Identifier: Apache-2.0

SHELL         := /bin/bash
.SHELLFLAGS   := -euo pipefail -c
MAKEFLAGS     += --warn-undefined-variables --no-print-directory
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
DAEMONS  := herald-controller herald-agent herald-frr heraldctl
LDFLAGS  := -s -w -X $(shell go list -m)/cmd/internal/daemon.version=$(VERSION)
UNIT      = $(shell go list ./... | grep -v '/lab$$\|/lab/')
RECORD   := bin/tests.json
TABLE    ?= go run ./hack/testreport -table $(RECORD)

# All that is compiled without the race detector, for binaries, tests and checks,
# is compiled with the same flags, so that no package is compiled twice.
export CGO_ENABLED := 0
export GOFLAGS     := $(filter-out -trimpath,$(shell go env GOFLAGS)) -trimpath

# How many areas of the lab are tested at once: tests wait more than they compute. The
# area that measures time waits until it is alone.
AREAS    ?= $(shell echo $$(($$(nproc) + 1)))

.PHONY: help
help: ## show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install what the demo and the lab need (Debian 12, as root)
	@hack/setup

.PHONY: build
build: ## build the binaries into bin/
	@echo "build: $(DAEMONS)"
	@go build -ldflags "$(LDFLAGS)" -o bin/ $(DAEMONS:%=./cmd/%)

.PHONY: lab-bin
lab-bin: ## build what the lab runs: the binaries, and a Kubernetes in one (minutes when cold)
	@echo "build: $(DAEMONS) herald-lab"
	@go build -ldflags "$(LDFLAGS)" -o bin/ $(DAEMONS:%=./cmd/%) ./cmd/herald-lab
	@[[ -x bin/lab/herald-kube ]] || echo "build: lab/herald-kube, which is etcd, an API server, controllers and kube-proxy; minutes when nothing is cached"
	@go build -C lab/kube -gcflags='k8s.io/kubernetes/...=-N -l -dwarf=false' -ldflags "-s -w" -o ../../bin/lab/herald-kube .

.PHONY: check
check: ## what CI runs before the tests: formats, tidy modules, generated files, vet, staticcheck
	@echo "check: gofmt"; files=$$(gofmt -l $$(git ls-files '*.go')); [[ -z "$$files" ]] || { echo "not formatted: $$files"; exit 1; }
	@echo "check: go mod tidy"; go mod tidy -diff; go -C lab/kube mod tidy -diff; go -C hack/tools mod tidy -diff
	@echo "check: manifests"; hack/manifests --check
	@echo "check: go vet"; go vet ./...
	@echo "check: staticcheck"; go tool staticcheck ./...

.PHONY: test
test: ## set up, then run every test, the lab's end-to-end tests included
	@rm -f $(RECORD)
	@$(MAKE) setup lab-bin test-packages test-fuzz test-lab test-demo
	@$(TABLE)

.PHONY: test-packages
test-packages:
	@echo "test: packages, with the race detector"
	@hack/package-tests $(RECORD) $(UNIT)

.PHONY: test-fuzz
test-fuzz:
	@echo "test: each fuzz target for 10 s"
	@FUZZTIME=10s hack/fuzz

.PHONY: test-lab
test-lab:
	@echo "test: lab, end to end on real kernels, FRR, GoBGP and Kubernetes"
	@git -c safe.directory='*' rev-parse --quiet --verify 'HEAD~1^{commit}' >/dev/null || echo "test: no commit before HEAD in this checkout: agent and herald-frr are not run with the other of the version before, its golden files stand for it"
	@hack/frr-root >/dev/null
	@hack/lab-tests $(RECORD) $(AREAS) ./lab/...

.PHONY: test-demo
test-demo:
	@echo "test: the demo, step by step"
	@bin/herald-lab demo

.PHONY: demo
demo: setup lab-bin ## set up, start three nodes and a router, and show the main job end to end
	@bin/herald-lab demo

.PHONY: lab-up
lab-up: setup lab-bin ## start the default lab and leave it running; see bin/lab/env
	@bin/herald-lab up

.PHONY: lab-down
lab-down: ## stop what lab-up started
	@bin/herald-lab down

.PHONY: bench
bench: setup lab-bin ## measure: Go benchmarks, then the figures of a running lab as a table
	@go test -run '^$$' -bench . -benchmem ./alloc ./assign ./announce ./reconcile ./render ./frr
	@bin/herald-lab bench

SEED     ?= 1
STEPS    ?= 200
.PHONY: soak
soak: setup lab-bin ## run STEPS random faults, drawn from SEED, on a lab; --shrink and more: bin/herald-lab soak --help
	@hack/frr-root >/dev/null
	@bin/herald-lab soak --seed $(SEED) --steps $(STEPS)

.PHONY: images
images: ## build the container images, with buildah, podman or docker
	@VERSION=$(VERSION) hack/images

.PHONY: check-images
check-images: setup ## build the images without a registry, and run what is in them
	@VERSION=$(VERSION) hack/images --check

.PHONY: manifests
manifests: ## generate what is generated in deploy/; read the diff before committing it
	@hack/manifests

.PHONY: golden
golden: ## rewrite golden files; read the diff before committing it
	@go test ./config ./assign ./reconcile ./render ./status ./cmd/... -update
	@go test . -run MetricsDocumented -update

# Inputs that failed are in testdata/fuzz of the package, and every test runs them. New
# inputs that reach new code are kept in Go's build cache: go clean -fuzzcache drops them.
.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (1m), JOBS at once
	@hack/fuzz

.PHONY: clean
clean: ## remove what was built
	@rm -rf bin
