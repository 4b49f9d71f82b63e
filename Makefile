# Everything that is done with this repository, on one's own machine and in CI.
#
#   make help    says what there is

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

GO ?= go

# Packages that also run under the race detector: the pure ones, and the backbone over its in-memory transport. SQLite
# is not among them, because the race detector makes its translated C code twenty to thirty times slower.
RACE = ./backbone ./backbone/driver/... ./backbone/membus/... ./mall ./mall/event/... ./mall/command/...

# Modules of their own, which use this one as somebody else's would, or test it with what is no dependency of it.
OUTSIDE = test/outside test/alacarte test/cloudevents
MODULES = . tools tools/buf tools/sbom tools/servers bench $(OUTSIDE)

# Longer than the slowest package takes on two busy cores; a hang names itself after that.
TEST_TIMEOUT ?= 25m
TEST_FLAGS ?=

# The steps of "make verify"; each is a target called verify-<step>.
VERIFY = format generated api tidy sums docs build

.PHONY: help
help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: up
up: ## run the mall: the online store and all services in one process, with a demo shop
	$(GO) run ./cmd/souk up

.PHONY: build
build: ## build the program into bin/souk
	$(GO) build -o bin/souk ./cmd/souk

.PHONY: release
release: ## build the program as it is released into dist, with its sum and the list of what it is made of
	scripts/release dist/souk
	cd dist && sha256sum souk >souk.sha256
	scripts/sbom dist/souk >dist/souk.cdx.json

.PHONY: reproducible
reproducible: ## build the program twice, apart from each other, and compare; takes minutes
	scripts/reproducible --apart

.PHONY: servers
servers: ## install the servers that tests start, where they are missing
	@scripts/servers

# go mod tidy also looks at the tests of what is imported, so a download alone does not load all. Whether the files are
# tidy is not asked here but in verify-tidy.
.PHONY: modules
modules: ## load the modules of others that the tests and checks need; both then need no network
	@for dir in $(MODULES); do (cd "$$dir" && $(GO) mod download && { $(GO) mod tidy -diff >/dev/null || true; }); done

# Tests call them; built here, their minutes are nobody's time-out.
.PHONY: called
called:
	@for tool in buf cyclonedx-gomod; do scripts/tool $$tool >/dev/null; done

# The packages that take longest begin, so that others run beside them.
.PHONY: test
test: servers modules called ## run all tests, and the pure packages once more under the race detector
	$(GO) test $(TEST_FLAGS) -timeout $(TEST_TIMEOUT) ./test/store ./test/... ./backbone/rabbitbus ./...
	for dir in $(OUTSIDE); do (cd "$$dir" && $(GO) test $(TEST_FLAGS) -timeout $(TEST_TIMEOUT) ./...); done
	$(GO) test $(TEST_FLAGS) -race -timeout $(TEST_TIMEOUT) $(RACE)
ifneq ($(SOUK_WITHOUT),)
	@echo 'NOT TESTED: what needs $(SOUK_WITHOUT), left out by SOUK_WITHOUT'
endif

.PHONY: lint
lint: ## run the linters; the first time builds them
	"$$(scripts/tool golangci-lint)" run ./...

.PHONY: fmt
fmt: ## bring all Go files into form
	"$$(scripts/tool golangci-lint)" fmt ./...

.PHONY: verify
verify: $(VERIFY:%=verify-%) ## check form, generated code, module files and documents

.PHONY: verify-format
verify-format:
	@unformatted="$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go'))"; \
	if [ -n "$$unformatted" ]; then echo "not formatted (make fmt):"; echo "$$unformatted"; exit 1; fi

# Generated code lies beside its source and is committed. What differs is left in place, to be looked at and committed.
SUMS = git ls-files -z --cached --others --exclude-standard | xargs -0 sha256sum 2>/dev/null || true
.PHONY: verify-generated
verify-generated:
	@before="$$($(SUMS))"; $(GO) generate ./...; after="$$($(SUMS))"; \
	if [ "$$before" != "$$after" ]; then \
		echo "generated code differed from its source; commit what go generate has written:"; \
		diff <(echo "$$before") <(echo "$$after") | awk '/^>/ { print "  " $$3 }'; exit 1; \
	fi

# The contract that was released last lies in api/contract.binpb; what would break a program that speaks it is refused.
.PHONY: verify-api
verify-api:
	scripts/buf lint
	scripts/buf breaking --against contract.binpb

.PHONY: contract
contract: ## release the protobuf contract as it stands; refused where it would break a program
	scripts/buf breaking --against contract.binpb
	scripts/buf build -o contract.binpb --exclude-source-info

.PHONY: verify-tidy
verify-tidy:
	for dir in $(MODULES); do (cd "$$dir" && $(GO) mod tidy -diff); done

# What the module cache holds is what go.sum knows.
.PHONY: verify-sums
verify-sums:
	$(GO) mod verify

