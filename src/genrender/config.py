"""Settings, one frozen dataclass per stage. A preset is a named instance of `RunConfig`."""

import math
import re
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from genrender.errors import ConfigError

NoiseMode = Literal["partition", "bridge", "nearest", "fixed", "independent"]
UnifyRule = Literal["fill", "mean", "paper", "rising"]
KeyframeStrategy = Literal["random", "stratified", "uniform", "coverage"]
Normalisation = Literal["none", "objects", "background"]
SynchroniseFrom = Literal["keyframes", "frames"]
Engine = Literal["texture", "reproject"]
Dtype = Literal["float32", "float16", "bfloat16"]
FillOrder = Literal["quality", "sequence"]
# What a control picture shows. All of them come from the G-buffers.
ControlKind = Literal["depth", "normal", "lineart", "segmentation"]
Placement = Literal["none", "model", "sequential"]

# Texels along a side of a texture; see `genrender.surface.texels`.
MAX_TEXTURE_SIDE = 16_384
MAX_REPEAT = 1000


def _check_choice(what: str, value: object, choices: tuple[str, ...]) -> None:
    # Python does not hold anyone to a Literal, and an unknown name must not pass for the default.
    if value not in choices:
        raise ConfigError(f"unknown {what} {value!r}, expected {' or '.join(choices)}")


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"layers {pattern!r} is no regular expression ({error}): mend it") from error


@dataclass(frozen=True)
class NoiseConfig:
    """Mechanism 1: where the initial latent noise comes from.

    Attributes:
        mode: `partition`, `bridge` and `nearest` see a noise texture through the G-buffer: a texel goes to
            one latent pixel, is split between those that show it, or to all whose centre it covers; `fixed`
            repeats one screen noise, `independent` draws every frame afresh (both ablations).
        texture_side: texels along one side of each object's noise texture. None: chosen per mode.
        degradation: how much fresh noise every frame mixes in, from 0 to below 1; the sum is white. Against
            details that stick to the surface harder than wanted, at the price of steadiness.
        every_step: noise that a stochastic scheduler draws at every step lives on the surface, too.
    """

    mode: NoiseMode = "partition"
    texture_side: int | None = None
    degradation: float = 0.0
    every_step: bool = True

    def check(self) -> None:
        """Raises ConfigError for an unknown mode or a number out of range."""
        _check_choice("noise mode", self.mode, get_args(NoiseMode))
        if self.texture_side is not None and not 1 <= self.texture_side <= MAX_TEXTURE_SIDE:
            raise ConfigError(
                f"the noise's texture side is {self.texture_side}, expected 1 to {MAX_TEXTURE_SIDE} texels"
            )
        if not 0 <= self.degradation < 1:
            raise ConfigError(
                f"noise degradation is {self.degradation:g}, expected a number from 0 to below 1"
            )


@dataclass(frozen=True)
class CorrespondenceConfig:
    """Mechanism 2, first half: which keyframe pixels show the surface point that a frame's pixel shows.

    Attributes:
        engine: `texture` goes through the objects' UV atlases, as published; `reproject` projects the exact
            surface point into the keyframes and needs the scene's geometry.
        ratio: texture side over the longer side of a feature map (`texture` only). Low blurs, high leaves
            texels unfilled.
        ratio_layers: (regular expression, factor) pairs; a layer's ratio is multiplied by the factors of all
            expressions that its name matches.
        side_layers: (regular expression, side in texels) pairs; a layer whose name matches has textures of
            the first such side, whatever its ratio.
        fill_order: which keyframe comes first at a point: the one that sees it largest (`quality`), or the
            first in the clip (`sequence`, as published).
        restore_spread: undo the loss of variance that averaging brings; as published it stays lost.
        inpaint: texels that no keyframe sees take the nearest seen one (`texture` only); as published.
            Without it frames keep their own features there.
    """

    engine: Engine = "texture"
    ratio: float = 4.0
    ratio_layers: tuple[tuple[str, float], ...] = ()
    side_layers: tuple[tuple[str, int], ...] = ()
    fill_order: FillOrder = "quality"
    restore_spread: bool = True
    inpaint: bool = False

    def check(self) -> None:
        """Raises ConfigError for an unknown name or a ratio out of range."""
        _check_choice("correspondence engine", self.engine, get_args(Engine))
        _check_choice("fill order", self.fill_order, get_args(FillOrder))
        if not 0 < self.ratio < math.inf:
            raise ConfigError(f"texture ratio is {self.ratio:g}, expected a number above 0, for instance 4")
        for pattern, factor in self.ratio_layers:
            _check_pattern(pattern)
            if not 0 < factor < math.inf:
                raise ConfigError(
                    f"the ratio's factor of layers {pattern!r} is {factor:g}, expected a number above 0"
                )
        for pattern, side in self.side_layers:
            _check_pattern(pattern)
            if not isinstance(side, int) or not 1 <= side <= MAX_TEXTURE_SIDE:
                raise ConfigError(
                    f"the texture side of layers {pattern!r} is {side}, expected 1 to {MAX_TEXTURE_SIDE}"
                )

    def check_map_size(self, height: int, width: int) -> None:
        """Raises ConfigError where feature maps of this size would need too large textures."""
        side = round(self.ratio * max(height, width))
        if self.engine == "texture" and side > MAX_TEXTURE_SIDE:
            raise ConfigError(
                f"texture ratio is {self.ratio:g}, which makes textures of {side} texels on a side for "
                f"feature maps of {width}x{height}, expected at most {MAX_TEXTURE_SIDE}: lower "
                "correspondence.ratio"
            )

    def texture_side(self, layer: str, height: int, width: int) -> int:
        """Texels along a side of the textures of a layer whose feature maps have that size."""
        for pattern, side in self.side_layers:
            if re.search(pattern, layer):
                return side
        factors = (factor for pattern, factor in self.ratio_layers if re.search(pattern, layer))
        return max(1, round(self.ratio * math.prod(factors) * max(height, width)))


