"""What goes from node to node, and what all nodes need of ComfyUI."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import comfy.model_management
import comfy.utils
import folder_paths
from comfy_api.latest import io

from genrender.shots.clip import Clip

CATEGORY = "genrender"
# A `genrender.shots.clip.Shot` or `ExrShot`: frames that are planned, but not rendered.
SHOT = io.Custom("GENRENDER_SHOT")
# A `RenderedClip`.
CLIP = io.Custom("GENRENDER_CLIP")


@dataclass(frozen=True, eq=False)
class RenderedClip:
    """A clip whose G-buffers lie in a file, so that memory does not grow with its length.

    Attributes:
        clip: what its frames show.
        scratch: the folder of the file; it goes with this object.
    """

    clip: Clip
    scratch: tempfile.TemporaryDirectory[str]


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder in ComfyUI's own for temporary files."""
    where = folder_paths.get_temp_directory()
    Path(where).mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="genrender-", dir=where)


def progress() -> Callable[[str, int, int], None]:
    """Tells ComfyUI how far work has come, and ends it where the user has cancelled."""
    bars: dict[str, comfy.utils.ProgressBar] = {}

    def report(what: str, done: int, total: int) -> None:
        comfy.model_management.throw_exception_if_processing_interrupted()
        bars.setdefault(what, comfy.utils.ProgressBar(total)).update_absolute(done)

    return report
