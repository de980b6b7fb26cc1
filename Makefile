# Environment, demonstration, tests. Every recipe uses relative paths, so spaces in the path are fine.
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help env demo test browser lint clean

help:
	@echo "make demo   build .venv and explore the generated sample collection"
	@echo "make test   build .venv and run the default test suite"
	@echo "make lint   build .venv, then ruff and mypy"
	@echo "make env    build .venv only"

env: .venv/installed

# The stamp is written last: an interrupted install is taken up again by the next make.
.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "fallow needs Python 3.10 or newer: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -m venv .venv || \
		{ echo "the venv module is missing: apt-get install python3-venv (Debian, Ubuntu)"; exit 1; }
	@echo "installing fallow and its tools into .venv (a few minutes the first time)"
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch .venv/installed

demo: env
	$(BIN)/python -m fallow demo fallow-demo

test: env browser
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Tests that open a report in a browser are skipped without one; this line then says so.
browser:
	@sh .ci/browser

lint: env
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy src

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
