"""Settings of the method, one frozen dataclass per stage. A preset is a named instance of `MethodConfig`."""

from dataclasses import dataclass, field
from typing import Literal

NoiseMode = Literal["partition", "nearest", "fixed", "independent"]
UnifyRule = Literal["fill", "mean", "paper"]
KeyframeStrategy = Literal["random", "stratified"]
Engine = Literal["texture"]


@dataclass(frozen=True)
class NoiseConfig:
    """Mechanism 1: where the initial latent noise comes from.

    Attributes:
        mode: `partition` and `nearest` see a noise texture through the G-buffer; `fixed` repeats one screen
            noise, `independent` draws every frame afresh (both ablations).
        texture_side: texels along one side of each object's noise texture. None: chosen per mode.
    """

    mode: NoiseMode = "partition"
    texture_side: int | None = None


@dataclass(frozen=True)
class CorrespondenceConfig:
    """Mechanism 2, first half: which keyframe pixels show the surface point that a frame's pixel shows.

    Attributes:
        engine: `texture` goes through the objects' UV atlases.
        ratio: texture side over the side of a feature map.
    """

    engine: Engine = "texture"
    ratio: float = 4.0


@dataclass(frozen=True)
class InjectionConfig:
    """Mechanisms 2 and 3: what keyframes give to every frame's self-attention.

    Attributes:
        pre_attn: extend every frame's keys and values with the keyframes'.
        alpha: weight in [0, 1] of the blended surface features; 0 switches post-attention injection off.
        unify: how keyframes that show the same surface point are combined.
        keyframes: how keyframes are drawn at every step.
        n_keyframes: None means max(3, F / 8).
        layers: regular expression that a self-attention layer's full name must match (`re.search`); the
            default takes the decoder.
    """

    pre_attn: bool = True
    alpha: float = 0.5
    unify: UnifyRule = "paper"
    keyframes: KeyframeStrategy = "stratified"
    n_keyframes: int | None = None
    layers: str = r"^up_blocks\."


@dataclass(frozen=True)
class MethodConfig:
    """Everything that distinguishes one way of making the frames agree from another."""

    noise: NoiseConfig = field(default_factory=NoiseConfig)
    correspondence: CorrespondenceConfig = field(default_factory=CorrespondenceConfig)
    injection: InjectionConfig = field(default_factory=InjectionConfig)


# Every frame on its own: what an image model does without this project.
PER_FRAME = MethodConfig(
    noise=NoiseConfig(mode="independent"), injection=InjectionConfig(pre_attn=False, alpha=0.0)
)
