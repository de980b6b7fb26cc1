# Environment, demonstration, tests. Every recipe uses relative paths, so spaces in the path are fine.
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
# what pip says is kept, and shown if it fails
QUIETLY := >.venv/install.log 2>&1 || { tail -n 20 .venv/install.log; exit 1; }

.PHONY: help env demo docs test test-all browser lint clean

help:
	@echo "make demo   build .venv and explore the generated sample collection"
	@echo "make test   build .venv and run the default test suite"
	@echo "make test-all   also the tests that take long"
	@echo "make lint   build .venv, then ruff, mypy and bandit"
	@echo "make docs   build .venv and the documentation site in build/site"
	@echo "make env    build .venv only"

env: .venv/installed

# The stamp is written last: an interrupted install is taken up again by the next make.
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "fallow needs Python 3.10 or newer: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@echo "1 of 3: an environment of its own in .venv"
	@$(PYTHON) -m venv .venv || \
		{ echo "the venv module is missing: apt-get install python3-venv (Debian, Ubuntu)"; exit 1; }
	@echo "2 of 3: PyTorch, a few hundred megabytes"
	@$(INSTALL) torch $(QUIETLY)
	@echo "3 of 3: fallow with its libraries and tools"
	@$(INSTALL) -e ".[dev]" $(QUIETLY)
	@touch .venv/installed

demo: env
	$(BIN)/python -m fallow demo fallow-demo

test: env browser
	$(BIN)/python -m pytest -n 2 --dist loadfile -rs

docs: env
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "open build/site/index.html"

# What is exhaustive rather than quick: the same tests and those marked slow.
test-all: env browser
	$(BIN)/python -m pytest -n 2 --dist loadfile -rs -m "slow or not slow"

# Tests that open a report in a browser are skipped without one; this line then says so.
browser:
	@sh .ci/browser

lint: env
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy src
	$(BIN)/python -m bandit -q -ll -r src

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
