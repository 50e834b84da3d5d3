"""genrender: an animated 3D scene and a sentence in, a temporally consistent video out.

Example:
    >>> import genrender
    >>> scene = genrender.load_scene("walking_biped.glb")
    >>> clip = genrender.render_clip(scene, genrender.ShotConfig(n_frames=24))
    >>> frames = genrender.load_pipeline("pocket")("a red biped", clip.gbuffers).frames
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

# Where each public name lives. It is imported when it is asked for: PyTorch alone takes seconds.
_PLACES = {
    "GenRenderError": "genrender.errors",
    "MethodConfig": "genrender.config",
    "PRESETS": "genrender.config",
    "RunFolder": "genrender.runs.folder",
    "ShotConfig": "genrender.shots.clip",
    "load_pipeline": "genrender.pipeline",
    "load_scene": "genrender.scene.load",
    "make_video": "genrender.runs.make",
    "open_run": "genrender.runs.finished",
    "render_clip": "genrender.shots.clip",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