@dataclass(frozen=True)
class InjectionConfig:
    """Mechanisms 2 and 3: what keyframes give to every frame's self-attention.

    Attributes:
        pre_attn: every frame's self-attention reads the keyframes' keys and values, too.
        alpha: weight in [0, 1] of the blended surface features; 0 switches post-attention injection off.
        alpha_end: weight at the last step; steps between lie on a straight line. None: `alpha` throughout.
        alpha_layers: (regular expression, factor) pairs; a layer's weight is multiplied by the factors of
            all expressions that its name matches.
        low_band: only what is large comes from the surface, detail stays the frame's own: standard deviation
            of the filter between them, as a share of a feature map's longer side; 0 blends all.
        unify: how keyframes that show the same surface point are combined.
        deduplicate: leave out keys and values of points that a keyframe's tokens show already, those of the
            frame itself, too. As published, all of the frame and of all keyframes are read.
        keyframes: how keyframes are drawn at every step; `uniform` alone keeps the same ones throughout.
        n_keyframes: None means one for eight frames, at least 3 and at most 8. All keyframes go through the
            networks at once and attend to each other, so this number bounds memory, not the clip's length.
        layers: regular expression that a self-attention layer's full name must match (`re.search`); the
            default takes the decoder.
    """

    pre_attn: bool = True
    alpha: float = 0.5
    alpha_end: float | None = None
    alpha_layers: tuple[tuple[str, float], ...] = ()
    low_band: float = 0.0
    unify: UnifyRule = "paper"
    deduplicate: bool = True
    keyframes: KeyframeStrategy = "stratified"
    n_keyframes: int | None = None
    layers: str = r"^up_blocks\."

    def check(self) -> None:
        """Raises ConfigError for an unknown name or a number out of range."""
        _check_choice("unify rule", self.unify, get_args(UnifyRule))
        _check_choice("keyframe strategy", self.keyframes, get_args(KeyframeStrategy))
        _check_pattern(self.layers)
        if self.n_keyframes is not None and self.n_keyframes < 1:
            raise ConfigError(f"keyframes is {self.n_keyframes}, expected at least 1")
        if not 0 <= self.low_band <= 1:
            raise ConfigError(f"low_band is {self.low_band:g}, expected a number in 0..1, for instance 0.03")
        for name, alpha in (("alpha", self.alpha), ("alpha at the end", self.alpha_end)):
            if alpha is not None and not 0 <= alpha <= 1:
                raise ConfigError(f"{name} is {alpha:g}, expected a number in 0..1")
        for pattern, factor in self.alpha_layers:
            if not 0 <= factor <= 1:
                raise ConfigError(
                    f"the factor of layers {pattern!r} is {factor:g}, expected a number in 0..1"
                )
            _check_pattern(pattern)

    @property
    def uses_surface(self) -> bool:
        """Whether features are blended on the surface at any step."""
        return self.alpha > 0 or bool(self.alpha_end)

    @property
    def needs_correspondence(self) -> bool:
        """Whether the injections ask which keyframe pixels show a surface point."""
        return self.uses_surface or (self.pre_attn and self.deduplicate)

    def alpha_at(self, layer: str, progress: float) -> float:
        """The weight of a layer, when a share `progress` in [0, 1] of the steps is done."""
        end = self.alpha if self.alpha_end is None else self.alpha_end
        factors = (factor for pattern, factor in self.alpha_layers if re.search(pattern, layer))
        return (self.alpha + (end - self.alpha) * progress) * math.prod(factors)


