"""The correspondence engines by name, and the interface that they share."""

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from genrender.config import CorrespondenceConfig, UnifyRule
from genrender.correspondence.gather import FeatureMap
from genrender.correspondence.reproject import ReprojectCorrespondence
from genrender.correspondence.texture import TextureCorrespondence
from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.surface.tracking import SurfaceTracker


@runtime_checkable
class Blend(Protocol):
    """What an engine prepares: a function from features "K C h w" to features "F C h w" and their validity.

    Attributes:
        surface: which of the frames' pixels "F h w" show any surface.
    """

    surface: Tensor

    def __call__(self, features: Tensor) -> tuple[Tensor, Tensor]: ...

    def shows(self, pixels: Tensor) -> Tensor:
        """Which of the frames' pixels "F h w" show a point that any of the keyframes' pixels "K h w" shows.

        Every keyframe must have a share of the points that it sees, so the rule must be one that averages,
        unless there is but one keyframe.
        """
        ...


@runtime_checkable
class SurfaceEngine(Protocol):
    """A correspondence engine: whatever can carry keyframe features to frames on the surface."""

    def blend(
        self,
        keyframes: Sequence[int],
        frames: Sequence[int],
        features: FeatureMap,
        rule: UnifyRule,
        progress: float = 0.0,
    ) -> Blend:
        """Prepare to carry features from keyframes to frames.

        Args:
            keyframes: frame indices, in the order in which `fill` visits them.
            frames: frame indices to render into.
            features: what is carried.
            rule: how keyframes that show the same surface point are combined.
            progress: share of the diffusion steps that are done, for rules that change with it.
        """
        ...

    def grid(self, features: FeatureMap) -> Hashable:
        """Equal for feature maps that lie on the surface alike: one `blend` serves all of them."""
        ...


def make_engine(
    gbuffers: Sequence[GBuffer],
    config: CorrespondenceConfig,
    device: torch.device,
    tracker: SurfaceTracker | None = None,
    folder: Path | None = None,
) -> SurfaceEngine:
    """The engine that `config` names, ready for a clip.

    Args:
        gbuffers: the clip.
        config: which engine, and its settings.
        device: where features live.
        tracker: knows where surface points lie; the `reproject` engine needs it.
        folder: for files of what the `texture` engine finds in each frame; None: in memory.

    Raises:
        ConfigError: there is no engine of that name, it needs a tracker and there is none, or another setting
            is out of range.
    """
    config.check()
    if config.engine == "texture":
        return TextureCorrespondence(gbuffers, config, device, folder)
    if tracker is None:
        raise ConfigError(
            "the reproject engine needs the scene's geometry, and only G-buffers were given: pass the clip's "
            "tracker, or choose the texture engine"
        )
    return ReprojectCorrespondence(tracker, config, device)
