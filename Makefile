# `make` lists what can be made. Everything happens in .venv; nothing else on the machine is changed.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
# Compiling 2 GB of modules, most of them never imported, takes longer than fetching them.
# Which is why what is imported must be kept compiled: every worker is a new process.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(BIN)/python -m pip install --quiet --no-compile

.PHONY: help setup demo test test-slow bench lint docs clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## make .venv with everything that is tested (about 2 GB)

# torch goes first: asked for together with others, pip takes a build with gigabytes of CUDA. The rest is listed whole
# in constraints.txt, so there is nothing to resolve, which saves minutes; `pip check` tells if the list has a gap.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "neurocube needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) --upgrade "pip>=25"
	$(INSTALL) torch==2.13.0
	$(INSTALL) --no-deps --requirement constraints.txt
	$(INSTALL) --no-deps --editable .
	$(BIN)/python -m pip check
	@touch $@

demo: setup  ## simulate two brains, compare them with a network, write demo/report.html
	$(BIN)/neurocube demo

test: lint  ## lint, then all tests but the slow ones, on all cores
	$(BIN)/pytest --numprocesses auto --dist loadfile

test-slow: setup  ## the tests that take minutes
	$(BIN)/pytest -m slow

bench: setup  ## time us against peers; fails where a ratio falls short
	$(BIN)/python -m benchmarks

lint: setup  ## style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup  ## write the pages that are generated from the code
	$(BIN)/python docs/generate.py

clean:  ## remove .venv and everything that was made
	rm -rf .venv demo dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