@dataclass(frozen=True)
class LatentConfig:
    """What is done to all frames' latents between the model and the scheduler.

    Attributes:
        normalise: `objects` gives every object's predicted clean latents the keyframes' mean and spread,
            fading out over the steps; `background` matches the noisy background to the first frame's, as
            published.
        synchronise: weight in [0, 1] with which predicted clean latents are unified along the surface; 0
            switches it off.
        synchronise_from: where a frame takes them from: the two of the step's keyframes that are nearest in
            time, or all `frames` of the clip (of a long one, frames at equal distances, drawn at every step).
        synchronise_unify: how frames that show the same point are combined.
        synchronise_until: share of the steps after which that ends, so that the last ones sharpen.
    """

    normalise: Normalisation = "none"
    synchronise: float = 0.0
    synchronise_from: SynchroniseFrom = "keyframes"
    synchronise_unify: UnifyRule = "mean"
    synchronise_until: float = 0.8

    def check(self) -> None:
        """Raises ConfigError for an unknown name or a number out of range."""
        _check_choice("latent normalisation", self.normalise, get_args(Normalisation))
        _check_choice("source of synchronised latents", self.synchronise_from, get_args(SynchroniseFrom))
        _check_choice("unify rule", self.synchronise_unify, get_args(UnifyRule))
        for name in ("synchronise", "synchronise_until"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name):g}, expected a number in 0..1")

    @property
    def changes_x0(self) -> bool:
        return self.normalise == "objects" or self.synchronise > 0


@dataclass(frozen=True)
class MethodConfig:
    """Everything that distinguishes one way of making the frames agree from another."""

    noise: NoiseConfig = field(default_factory=NoiseConfig)
    correspondence: CorrespondenceConfig = field(default_factory=CorrespondenceConfig)
    injection: InjectionConfig = field(default_factory=InjectionConfig)
    latents: LatentConfig = field(default_factory=LatentConfig)

    @property
    def needs_correspondence(self) -> bool:
        """Whether anything but the noise looks at the surface."""
        return self.injection.needs_correspondence or self.latents.synchronise > 0

    def check(self) -> None:
        """Raises ConfigError for invalid settings, as far as no model or clip is needed to see that."""
        self.noise.check()
        self.correspondence.check()
        self.injection.check()
        self.latents.check()
        if self.correspondence.fill_order == "sequence":
            rules = {"unify": self.injection.unify, "synchronise_unify": self.latents.synchronise_unify}
            for name, rule in rules.items():
                if rule == "rising":
                    raise ConfigError(
                        f"{name} is 'rising', which goes by quality: set fill_order to 'quality', or choose "
                        "another rule"
                    )

    def check_can_carry_appearance(self) -> None:
        """Raises ConfigError where the look of another run could not reach the frames."""
        if self.correspondence.engine != "texture":
            raise ConfigError("an appearance is carried by the texture engine alone; choose that")
        if not (self.injection.pre_attn or self.injection.uses_surface):
            raise ConfigError(
                "an appearance reaches frames through injections, and all are off: leave the appearance out"
            )


