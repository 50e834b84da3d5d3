"""What benchmarks share: the form of their command lines, a scene, and a clock."""

import argparse
import time
from pathlib import Path

SCENES = Path(__file__).resolve().parents[1] / "examples" / "scenes"
WALKING_BIPED = SCENES / "walking_biped.glb"


def new_parser(doc: str | None, has_json: bool = True) -> argparse.ArgumentParser:
    """A parser whose help is the benchmark's own text, as it stands.

    Args:
        doc: the benchmark's docstring.
        has_json: with an option `--json`, for reports that other programs read.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if has_json:
        parser.add_argument("--json", action="store_true", help="print JSON and nothing else")
    return parser


def now() -> float:
    """Seconds, when all that a GPU was asked for is done."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
