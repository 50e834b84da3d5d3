"""The methods that can be compared, by name: ours, its parts, ours with one setting changed, and rivals.

All run on the same model, G-buffers, sampler and seeds; they differ in noise, attention and what belongs to
them in `MethodConfig`. The command line, benchmarks and examples take names and settings from here. Nothing
here needs torch until a method runs, so that `genrender --help` can list them.

A new rival is an entry in `METHODS`, and an attention class in `genrender.methods.rivals` where it has one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from genrender.config import (
    OURS,
    PER_FRAME,
    PRESETS,
    CorrespondenceConfig,
    InjectionConfig,
    LatentConfig,
    MethodConfig,
    NoiseConfig,
    NoiseMode,
)

if TYPE_CHECKING:
    from genrender.injection.state import AttentionState

METHOD_OPTIONS = frozenset({"noise", "engine", "alpha", "unify", "keyframes", "set"})
# What the rules of a method that is about surface noise leave to choose.
_SURFACE_NOISES: tuple[NoiseMode, ...] = ("partition", "bridge", "nearest")
_NO_INJECTION = InjectionConfig(pre_attn=False, alpha=0.0)

# For rivals that join latents on the surface: as published, what a mean loses stays lost.
_JOINED = CorrespondenceConfig(restore_spread=False)
_SHARED_KEYS = InjectionConfig(alpha=0.0, deduplicate=False)


def _replaced_attention(alpha: float) -> InjectionConfig:
    """For rivals: they change every self-attention layer, and know no surface when they share tokens."""
    return InjectionConfig(alpha=alpha, deduplicate=False, layers=r"attn1")


@dataclass(frozen=True)
class Method:
    """One way to make frames agree.

    Attributes:
        summary: what it does, in half a sentence.
        config: its settings; None stands for those that the user chose.
        rival: the class of `genrender.methods.rivals` that takes the place of our attention; None: ours.
        fixes_keyframes: the method says which frames are keyframes and how many.
        noises: of those modes another may be chosen; nothing where its noise is a part of the method.
        is_baked: a few frames are painted, and the clip shows their colours on its surfaces.
    """

    summary: str
    config: MethodConfig | None = None
    rival: str | None = None
    fixes_keyframes: bool = False
    noises: tuple[NoiseMode, ...] = ()
    is_baked: bool = False

    @property
    def attention(self) -> type[AttentionState]:
        """What happens in self-attention layers. Imports torch."""
        from genrender.injection.state import AttentionState
        from genrender.methods import rivals

        return AttentionState if self.rival is None else getattr(rivals, self.rival)

    @property
    def settings(self) -> MethodConfig:
        """Its settings, where the user chose none."""
        return self.config or OURS

    @property
    def options(self) -> frozenset[str]:
        """The options of `genrender render` that mean something to it, of those that set up a method."""
        if self.config is None:
            return METHOD_OPTIONS
        injection = self.config.injection
        has_keyframes = injection.pre_attn or injection.uses_surface
        means = {
            "noise": bool(self.noises),
            "keyframes": has_keyframes and not self.fixes_keyframes,
            "engine": self.config.needs_correspondence,
        }
        return frozenset(option for option, is_meant in means.items() if is_meant)


METHODS: dict[str, Method] = {
    "generative": Method("surface noise, features blended on the surface, both injections, the lock: ours"),
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
        rival="FirstFrameAttention",
        fixes_keyframes=True,
    ),
    "pix2video": Method(
        "every frame attends to the first and the previous one (Pix2Video)",
        MethodConfig(NoiseConfig("fixed"), injection=_replaced_attention(alpha=0.0)),
        rival="PreviousFrameAttention",
        fixes_keyframes=True,
    ),
    "tokenflow": Method(
        "attention outputs of the two keyframes around a frame, along the surface (TokenFlow)",
        MethodConfig(NoiseConfig("fixed"), injection=_replaced_attention(alpha=1.0)),
        rival="PropagatedAttention",
    ),
    # Source: Bao et al. 2024, "Tex4D" (2410.10821): in every DDIM step the predicted clean latents of all
    # frames are joined in a texture of the whole clip. Differs: the clip's own camera and an image model, so
    # no further views, and keyframes' keys and values stand in for temporal attention; the step's noise
    # follows from the joined latents, and no reference texture is mixed in.
    "tex4d": Method(
        "predicted clean latents of all frames joined on the surface at every step (Tex4D)",
        MethodConfig(
            NoiseConfig("nearest"),
            _JOINED,
            _SHARED_KEYS,
            LatentConfig(synchronise=1.0, synchronise_from="frames", synchronise_until=1.0),
        ),
        noises=_SURFACE_NOISES,
    ),
    # Source: Liu et al. 2023, "SyncMVD" (2311.12891): views are joined by their quality to a power that
    # rises from 0 to 6, in the first 80 % of the steps. Differs: frames of a clip instead of views of a still
    # object, which read the keyframes' keys and values instead of their neighbours'; quality is how large a
    # point is seen, instead of the cosine of the viewing angle.
    "syncmvd": Method(
        "the same, and the frame that sees a point best counts ever more (SyncMVD)",
        MethodConfig(
            NoiseConfig("nearest"),
            _JOINED,
            _SHARED_KEYS,
            LatentConfig(synchronise=1.0, synchronise_from="frames", synchronise_unify="rising"),
        ),
        noises=_SURFACE_NOISES,
    ),
    "static-texture": Method(
        "a few frames, baked to the surface: consistent by construction, and lifeless", is_baked=True
    ),
}

if TYPE_CHECKING:
    MethodName = str
else:
    # A type checker wants the names of a Literal written out; the command line needs them when it runs.
    MethodName = Literal[tuple(METHODS)]

# Ours with one setting changed, for benchmarks; the command line reaches them all by its own options.
VARIANTS: dict[str, Method] = {
    "half-alpha": Method("half of all the blended features, texels given to one pixel each", MethodConfig()),
    "partition": Method(
        "ours, with texels given to one pixel each", replace(OURS, noise=NoiseConfig("partition"))
    ),
    "all-bands": Method(
        "ours, with half of all the blended features instead of their low band",
        replace(OURS, injection=InjectionConfig()),
    ),
    "unsynchronised": Method("ours, clean latents left alone", replace(OURS, latents=LatentConfig())),
    "reproject": Method(
        "ours, through the engine reproject", replace(OURS, correspondence=CorrespondenceConfig("reproject"))
    ),
    "coverage": Method(
        "ours, keyframes chosen by the surface that they show",
        replace(OURS, injection=replace(OURS.injection, keyframes="coverage")),
    ),
    "undeduplicated": Method(
        "ours, with all keys and values of all keyframes",
        replace(OURS, injection=replace(OURS.injection, deduplicate=False)),
    ),
    "normalised": Method(
        "ours, latents normalised per object",
        replace(OURS, latents=replace(OURS.latents, normalise="objects")),
    ),
    "screen-noise": Method(
        "ours, with the same screen noise in all frames", replace(OURS, noise=NoiseConfig("fixed"))
    ),
}
EVERY_METHOD: dict[str, Method] = METHODS | VARIANTS
