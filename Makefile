# `make demo`, `make page` and `make test` are all the set-up there is: they make .venv, install into it and run.
# A second call installs again only if pyproject.toml or constraints.txt has changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt

.PHONY: demo page test
.DELETE_ON_ERROR:

demo: $(VENV)/installed
	$(BIN)/genrender render examples/scenes/walking_biped.glb \
		--preset fast \
		--prompt "a red and white striped biped on a green background" --frames 24 --repeat 4 --out demo.mp4

page: $(VENV)/installed-web
	$(BIN)/genrender serve

# Two processes of one thread each: tiny networks are slower on two threads than on one.
test: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-logo
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "genrender needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV): this takes a few minutes, once."
	$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/installed-web: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV): this takes a few minutes, once."
	$(PIP_INSTALL) -e '.[web]'
	@touch $(VENV)/installed $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV): this takes a few minutes, once."
	$(PIP_INSTALL) -e '.[dev]'
	@touch $(VENV)/installed $(VENV)/installed-web $@
