# Every target works on a fresh clone. Tools are pinned in go.mod and
# package-lock.json; what the distribution has is installed when it is missing.
SHELL := /bin/bash
GO    ?= go
export GOFLAGS ?= -buildvcs=false
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)

.PHONY: help build run test check bench fuzz fixtures generate clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

build: ## bin/cloudsettle, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags="-s -w -X main.version=$(VERSION)" -o bin/cloudsettle ./cmd/cloudsettle

run: build ## everything on this machine: simulators, demo data, console
	bin/cloudsettle serve --dev

test: ## every test, with the race detector; installs what is missing
	scripts/test

check: ## vet, staticcheck, gosec, formatting, spec, generated files
	scripts/check

bench: ## the benchmarks, in a form that benchstat reads
	scripts/bench

fuzz: ## every fuzz target for FUZZTIME (default 20s)
	scripts/fuzz

fixtures: ## rewrite the adapters' golden files; review the diff
	$(GO) test ./adapters/... -run 'Conformance' -update

generate: ## regenerate code from console/api/openapi.yaml
	$(GO) generate ./...

clean: ## remove what was built, not what was stored
	rm -rf bin
