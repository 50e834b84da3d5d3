"""Where the project's own scenes are."""

from pathlib import Path

SCENES = Path(__file__).parents[2] / "examples" / "scenes"
