# One verb per habit. `make demo` and `make test` need Python 3.11+, a Rust toolchain and make; nothing else.
SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(wildcard src/*.rs src/*/*.rs) Cargo.toml Cargo.lock pyproject.toml
PIP := $(BIN)/pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help build demo counterparts test lint types rust-test py-test format proto bench soak clean

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "otelprof needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.built: $(VENV)/.python $(SOURCES)
	@echo "building otelprof (a cold build compiles the Rust core: about five minutes on two cores)"
	$(PIP) -e '.[all]'
	@touch $@

$(VENV)/.dev: $(VENV)/.built
	$(PIP) -e '.[all,dev]'
	@touch $@

build: $(VENV)/.built ## build and install into .venv

demo: $(VENV)/.built ## start otelprof, send it real captured profiles, show what it did
	@$(BIN)/python examples/demo.py

counterparts: .counterparts/.installed ## programs of others that some tests hold the exporters against

# An environment of their own: nothing of them is in what is tested.
.counterparts/.installed:
	$(PYTHON) -m venv .counterparts
	.counterparts/bin/pip install --quiet --disable-pip-version-check ddtrace==4.16.0 ddapm-test-agent==1.69.1
	@touch $@

test: lint types rust-test py-test ## everything CI checks
	@$(BIN)/python tests/counterparts.py

lint: $(VENV)/.dev ## formatting, style, import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile
	cargo fmt --check
	cargo clippy --quiet --all-targets --features python -- -D warnings

types: $(VENV)/.dev ## mypy --strict, and the stub against the compiled core
	$(BIN)/mypy otelprof tests benchmarks examples proto
	$(BIN)/python -m mypy.stubtest otelprof._core

rust-test: ## the core's own tests
	cargo test --quiet

py-test: $(VENV)/.dev ## unit, core, property, contract and end-to-end tests
	$(BIN)/pytest -q

format: $(VENV)/.dev ## rewrite the sources in the house style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	cargo fmt

proto: $(VENV)/.dev ## generate the Python of proto/ into otelprof/
	$(BIN)/python proto/generate.py

bench: $(VENV)/.dev ## the figures of docs/performance.md
	$(BIN)/python benchmarks/core.py
	$(BIN)/python benchmarks/merge.py
	$(BIN)/python benchmarks/policy.py
	$(BIN)/python benchmarks/pprof.py
	$(BIN)/python benchmarks/decisions.py
	$(BIN)/python benchmarks/incident.py
	$(BIN)/python benchmarks/budget.py
	$(BIN)/python benchmarks/hop.py
	$(BIN)/python benchmarks/hop.py --batch --sizes medium
	$(BIN)/python benchmarks/exporters.py --sizes medium
	$(BIN)/python benchmarks/idle.py

soak: $(VENV)/.dev ## at length: faults, hostile input, kills, overload, half an hour of both, property tests
	$(BIN)/python benchmarks/faults.py --seeds 10000
	$(BIN)/python benchmarks/hostile.py --inputs 5000000
	$(BIN)/python benchmarks/durable.py --kills 200
	$(BIN)/python benchmarks/overload.py
	$(BIN)/python benchmarks/soak.py --minutes 30
	HYPOTHESIS_PROFILE=soak $(BIN)/pytest -q --timeout 7200 tests/property

clean: ## remove everything that was built
	rm -rf $(VENV) .counterparts target build dist otelprof/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