# Two folders give the same program; "make reproducible" also shares nothing between the two.
.PHONY: verify-build
verify-build:
	scripts/reproducible

# Package comments, services' cards and the links between documents are rules of internal/arch.
.PHONY: verify-docs
verify-docs:
	$(GO) test -run '^TestRepository$$' ./internal/arch

# Each benchmark prints one JSON object; SOUK_OUTPUT=table prints it for people. Those over several processes need an empty database:
# see docs/performance.md.
BENCH = SOUK_OUTPUT=$${SOUK_OUTPUT:-json} bin/souk bench

.PHONY: bench
bench: build ## measure orders, people, robots, screens, rebuilds, backlogs, lanes and deliveries at small sizes, in about five minutes
	$(BENCH) orders --beside
	$(BENCH) kiosk
	$(BENCH) departures
	$(BENCH) robots --robots 200 --duration 10s
	$(BENCH) sockets --sockets 200
	$(BENCH) clients --duration 10s
	$(BENCH) rebuild --events 300000
	$(BENCH) backlog --large 100000
	$(BENCH) depth --events 200000 --rounds 2 --duration 5s
	$(BENCH) lanes --duration 5s
	$(BENCH) delivery --duration 5s

.PHONY: bench-long
bench-long: build ## the same at full size; takes about half an hour, and 12 GB of disk at TMPDIR
	$(BENCH) orders --beside --duration 30s
	$(BENCH) orders --beside --duration 30s --clients 256
	$(BENCH) orders --rate 1000 --duration 30s
	$(BENCH) orders --rate 50 --duration 30s
	$(BENCH) kiosk --clients 256 --duration 30s
	$(BENCH) kiosk --rate 1000 --duration 30s
	$(BENCH) departures --gates 256 --duration 30s
	$(BENCH) robots
	$(BENCH) sockets --duration 30s
	$(BENCH) clients
	$(BENCH) rebuild
	$(BENCH) rebuild --view sales
	$(BENCH) backlog
	$(BENCH) depth
	$(BENCH) lanes
	$(BENCH) delivery

# A module of its own, so that what it is compared with is no dependency of souk. What can be chosen: see bench/doc.go.
.PHONY: bench-transports
bench-transports: servers ## measure transports and relay beside their raw clients and Watermill; takes two hours
	cd bench && $(GO) test -count=1 -timeout 6h -run '^TestFigures$$' -v . -args -quick=false

# Names of the packages under backbone whose runs of the suite go into their cards.
BROKERS = natsbus rabbitbus kafkabus
TRANSPORTS = membus logbus $(BROKERS)

# The test that the page is of these tests is left out, since the page is written then.
.PHONY: acceptance
acceptance: servers modules called ## run all tests but the long proofs, and write docs/acceptance.md from what they say; half an hour
	$(MAKE) --no-print-directory test prove-short TEST_FLAGS='-json -skip=^TestThePageIsOfTheseTests$$$$' | $(GO) run ./internal/acceptance .

.PHONY: cards
cards: servers ## write the cards of the transports in docs/transports from runs of the suite
	mkdir -p docs/transports/results
	SOUK_PROVE=short SOUK_RESULTS="$(CURDIR)/docs/transports/results" $(GO) test -count=1 -timeout 30m -run TestContract $(TRANSPORTS:%=./backbone/%)
	$(GO) generate ./internal/cards

# Packages with tests that show more under SOUK_PROVE; see scripts/proved.
PROVED = test/store test/market test/robots internal/bench internal/demo
# What compares rates has the processors to itself.
ALONE = ^TestF17_
# Packages that are tested at the same time there: these wait for servers and leases more than they compute.
AT_ONCE ?= 3

.PHONY: prove-short
prove-short: servers ## crash and simulation tests, the transports' whole suite, at most twenty minutes
	names=$$(scripts/proved $(PROVED)) && SOUK_PROVE=short $(GO) test $(TEST_FLAGS) -count=1 -p $(AT_ONCE) -timeout 30m -run "$$names|^TestContract(OnPostgreSQL|OnAGivenServer)?$$|^TestF3_SeveralRelays$$" -skip '$(ALONE)' \
		$(PROVED:%=./%) $(BROKERS:%=./backbone/%) ./backbone/logbus
	SOUK_PROVE=short $(GO) test $(TEST_FLAGS) -count=1 -timeout 10m -run '$(ALONE)' ./test/store
	cd bench && $(GO) test $(TEST_FLAGS) -count=1 -timeout 10m ./...

.PHONY: prove-offline
prove-offline: servers modules called ## make test where there is no network but loopback, on Linux as root
	unshare --net sh -c 'ip link set lo up && exec $(MAKE) test'

.PHONY: prove
prove: servers ## crash and simulation tests, all seeds; takes hours
	SOUK_PROVE=full $(GO) test -count=1 -timeout 12h ./test/... ./internal/demo $(BROKERS:%=./backbone/%)
