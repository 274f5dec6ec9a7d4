# The one front door. Each target does the set-up that it needs; a fresh machine has only Python >= 3.11, make and git.

PYTHON ?= python3
VENV := .venv
BENCH_VENV := .venv-bench
BIN := $(VENV)/bin
PIP_FLAGS := --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help setup demo test check check-lint check-format check-types check-imports check-docs format bench matrix soak \
        docs clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ── environments ─────────────────────────────────────────────────────────────────────────────────────────────────────

# A rule without prerequisites: an environment is made once and then kept. `--clear` removes what an interrupted or
# outdated one left behind. Some systems ship venv without ensurepip, and then fail half-way with a long trace.
%/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	    || { echo "botguard needs Python 3.11 or newer as '$(PYTHON)'; name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	    || { echo "'$(PYTHON)' cannot make virtual environments: its venv or ensurepip module is missing." >&2; \
	         echo "On Debian and Ubuntu: apt-get install python3-venv; or name another Python: make PYTHON=... " >&2; exit 1; }
	@echo "making $*"
	@$(PYTHON) -m venv --clear $*
	@$@ -m pip install $(PIP_FLAGS) --upgrade 'pip>=25.1'

# The stamps tell when an environment is older than pyproject.toml. What the demo needs comes first and alone, so that
# a first look does not wait for compilers of types and frameworks.
$(VENV)/.base: pyproject.toml | $(BIN)/python
	@echo "installing botguard into $(VENV)"
	@$(BIN)/python -m pip install $(PIP_FLAGS) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	@echo "installing the tools for tests and checks into $(VENV)"
	@$(BIN)/python -m pip install $(PIP_FLAGS) -e . --group dev
	@touch $@

$(BENCH_VENV)/.bench: pyproject.toml | $(BENCH_VENV)/bin/python
	@echo "installing botguard and its peers into $(BENCH_VENV)"
	@$(BENCH_VENV)/bin/python -m pip install $(PIP_FLAGS) -e . --group bench
	@touch $@

setup: $(VENV)/.dev  ## make .venv with everything for development

# ── work ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

demo: $(VENV)/.base  ## replay a day of a shop bot, with its failures
	@$(BIN)/botguard demo

test: $(VENV)/.dev  ## run the tests
	@$(BIN)/python -m pytest -q

check: check-lint check-format check-types check-imports check-docs  ## all checks below (make -k check: go on after a failure)

check-lint: $(VENV)/.dev  ## ruff's rules
	@$(BIN)/ruff check --quiet .

check-format: $(VENV)/.dev  ## ruff's layout
	@$(BIN)/ruff format --check .

check-types: $(VENV)/.dev  ## mypy --strict
	@$(BIN)/mypy --strict src

check-imports: $(VENV)/.dev  ## who may import whom
	@$(BIN)/lint-imports --no-logo --no-cache

# Needs no environment: the script is standard library only.
check-docs:  ## links, anchors and snippets
	@$(PYTHON) scripts/check_docs.py

format: $(VENV)/.dev  ## lay the code out and mend what ruff can
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

bench: $(BENCH_VENV)/.bench  ## measure, in an environment of its own
	@$(BENCH_VENV)/bin/python -m benchmarks --write

# Frameworks drop interpreters sooner than we do (Django 6 needs 3.12), so each has other versions of them.
matrix:  ## the core's and Django's tests on every interpreter that is here, each in an environment of its own
	@for version in 3.11 3.12 3.13 3.14; do \
	    python=; \
	    for candidate in "$$HOME"/.pyenv/versions/$$version.*/bin/python "$$(command -v python$$version)"; do \
	        if "$$candidate" -c 'import ensurepip, venv' 2>/dev/null; then python="$$candidate"; break; fi; \
	    done; \
	    if [ -z "$$python" ]; then echo "Python $$version is not here, and was left out"; continue; fi; \
	    venv=.venv-matrix/$$version; \
	    $(MAKE) --no-print-directory PYTHON="$$python" VENV="$$venv" "$$venv/.dev" || exit 1; \
	    "$$venv/bin/python" -c 'import django, sys; print("Python", sys.version.split()[0], "with Django", django.get_version())'; \
	    "$$venv/bin/python" -m pytest -q tests/core tests/adapters/django || exit 1; \
	done

soak: $(VENV)/.dev  ## the tests that run for minutes
	@$(BIN)/python -m pytest -q -m soak

docs: check-docs  ## check the documentation; it is read as Markdown, nothing is built

clean:  ## remove environments, caches and builds
	@rm -rf $(VENV) $(BENCH_VENV) .venv-matrix build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find src tests scripts benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
