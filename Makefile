# `make` alone lists what can be made. Everything happens in .venv, from the hashes in requirements.txt.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV_VERSION := 0.13.9

# An interpreter counts if it runs, is of a version we support and can make virtual environments:
# shims that start nothing, and a python3 without ensurepip, are passed over.
IS_SUITABLE := import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON = $(shell for python in python3.13 python3.12 python3.11 python3; do \
	"$$python" -c "$(IS_SUITABLE)" 2>/dev/null && { echo "$$python"; break; }; done)

# uv keeps its downloads in the home directory, if there is one.
export UV_CACHE_DIR ?= $(if $(wildcard $(HOME)/.),$(HOME)/.cache/uv,$(CURDIR)/$(VENV)/.cache)

# As many test processes as cores, and one thread in each of them.
PYTEST := $(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadscope
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1


.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r target text; do \
		printf '  \033[1mmake %-14s\033[0m %s\n' "$$target" "$$text"; done

.PHONY: venv
venv: $(READY) ## Make .venv with everything in it (PYTHON=... says from which interpreter)

$(READY): requirements.txt pyproject.toml
	@test -n "$(PYTHON)" || { \
		echo "Python 3.11, 3.12 or 3.13 with venv is needed, and none was found."; \
		echo "Install one (Debian: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python"; \
		exit 1; }
	"$(PYTHON)" -m venv --clear $(VENV)
	@if $(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"; \
	then install=("$(BIN)/uv" pip install --python "$(BIN)/python"); \
	else install=("$(BIN)/python" -m pip install); fi; \
	set -x; \
	"$${install[@]}" --require-hashes --requirement requirements.txt; \
	"$${install[@]}" --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: demo
demo: $(READY) ## Send two simulated nights through a real Airflow and show them (EXIT=1: end with the nights)
	$(BIN)/toros demo $(if $(EXIT),--exit)

.PHONY: test
test: $(READY) ## Run the tests that need nothing but this machine
	$(PYTEST) -m "not services and not chaos"

.PHONY: test-services
test-services: $(READY) ## Run the tests that need PostgreSQL and Redis
	@$(BIN)/python tests/services.py || { \
		echo "Each test makes a database of its own and drops it. To start both for a try:"; \
		echo "  docker run --rm -d -p 5432:5432 -e POSTGRES_HOST_AUTH_METHOD=trust postgres:17"; \
		echo "  docker run --rm -d -p 6379:6379 redis:8"; \
		echo "Those that run elsewhere are named by TOROS_TEST_POSTGRES and TOROS_TEST_REDIS."; \
		exit 1; }
	$(PYTEST) -m "services and not chaos"

.PHONY: chaos
chaos: $(READY) ## Kill processes at random instants, and look for what was lost (ENGINE=1: without Airflow)
	$(BIN)/pytest -m "chaos and not services$(if $(ENGINE), and not airflow)"

.PHONY: lint
lint: $(READY) ## Look at style, layout and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache

.PHONY: types
types: $(READY) ## Check the types
	$(BIN)/mypy

.PHONY: bench
bench: $(READY) ## Measure the speed against its limits and against the usual libraries
	$(BIN)/python -m benchmarks

.PHONY: docs
docs: $(READY) ## Generate the reference from the code
	$(BIN)/toros docs docs/reference

.PHONY: lock
lock: $(READY) ## Write requirements.txt anew from pyproject.toml
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --all-extras --no-emit-index-url \
		pyproject.toml --output-file requirements.txt

.PHONY: clean
clean: ## Remove what was made
	rm -rf $(VENV) .demo build dist docs/reference .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
