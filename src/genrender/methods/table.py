"""The methods that can be compared, by name: ours, its parts, and rivals from the literature.

All run on the same model, G-buffers, sampler and seeds; they differ in noise, attention and what belongs to
them in `MethodConfig`.
"""

from dataclasses import dataclass
from typing import get_args

from genrender.config import (
    PER_FRAME,
    PRESETS,
    InjectionConfig,
    MethodConfig,
    MethodName,
    NoiseConfig,
    NoiseMode,
)
from genrender.injection.state import AttentionState
from genrender.methods.rivals import FirstFrameAttention, PreviousFrameAttention, PropagatedAttention

METHOD_OPTIONS = frozenset({"noise", "engine", "alpha", "unify", "keyframes", "set"})
# What the rules of a method that is about surface noise leave to choose.
_SURFACE_NOISES: tuple[NoiseMode, ...] = ("partition", "nearest")
_NO_INJECTION = InjectionConfig(pre_attn=False, alpha=0.0)


def _replaced_attention(alpha: float) -> InjectionConfig:
    """For rivals: they change every self-attention layer, and know no surface when they share tokens."""
    return InjectionConfig(alpha=alpha, deduplicate=False, layers=r"attn1")


@dataclass(frozen=True)
class Method:
    """One way to make frames agree.

    Attributes:
        summary: what it does, in half a sentence.
        config: its settings; None stands for those that the user chose.
        attention: what happens in self-attention layers.
        noises: of those modes another may be chosen; nothing where its noise is a part of the method.
        is_baked: a few frames are painted, and the clip shows their colours on its surfaces.
    """

    summary: str
    config: MethodConfig | None = None
    attention: type[AttentionState] = AttentionState
    noises: tuple[NoiseMode, ...] = ()
    is_baked: bool = False

    @property
    def options(self) -> frozenset[str]:
        """The options of `genrender render` that mean something to it, of those that set up a method."""
        if self.config is None:
            return METHOD_OPTIONS
        injection = self.config.injection
        has_keyframes = injection.pre_attn or injection.uses_surface
        means = {
            "noise": bool(self.noises),
            "keyframes": has_keyframes and not issubclass(self.attention, FirstFrameAttention),
            "engine": self.config.needs_correspondence,
        }
        return frozenset(option for option, is_meant in means.items() if is_meant)


METHODS: dict[MethodName, Method] = {
    "generative": Method("surface noise, features blended on the surface, both injections: ours"),
    "generative-paper": Method(
        "the same with the paper's noise, textures and keyframes", PRESETS["paper"].method
    ),
    "per-frame": Method("every frame on its own", PER_FRAME, noises=get_args(NoiseMode)),
    "fixed-noise": Method(
        "the same screen noise in all frames, nothing else",
        MethodConfig(NoiseConfig("fixed"), injection=_NO_INJECTION),
    ),
    "surface-noise": Method(
        "surface noise, nothing else", MethodConfig(injection=_NO_INJECTION), noises=_SURFACE_NOISES
    ),
    "extended-attention": Method(
        "surface noise, and every frame attends to the keyframes, too",
        MethodConfig(injection=InjectionConfig(alpha=0.0, deduplicate=False)),
        noises=_SURFACE_NOISES,
    ),
    "post-only": Method(
        "surface noise, and features blended on the surface",
        MethodConfig(injection=InjectionConfig(pre_attn=False)),
        noises=_SURFACE_NOISES,
    ),
    "cross-frame": Method(
        "every frame attends to the first (Text2Video-Zero)",
        MethodConfig(NoiseConfig("fixed"), injection=_replaced_attention(alpha=0.0)),
        FirstFrameAttention,
    ),
    "pix2video": Method(
        "every frame attends to the first and the previous one (Pix2Video)",
        MethodConfig(NoiseConfig("fixed"), injection=_replaced_attention(alpha=0.0)),
        PreviousFrameAttention,
    ),
    "tokenflow": Method(
        "attention outputs of the two keyframes around a frame, along the surface (TokenFlow)",
        MethodConfig(NoiseConfig("fixed"), injection=_replaced_attention(alpha=1.0)),
        PropagatedAttention,
    ),
    "static-texture": Method(
        "a few frames, baked to the surface: consistent by construction, and lifeless", is_baked=True
    ),
}
