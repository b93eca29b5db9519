# Bare `make` lists the targets. PYTHON=/path/to/python3.12 chooses the Python that .venv is created with.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup check test test-rest test-whole slow test-all drills matrix histories compare practice demo bench coverage contracts lock clean runtime development

PYTHON ?=
VENV ?= .venv
BIN := $(VENV)/bin
export PYTHON

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: runtime ## see the main job work: both vendors imitated on loopback, nothing real touched
	@$(BIN)/meterbridge demo

setup: development ## create .venv with everything needed to develop
	@echo "ready: $(BIN)/meterbridge --help"

check: development ## ruff, mypy, import contracts, sizes, .sql headers, words, locks, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -m "not slow" tests/architecture
	$(BIN)/codespell

# Both workers take from the longer queue: a file of whole runs is no floor under the time.
PYTEST = $(BIN)/pytest -q -n 2 --dist worksteal
FAST = not slow and not prefect

test: development ## the quick tests, minutes: rules, SQL, connectors, ledger on SQLite, the core of each flow (tests/core.toml)
	$(PYTEST) -m "$(FAST) and not whole" --ignore=tests/architecture

test-rest: development ## what every change must pass besides: PostgreSQL, a sample of all flow tests (tests/conftest.py)
	$(PYTEST) -m "$(FAST) and whole and not variant"

test-whole: development ## every test that needs no Prefect server and no minutes of its own
	$(PYTEST) -m "$(FAST)"

test-all: test-whole slow drills ## every test there is

slow: development ## the part for every change of the long ones: whole processes, Prefect server, packaging; properties at length
	$(PYTEST) --hypothesis-profile=thorough -m hypothesis tests/unit
	$(PYTEST) -m "(slow or prefect) and not drill and not variant"

drills: development ## and the longest ones, forty minutes: every harm in every state, all that 0.1.0 left, killed Prefect, a storm of webhooks
	$(BIN)/pytest -q --hypothesis-profile=search -m hypothesis tests/unit
	$(BIN)/pytest -q -m "drill or (variant and (slow or prefect))"

EVERY ?= 1

matrix: development ## every harm at every request of every state, an hour and a half; a fortieth of it: make matrix EVERY=3/40
	METERBRIDGE_TEST_EVERY=$(EVERY) $(BIN)/pytest -q -m drill tests/flows/test_crash_matrix.py

histories: SEEDS ?= 1-100

histories: development ## random months of both vendors' lives, by seed: make histories SEEDS=1-500
	$(BIN)/python -m tests.histories --seeds $(SEEDS) --go-on

compare: SEEDS ?= 1-2
compare: LIVES ?= 1/3

compare: development ## 0.1.0 and today's code on the same worlds: what differs, and why; make compare SEEDS=1-20 LIVES=1/1
	$(BIN)/python -m tests.compare --seeds "$(SEEDS)" --lives "$(LIVES)"

practice: development ## write docs/explanation/practice.md from the cases of tests/practice
	$(BIN)/python -m tests.practice page

bench: development ## the benchmarks, one after the other; figures are for a quiet machine
	@.ci/environment requirements-bench.lock $(VENV)
	@for file in benchmarks/bench_*.py; do \
		name=$$(basename "$$file" .py); echo "== $$name"; $(BIN)/python -m "benchmarks.$$name" || exit 1; \
	done

DESCRIPTION ?=

coverage: development ## which lines and branches `make test-whole` runs, module by module; page by page in htmlcov/
	$(PYTEST) -m "$(FAST)" --cov --cov-report=term --cov-report=html

contracts: development ## write the contracts anew; m3ter's too with DESCRIPTION=/path/to/its-openapi.json
	$(BIN)/python -m contracts.make $(DESCRIPTION)

LOCK = uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --group build $(UPGRADE)

lock: ## compile the locks from pyproject.toml; UPGRADE=--upgrade takes newer versions
	@command -v uv >/dev/null || { echo "make lock needs uv: see its documentation for how to install it" >&2; exit 2; }
	$(LOCK) --output-file requirements.lock
	$(LOCK) --group dev --constraint requirements.lock --output-file requirements-dev.lock
	$(LOCK) --group bench --constraint requirements.lock --output-file requirements-bench.lock
	printf 'prefect==3.8.8\nfastapi<0.151\n' | $(LOCK) --constraint - --output-file requirements-prefect-3.8.lock

clean: ## remove .venv, caches and build results
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

runtime:
	@.ci/environment requirements.lock $(VENV)

development:
	@.ci/environment requirements-dev.lock $(VENV)
