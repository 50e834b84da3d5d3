"""The correspondence engines by name, and the interface that they share."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from genrender.config import CorrespondenceConfig, UnifyRule
from genrender.correspondence.texture import TextureCorrespondence
from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer


@runtime_checkable
class SurfaceEngine(Protocol):
    """A correspondence engine: whatever can carry keyframe features to frames on the surface."""

    def blend(
        self, keyframes: Sequence[int], frames: Sequence[int], height: int, width: int, rule: UnifyRule
    ) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """Return a function from features "K C h w" to features "F C h w" and their validity "F h w"."""
        ...


EngineMaker = Callable[[Sequence[GBuffer], CorrespondenceConfig, torch.device], SurfaceEngine]
ENGINES: dict[str, EngineMaker] = {"texture": TextureCorrespondence}


def make_engine(
    gbuffers: Sequence[GBuffer], config: CorrespondenceConfig, device: torch.device
) -> SurfaceEngine:
    """The engine that `config` names, ready for a clip.

    Raises:
        ConfigError: there is no engine of that name, or another setting is out of range.
    """
    if config.engine not in ENGINES:
        raise ConfigError(f"unknown correspondence engine {config.engine!r}, expected {' or '.join(ENGINES)}")
    return ENGINES[config.engine](gbuffers, config, device)
