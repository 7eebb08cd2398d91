# Everything is done in environments of the checkout's own; only Python, make and pip need to be on the machine.

PYTHON ?= python3
PYTEST_WORKERS ?= auto
PYTEST_FLAGS ?=

VENV := .venv
INTEROP := .venv-interop
PIP_INSTALL := -m pip install --quiet --no-input --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env tour gallery test lint types format test-interop docs bench clean python

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

env: $(VENV)/.stamp ## make .venv with the library and all that its development needs

tour: env ## a guided tour of the library, written to build/tour
	$(VENV)/bin/chainrule tour --out build/tour

gallery: env ## derivations of ten functions, each a page, in docs/gallery/pages
	$(VENV)/bin/python docs/gallery

test: lint types ## lint, types, and every test that needs no other framework
	$(VENV)/bin/python -m pytest -n $(PYTEST_WORKERS) --timeout=600 $(PYTEST_FLAGS)

lint: env ## ruff: lints and format
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: env ## mypy, strict
	$(VENV)/bin/mypy

format: env ## rewrite the files as lint wants them
	$(VENV)/bin/ruff check --fix-only .
	$(VENV)/bin/ruff format .

test-interop: $(INTEROP)/.stamp ## the tests with PyTorch, JAX and Dask, in an environment of their own
	$(INTEROP)/bin/python -m pytest -m interop --timeout=600 $(PYTEST_FLAGS) tests/interop

docs: env gallery ## build the documentation into build/site; any warning is an error
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

bench: env ## side by side with peers, in one run
	$(VENV)/bin/python benchmarks/run.py

clean: ## remove what was built, environments included
	rm -rf build dist $(VENV) $(INTEROP) .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# The stamp is younger than pyproject.toml when the environment is what pyproject.toml asks for.
$(VENV)/.stamp: pyproject.toml | python
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python $(PIP_INSTALL) --editable '.[dev,examples]'
	@touch $@

$(INTEROP)/.stamp: pyproject.toml | python
	$(PYTHON) -m venv $(INTEROP)
	$(INTEROP)/bin/python $(PIP_INSTALL) --editable '.[interop,dask]' pytest pytest-timeout hypothesis
	@touch $@

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	{ echo "chainrule needs Python 3.11 or newer, which '$(PYTHON)' is not: say make PYTHON=/path/to/python3.11." >&2; exit 1; }
