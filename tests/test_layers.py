"""What import-linter is told: it cannot see what is missing from its lists."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Plain data about a scene, which the diffusion stage may know.
PLAIN = {"backdrop_ids", "camera", "moments", "names"}


def test_the_diffusion_stage_may_import_nothing_new_of_the_scene():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    contract = next(c for c in settings["contracts"] if "never needs a mesh" in c["name"])
    assert not contract.get("allow_indirect_imports")
    assert not contract.get("ignore_imports")
    entries = (ROOT / "src/genrender/scene").iterdir()
    modules = {entry.stem for entry in entries if entry.suffix == ".py" or (entry / "__init__.py").exists()}
    forbidden = {name.removeprefix("genrender.scene.") for name in contract["forbidden_modules"]}
    assert forbidden == modules - PLAIN - {"__init__"}
