# overboot. `make demo` shows it, `make test` tests it; each installs what it needs and this machine lacks (Debian packages, as root or sudo).

PREFIX ?= /usr/local
CARGO ?= cargo

.PHONY: help build compile demo test fidelity lint fuzz bench install
# What is needed is there before it is used.
.NOTPARALLEL:

help:
	@echo "make demo     build, make images, boot a machine and command it"
	@echo "make test     all tests, machines included"
	@echo "make fidelity trees of a hundred package sets, held against mmdebstrap's"
	@echo "make lint     format, clippy, layers, licences"
	@echo "make fuzz     a minute of hostile input for each of seven readers"
	@echo "make bench    the figures of docs/benchmarks.md (ROW=NAME for one of them)"
	@echo "make install  overboot into $(DESTDIR)$(PREFIX)/bin"

deps-%:
	@scripts/install-deps $*

build: deps-build compile

compile:
	$(CARGO) build --release --locked --package overboot

# Running machines needs root; compiling and building images does not.
demo: deps-demo compile
	$(CARGO) build --release --locked --quiet --package xtask
	if [ $$(id -u) = 0 ]; then $(CARGO) xtask demo; else sudo -E env "PATH=$$PATH" $(CARGO) xtask demo; fi

test: deps-test compile
	$(CARGO) nextest run --release --locked --workspace
	$(CARGO) test --release --locked --workspace --doc

# Long without its listings of earlier runs, so it is no part of `make test`.
fidelity: deps-test compile
	$(CARGO) nextest run --release --locked --package overboot-tests --test fidelity --ignore-default-filter

lint: deps-test
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings
	$(CARGO) xtask layers
	$(CARGO) deny --locked check bans licenses sources

fuzz: deps-test
	$(CARGO) xtask fuzz

# One row or some: make bench ROW="minbase squashfs". Fewer rounds: RUNS=1. The same for programs: JSON=FILE.
bench: deps-bench compile
	$(CARGO) build --release --locked --quiet --package xtask
	set -- $(ROW) $(if $(RUNS),--runs $(RUNS)) $(if $(JSON),--json $(JSON)); \
	if [ $$(id -u) = 0 ]; then $(CARGO) xtask bench "$$@"; else sudo -E env "PATH=$$PATH" $(CARGO) xtask bench "$$@"; fi

install: build
	install -D -m 0755 $${CARGO_TARGET_DIR:-target}/release/overboot $(DESTDIR)$(PREFIX)/bin/overboot
