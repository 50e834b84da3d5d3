"""What lies beside the package has its version, or asks for it."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import genrender

ROOT = Path(__file__).parents[2]
HOSTS = ROOT / "integrations"
NEEDED = f">={genrender.__version__}"


def test_hosts_have_the_version_of_the_package() -> None:
    """The Blender extension installs the engine of its own version."""
    extension = tomllib.loads((HOSTS / "blender" / "blender_manifest.toml").read_text())
    nodes = tomllib.loads((HOSTS / "comfyui" / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {extension["version"], nodes["version"], citation["version"]} == {genrender.__version__}
    assert nodes["dependencies"] == [f"genrender{NEEDED}"]
    assert (HOSTS / "comfyui" / "requirements.txt").read_text() == f"genrender{NEEDED}\n"


@pytest.mark.parametrize("family", ["stable_diffusion", "stable_diffusion_xl"])
def test_folders_for_diffusers_ask_for_the_version_of_the_package(family: str) -> None:
    folder = HOSTS / "diffusers" / family
    assert json.loads((folder / "modular_config.json").read_text())["requirements"]["genrender"] == NEEDED
    assert f'"genrender": "{NEEDED}"' in (folder / "block.py").read_text()


def test_pages_and_tools_name_the_file_that_is_built() -> None:
    for file in [*(ROOT / "docs").glob("*.md"), ROOT / "tools" / "blender_pictures.py"]:
        named = re.findall(r"genrender-(\d[\w.]*)\.zip", file.read_text(encoding="utf-8"))
        assert set(named) <= {genrender.__version__}, file