# Every frame on its own: what an image model does without this project.
PER_FRAME = MethodConfig(
    noise=NoiseConfig(mode="independent", every_step=False),
    injection=InjectionConfig(pre_attn=False, alpha=0.0),
)


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run needs beside a model and a clip.

    Attributes:
        prompt: what the clip shows.
        negative_prompt: what it does not show; only under guidance.
        object_prompts: (name or pattern, text) pairs: what single objects show. Their pixels read this beside
            `prompt`; of several texts for an object the last counts.
        prompts_at: (frame, text) pairs in the order of frames, from 1: what the clip shows from there on;
            between `prompt` at frame 0 and these it changes evenly.
        clip_skip: how many of the text encoder's last layers are left out; None: as many as the model says.
        method: how the frames are made to agree.
        n_steps: diffusion steps.
        guidance_scale: weight of classifier-free guidance; 1 or less does without. None: what the model was
            made for.
        guidance_rescale: 0 to 1: how far the contrast that guidance adds is taken back (Lin et al. 2023).
        guess_mode: only control networks steer, the unconditional branch does without them.
        sampler: `model` is the model's own scheduler. `dpm++` is DPM-Solver++ (Lu et al. 2022), which needs
            fewer steps, on the model's noise levels; `dpm++-karras` on those of Karras et al. (2022). The
            others are in `genrender.backbones.samplers`.
        seed: of everything that is drawn by chance.
        chunk_size: frames that go through the networks at once; changes memory and speed only. A step's
            keyframes run together, whatever the chunk.
        lock: strength in [0, 1] with which, after decoding, surfaces show the detail of the frames that see
            them best; 0 is off. They show it throughout: not for prompts that change. Means nothing to a
            baked method.
        repeat: how often the video shows the clip, for clips that end as they begin; frames are there once.
        background_color: RGB, 0 to 255, that pixels without a surface get after decoding; None leaves them.
    """

    prompt: str = ""
    negative_prompt: str | None = None
    object_prompts: tuple[tuple[str, str], ...] = ()
    prompts_at: tuple[tuple[int, str], ...] = ()
    clip_skip: int | None = None
    method: MethodConfig = field(default_factory=MethodConfig)
    n_steps: int = 20
    guidance_scale: float | None = None
    guidance_rescale: float = 0.0
    guess_mode: bool = False
    sampler: str = "model"
    seed: int = 0
    chunk_size: int = 8
    lock: float = 0.0
    repeat: int = 1
    background_color: tuple[int, int, int] | None = None

    def check(self) -> None:
        """Raises ConfigError for invalid settings, as far as no model or clip is needed to see that."""
        if not self.prompt.strip():
            raise ConfigError("the prompt is empty; say what the clip shows, for instance 'a red fox'")
        for name, text in self.object_prompts:
            if not text.strip():
                raise ConfigError(f"the prompt for {name!r} is empty; say what the object shows")
        frames = [frame for frame, _ in self.prompts_at]
        if frames != sorted({frame for frame in frames if frame > 0}):
            raise ConfigError(
                f"prompts at frames {', '.join(map(str, frames))}, expected frames from 1 in their order, "
                "each once: what frame 0 shows is the prompt itself"
            )
        if any(not text.strip() for _, text in self.prompts_at):
            raise ConfigError("a prompt over time is empty; say what the clip shows from there on")
        if self.clip_skip is not None and self.clip_skip < 1:
            raise ConfigError(f"clip skip is {self.clip_skip}, expected at least 1, or none")
        if not 0 <= self.guidance_rescale <= 1:
            raise ConfigError(f"guidance rescale is {self.guidance_rescale:g}, expected a number in 0..1")
        for name, count in (("steps", self.n_steps), ("chunk", self.chunk_size), ("repeat", self.repeat)):
            if count < 1:
                raise ConfigError(f"{name} is {count}, expected at least 1")
        if self.repeat > MAX_REPEAT:
            raise ConfigError(f"repeat is {self.repeat}, expected at most {MAX_REPEAT}")
        self.method.check()
        if self.guidance_scale is not None and not math.isfinite(self.guidance_scale):
            raise ConfigError(f"guidance is {self.guidance_scale}, expected a number, for instance 7.5")
        if not 0 <= self.lock <= 1:
            raise ConfigError(f"lock is {self.lock:g}, expected a number in 0..1")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}, expected a whole number from 0 to 2**63 - 1")


# What measures best, see docs/results.md and docs/studies/sharp-and-steady.md.
OURS = MethodConfig(
    noise=NoiseConfig(mode="bridge"),
    injection=InjectionConfig(alpha=1.0, low_band=0.03),
    latents=LatentConfig(synchronise=0.5),
)

PRESETS = {
    "balanced": RunConfig(method=OURS, lock=1.0),
    "fast": RunConfig(method=OURS, n_steps=10, sampler="dpm++", lock=1.0),
    "preview": RunConfig(
        method=replace(OURS, injection=replace(OURS.injection, n_keyframes=2)),
        n_steps=5,
        sampler="dpm++",
        lock=1.0,
    ),
    # Source: Generative Rendering (arXiv 2312.01409). Which solver ran on the Karras sigmas is our reading.
    "paper": RunConfig(
        method=MethodConfig(
            noise=NoiseConfig(mode="nearest"),
            correspondence=CorrespondenceConfig(fill_order="sequence", restore_spread=False, inpaint=True),
            injection=InjectionConfig(unify="paper", deduplicate=False, keyframes="random"),
            latents=LatentConfig(normalise="background"),
        ),
        n_steps=50,
        guidance_scale=7.5,
        sampler="dpm++-karras",
    ),
}
PresetName = Literal["balanced", "fast", "preview", "paper"]
