"""What a run leaves for other shots of the same characters: a few of its frames at every step.

In the other shot these frames run as keyframes beside its own: their keys and values are attended to, and
their features reach the same surface points, through the objects' textures. Source: ours.
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Float32, Shaped
from torch import Tensor

from genrender.config import ControlKind
from genrender.errors import ConfigError, MediaError
from genrender.gbuffer.gbuffer import PIXEL_FIELDS, GBuffer
from genrender.storage.atomic import atomic_write
from genrender.storage.frame_file import FrameFile
from genrender.storage.lazy_frames import PerFrame
from genrender.storage.untrusted import library_errors

# Before the kind of control pictures, in the file.
_CONTROL = "control_"
# The one part of the file that is no array of frames.
_RANGE = "inverse_range"

_PARTS = {"latents", "final", "frames", _RANGE, *PIXEL_FIELDS}

# Texture ids of each object, by its name; those of one object are in the order of its charts.
AtlasIds = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Appearance:
    """Frames of another run.

    Attributes:
        latents: before every evaluation of the model, as the scheduler keeps them.
        final: the same after the last one.
        control: their control pictures by kind, as that run showed them to the model, see `ControlPictures`.
        gbuffers: what they show.
        frames: their numbers in the clip that was that run's, ascending.
        inverse_range: of that clip's depth control pictures, see `inverse_depth_range`.
        is_of_this_clip: that clip is the one that is being made: its frames are these, at every step.
    """

    latents: Float32[Tensor, "S R C h w"]
    final: Float32[Tensor, "R C h w"]
    control: Mapping[ControlKind, Shaped[np.ndarray, "R H W _"]]
    gbuffers: tuple[GBuffer, ...]
    frames: tuple[int, ...]
    inverse_range: tuple[float, float]
    is_of_this_clip: bool = False

    def numbers(self, n_frames: int) -> tuple[int, ...]:
        """What these frames are called in a clip of so many: another clip's stand behind its own."""
        return self.frames if self.is_of_this_clip else tuple(range(n_frames, n_frames + len(self.gbuffers)))

    def check_fits(self, height: int, width: int, n_evaluations: int, n_channels: int) -> None:
        """Raises ConfigError where these frames cannot lend their look to a run.

        Args:
            height: of that run's pictures.
            width: likewise.
            n_evaluations: of the model, per frame.
            n_channels: of the latents.
        """
        first = self.gbuffers[0]
        theirs = (first.height, first.width, self.latents.shape[0], self.latents.shape[2])
        ours = (height, width, n_evaluations, n_channels)
        if theirs != ours:
            raise ConfigError(
                f"the appearance is of height, width, steps and channels {theirs}, expected {ours}: "
                "make both runs alike in these"
            )

    def check_kinds(self, kinds: Sequence[ControlKind]) -> None:
        """Raises ConfigError where these frames lack a kind of control picture."""
        lacking = [kind for kind in kinds if kind not in self.control]
        if lacking:
            raise ConfigError(
                f"the appearance keeps {' and '.join(self.control)} of its frames, and this run's control "
                f"networks want {' and '.join(lacking)}, too: render that run with the same control networks"
            )

    def as_keyframes(self) -> "Appearance":
        """The same for parts of the clip that these frames are of."""
        return replace(self, is_of_this_clip=True)

    def matched(self, theirs: AtlasIds, ours: AtlasIds, object_of: Mapping[int, int]) -> "Appearance":
        """With the texture ids of another scene, object by object of equal name.

        Objects that the other scene lacks lend no features; their keys and values stay in the picture.

        Args:
            theirs: texture ids of the scene that was shown.
            ours: texture ids of the scene that will be.
            object_of: the object of each of these texture ids.
        """
        new_id = {
            old: new
            for name, ids in theirs.items()
            for old, new in zip(ids, ours.get(name, ()), strict=False)
        }
        gbuffers = []
        for gbuffer in self.gbuffers:
            atlases, objects = np.zeros((2, gbuffer.atlas_id.max(initial=0) + 1), np.int32)
            for old, new in new_id.items():
                if old < len(atlases):
                    atlases[old], objects[old] = new, object_of[new]
            gbuffers.append(
                replace(gbuffer, atlas_id=atlases[gbuffer.atlas_id], object_id=objects[gbuffer.atlas_id])
            )
        return replace(self, gbuffers=tuple(gbuffers))


