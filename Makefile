# firn's everyday commands; `make` alone lists them.
SHELL := /bin/bash
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION) -X main.commit=$(COMMIT)
GOLANGCI_VERSION := v2.15.0
FUZZTIME ?= 60s
UNIT     = $$(go list ./... | grep -v /e2e/)

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

.PHONY: build
build: ## Build ./bin/firn, static
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/firn ./cmd/firn

.PHONY: run
run: ## Run one broker with everything it needs (the same as `go run ./cmd/firn dev`)
	go run ./cmd/firn dev

# What starts processes of firn is never answered from Go's test cache, which does not know of them.
.PHONY: test
test: vet ## Unit tests, then simulations and end-to-end tests with few seeds
	go run ./e2e/totals -- $(UNIT) -- -tags faults ./tier/disk/... -- -count=1 ./e2e/...

.PHONY: vet
vet: # both builds
	go vet ./...
	go vet -tags faults ./...

.PHONY: race
race: ## The unit tests under the race detector
	go test -race $(UNIT)

.PHONY: lint
lint: vet ## gofmt, go vet and golangci-lint
	@test -z "$$(gofmt -l .)" || { echo "gofmt would change:"; gofmt -l .; exit 1; }
	@if command -v golangci-lint >/dev/null; then golangci-lint run ./...; else go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION) run ./...; fi

.PHONY: docs
docs: ## Renew the tables of README.md and docs/ that follow from the code
	go run ./cmd/firn docs

.PHONY: bench
bench: ## firn beside Apache Kafka and beside the least that could do the work, judged; BENCH='-case ^a' passes flags on
	go run ./e2e/bench $(BENCH)

.PHONY: bench-partitions
bench-partitions: ## What ten thousand partitions cost: to make, to keep idle, to come back to, to delete
	go run ./e2e/partitions

.PHONY: e2e
e2e: ## The end-to-end tests at full length (crashes, store faults, all the history)
	FIRN_E2E_FULL=1 go run ./e2e/totals -- -count=1 -timeout 120m ./tier/... ./metadata/... ./compaction/... ./broker/... \
		-- -count=1 -timeout 120m -p 1 ./e2e/...

.PHONY: diff
diff: ## Thousands of programs of calls against Apache Kafka and firn, compared field by field
	FIRN_E2E_FULL=1 go test -count=1 -timeout 120m -v ./e2e/diff

.PHONY: compat
compat: ## Other people's clients and their own test suites against firn, with a table of what passed and why not all
	cd e2e/compat && FIRN_E2E_FULL=1 go test -count=1 -timeout 120m
	FIRN_E2E_FULL=1 go run ./e2e/totals -- -count=1 -timeout 120m -p 1 ./e2e/kafkatools ./e2e/javaclient ./e2e/connect ./e2e/streams ./e2e/spring

.PHONY: fuzz
fuzz: ## Every fuzz target for FUZZTIME (60s) each
	go run ./e2e/fuzz -time $(FUZZTIME)
