"""What the camera sees, as pictures and masks."""

from pathlib import Path
from typing import get_args

import numpy as np
import torch
from comfy_api.latest import io

from genrender.config import ControlKind
from genrender.gbuffer.control_pictures import ControlPictures
from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.preview import object_picture
from genrender.scene.scene import find_by_name
from genrender.shots.clip import Clip, Shot, render_shot
from genrender.shots.exr_shot import ExrShot
from genrender.storage.run_files import GBUFFERS_FILE

from .types import CATEGORY, CLIP, SHOT, RenderedClip, progress, scratch_folder


class RenderPassesNode(io.ComfyNode):
    """A shot's G-buffers, and pictures of them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="GenRenderRenderPasses",
            display_name="Render Passes",
            category=CATEGORY,
            description="Depth for any ControlNet, texture coordinates, objects, and a mask for each object.",
            search_aliases=["depth", "uv", "mask", "g-buffer", "controlnet"],
            inputs=[
                SHOT.Input("shot"),
                io.Combo.Input(
                    "control",
                    options=list(get_args(ControlKind)),
                    default="depth",
                    tooltip="What the ControlNet that gets `control` was trained on",
                ),
                io.String.Input(
                    "objects", default="*", tooltip="Names or patterns of the objects that get a mask each"
                ),
            ],
            outputs=[
                CLIP.Output(display_name="clip"),
                io.Image.Output(
                    display_name="control", tooltip="Depth: near is bright, one range for all frames"
                ),
                io.Image.Output(
                    display_name="uv", tooltip="Red is u, green v, upwards; blue is 1 on surfaces"
                ),
                io.Image.Output(display_name="ids", tooltip="Every object in a colour of its own"),
                io.Mask.Output(display_name="masks", is_output_list=True, tooltip="One for each object"),
                io.String.Output(display_name="names", is_output_list=True, tooltip="Of the masks"),
            ],
        )

    @classmethod
    def execute(cls, shot: Shot | ExrShot, control: ControlKind, objects: str) -> io.NodeOutput:
        scratch = scratch_folder()
        clip = render_shot(shot, progress(), Path(scratch.name) / GBUFFERS_FILE)
        found = find_masks(clip, objects)
        return io.NodeOutput(
            RenderedClip(clip, scratch),
            control_images(clip, control),
            torch.stack([_uv(gbuffer) for gbuffer in clip.gbuffers]),
            torch.stack([_ids(gbuffer) for gbuffer in clip.gbuffers]),
            list(found.values()),
            list(found),
        )


def control_images(clip: Clip, kind: ControlKind) -> torch.Tensor:
    """Control pictures as an IMAGE; those of one channel show it thrice without taking thrice the memory."""
    pictures = ControlPictures(clip.gbuffers)
    frames = []
    for frame in range(len(clip.gbuffers)):
        picture = pictures.of(kind, frame)
        frames.append(picture.astype(np.float32) / 255 if picture.dtype == np.uint8 else picture)
    return torch.from_numpy(np.stack(frames)).expand(-1, -1, -1, 3)


def find_masks(clip: Clip, patterns: str) -> dict[str, torch.Tensor]:
    """Masks "F H W" of the objects whose names match, by name.

    Raises:
        SceneError: no object matches a pattern.
    """
    names: dict[int, str] = {}
    for gbuffer in clip.gbuffers:
        called = gbuffer.object_names or {}
        for one in np.unique(gbuffer.object_id).tolist():
            if one > 0:
                names.setdefault(one, called.get(one, f"object {one}"))
    wanted = [part.strip() for part in patterns.split(",") if part.strip()]
    if not wanted or not names:
        return {}
    chosen = {one for part in wanted for one in find_by_name(names, "the clip", part)}
    return {
        names[one]: torch.from_numpy(
            np.stack([(gbuffer.object_id == one).astype(np.float32) for gbuffer in clip.gbuffers])
        )
        for one in sorted(chosen)
    }


def _uv(gbuffer: GBuffer) -> torch.Tensor:
    shown = gbuffer.visible[..., None]
    # Our v grows downwards; other software expects it upwards.
    picture = np.concatenate([gbuffer.uv[..., :1], 1 - gbuffer.uv[..., 1:], shown], axis=2)
    return torch.from_numpy(np.where(shown, picture, 0).astype(np.float32))


def _ids(gbuffer: GBuffer) -> torch.Tensor:
    return torch.from_numpy(object_picture(gbuffer).astype(np.float32) / 255)