def with_lent(gbuffers: Sequence[GBuffer], appearance: Appearance | None) -> Sequence[GBuffer]:
    """The clip, and behind it the frames that another run lends."""
    if appearance is None or appearance.is_of_this_clip:
        return gbuffers
    n_frames, lent = len(gbuffers), appearance.gbuffers
    return PerFrame(lambda f: gbuffers[f] if f < n_frames else lent[f - n_frames], n_frames + len(lent))


class AppearanceRecorder:
    """Keeps the latents of a few frames while a run goes on.

    Args:
        frames: which frames.
        n_steps: evaluations of the model.
        shape: "C h w" of one frame's latents.
        file: where they are kept meanwhile.
        n_kept: evaluations that an earlier attempt has kept there, where the run goes on.

    Raises:
        MediaError: the file cannot be made.
        DamagedFile: what an earlier attempt has kept is not there any more.
    """

    def __init__(
        self,
        frames: Sequence[int],
        n_steps: int,
        shape: Sequence[int],
        file: Path,
        n_kept: int = 0,
    ):
        self.frames = list(frames)
        self._steps = FrameFile(file, n_steps + 1, (len(self.frames), *shape), must_exist=n_kept > 0)
        self._steps.check(range(n_kept))

    def keep(self, step: int, latents: Float32[Tensor, "R C h w"]) -> None:
        """The latents before an evaluation; the final ones are those before one more."""
        self._steps.write([step], latents[None].to("cpu", torch.float32).numpy())
        self._steps.sync()

    def write(
        self,
        path: Path,
        gbuffers: Sequence[GBuffer],
        control: Mapping[ControlKind, Shaped[np.ndarray, "R H W _"]],
        inverse_range: tuple[float, float],
    ) -> None:
        """Write everything as one file.

        Args:
            path: the file, .npz.
            gbuffers: of the frames.
            control: control pictures of the frames by kind.
            inverse_range: of the clip's depth control pictures.

        Raises:
            MediaError: it cannot be written.
        """
        arrays: dict[str, Any] = {
            name: np.stack([getattr(g, name) for g in gbuffers]) for name in PIXEL_FIELDS
        }
        # Half precision is finer than what a step changes, and halves the largest part of the file.
        *before, final = self._steps.read(range(len(self._steps)))
        latents = np.stack(before).astype(np.float16)
        arrays |= {"final": final, "frames": np.array(self.frames), _RANGE: np.array(inverse_range)}
        for kind, pictures in control.items():
            is_bytes = pictures.dtype == np.uint8
            arrays[_CONTROL + kind] = pictures if is_bytes else pictures.astype(np.float16)
        with atomic_write(path) as part:
            np.savez_compressed(part, latents=latents, **arrays)


def read_appearance(path: Path) -> Appearance:
    """What `AppearanceRecorder.write` wrote.

    Raises:
        MediaError: there is none, or the file is damaged.
    """
    if not path.is_file():
        raise MediaError(f"{path.parent} keeps no appearance: there is no {path.name} in it; render it again")
    damaged = "it is damaged: render that run again"
    with library_errors(str(path), MediaError, damaged, Exception):
        # NumPy does not read to where an archive's reader would compare checksums.
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
        with np.load(path) as stored:
            arrays: dict[str, Any] = dict(stored)
    kinds = [kind for kind in get_args(ControlKind) if _CONTROL + kind in arrays]
    if part is not None or not kinds or not arrays.keys() >= _PARTS:
        raise MediaError(f"cannot read {path}: {damaged}")
    n_kept = len(arrays["depth"])
    inverse_range = arrays.pop(_RANGE)
    n_dims = {"latents": 5, "final": 4, "frames": 1, "uv": 4, "bary": 4}
    n_dims |= dict.fromkeys([_CONTROL + kind for kind in kinds], 4)
    for name, array in arrays.items():
        rows = array.shape[1:2] if name == "latents" else array.shape[:1]
        if rows != (n_kept,) or array.ndim != n_dims.get(name, 3):
            raise MediaError(f"cannot read {path}: {name} in it is of shape {array.shape}; render it again")
    gbuffers = tuple(GBuffer(**{name: arrays[name][row] for name in PIXEL_FIELDS}) for row in range(n_kept))
    latents = torch.from_numpy(arrays["latents"].astype(np.float32))
    pictures = {kind: arrays[_CONTROL + kind] for kind in kinds}
    whole = {kind: p.astype(np.float32) if kind == "depth" else p for kind, p in pictures.items()}
    far, near = inverse_range.tolist()
    final, frames = torch.from_numpy(arrays["final"]), tuple(arrays["frames"].tolist())
    return Appearance(latents, final, whole, gbuffers, frames, (far, near))
