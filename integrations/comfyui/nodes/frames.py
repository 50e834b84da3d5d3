"""Finished frames: locked to their surfaces, and measured."""

import json
from collections.abc import Sequence

import numpy as np
import torch
from comfy_api.latest import io, ui
from jaxtyping import Float32

from genrender.errors import ConfigError
from genrender.injection.keyframes import covering_frames
from genrender.metrics.table import Subject, measure
from genrender.surface.lock import MAX_VIEWS, SurfaceLock, locked_frames
from genrender.surface.sightings import GeometrySightings, UvSightings

from .types import CATEGORY, CLIP, RenderedClip, progress


class SurfaceLockNode(io.ComfyNode):
    """Frames whose surfaces show the detail of the frames that see them best."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GenRenderSurfaceLock",
            display_name="Surface Lock",
            category=CATEGORY,
            description="Surfaces show the detail of the frames that see them best, in each frame's light.",
            search_aliases=["deflicker", "stabilize"],
            inputs=[
                io.Image.Input("images"),
                CLIP.Input("clip"),
                io.Float.Input("strength", default=1.0, min=0.0, max=1.0, step=0.05),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**63 - 1,
                    control_after_generate=True,
                    tooltip="Of the first view, from which the others are found",
                ),
            ],
            outputs=[io.Image.Output(display_name="images")],
        )

    @classmethod
    def execute(cls, images: torch.Tensor, clip: RenderedClip, strength: float, seed: int) -> io.NodeOutput:
        frames, shown = pictures_of(images, clip), clip.clip
        views = {frame: frames[frame] for frame in covering_frames(shown.gbuffers, MAX_VIEWS, seed)}
        found = GeometrySightings(shown.tracker) if shown.has_geometry else UvSightings(shown.gbuffers)
        locked, report = torch.empty(images.shape), progress()
        for frame, picture in enumerate(locked_frames(frames, SurfaceLock(found, views), strength)):
            locked[frame] = torch.from_numpy(picture)
            report("lock", frame + 1, len(frames))
        return io.NodeOutput(locked)


class SurfaceMetricsNode(io.ComfyNode):
    """How steady and how sharp frames are, measured at true surface points."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GenRenderSurfaceMetrics",
            display_name="Surface Metrics",
            category=CATEGORY,
            description="How much surface points change over time, and how sharp surfaces are.",
            search_aliases=["flicker", "consistency", "warp error"],
            inputs=[io.Image.Input("images"), CLIP.Input("clip")],
            outputs=[
                io.String.Output(display_name="figures", tooltip="All of them, as JSON"),
                io.Float.Output(display_name="surface_error", tooltip="Between neighbours, 0 to 1"),
                io.Float.Output(display_name="sharpness"),
            ],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, images: torch.Tensor, clip: RenderedClip) -> io.NodeOutput:
        figures = measure(Subject(pictures_of(images, clip), clip.clip))
        text = json.dumps(figures, indent=2)
        # Passes from files have no geometry to measure by.
        error = figures["surface_error"]["1"]
        error = float("nan") if error is None else float(error)
        return io.NodeOutput(text, error, float(figures["sharpness"]), ui=ui.PreviewText(text))


def pictures_of(images: torch.Tensor, clip: RenderedClip) -> Sequence[Float32[np.ndarray, "H W 3"]]:
    """An IMAGE as the clip's frames.

    Raises:
        ConfigError: there are more or fewer, or they are of another size.
    """
    shot = clip.clip.shot
    wanted = (shot.n_frames, shot.height, shot.width)
    if tuple(images.shape[:3]) != wanted:
        raise ConfigError(
            f"the images are {tuple(images.shape[:3])} (frames, height, width), and the clip is {wanted}: "
            "connect the frames that were made from it, before they are enlarged or cut"
        )
    return list(images[..., :3].float().cpu().numpy())
