"""What paints, as plain data: one recipe for the command line, Python, `config.json`, resume and comparison.

Example:
    >>> recipe = Recipe("sd15", loras=(Lora("inkwash.safetensors", 0.8),), precision="float16")
    >>> recipe.loras[0].weight
    0.8
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from genrender.config import ControlKind, Dtype, Placement
from genrender.errors import ConfigError


@dataclass(frozen=True)
class Control:
    """A network that steers a model by a picture of the scene: a ControlNet or a T2I-Adapter.

    Attributes:
        kind: what the picture shows.
        source: folder, single file or hub id; None: the model's own.
        scale: weight of what the network says.
        start: share of the steps, 0 to 1, after which it begins to steer.
        end: share of the steps after which it ceases to.
    """

    kind: ControlKind = "depth"
    source: str | None = None
    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def check(self) -> None:
        """Raises ConfigError for an unknown kind or a number out of range."""
        if self.kind not in get_args(ControlKind):
            raise ConfigError(
                f"control {self.kind!r}: no such kind, expected {', '.join(get_args(ControlKind))}"
            )
        if not math.isfinite(self.scale):
            raise ConfigError(f"control {self.kind}: scale is {self.scale}, expected a number, such as 0.8")
        if not 0 <= self.start < self.end <= 1:
            raise ConfigError(
                f"control {self.kind}: it steers from {self.start:g} to {self.end:g}, expected shares of the "
                "steps, 0 <= start < end <= 1"
            )


@dataclass(frozen=True)
class Lora:
    """Weights that change a model a little: LoRA, DoRA, LoHa or LoKr.

    Attributes:
        source: file, folder or hub id.
        weight: how much of the change is made; 1 is what it was trained for.
    """

    source: str
    weight: float = 1.0


@dataclass(frozen=True)
class ImagePrompt:
    """An IP-Adapter and the pictures that it reads.

    Attributes:
        adapter: file, folder or hub id, of a hub model perhaps with the name of a file in it:
            `owner/name/models/a.safetensors`.
        pictures: files.
        scale: weight of what the pictures say, beside the text.
    """

    adapter: str
    pictures: tuple[Path, ...] = ()
    scale: float = 1.0


@dataclass(frozen=True)
class Recipe:
    """Everything about the networks that a run names. The frames depend on all of it but the placement.

    Attributes:
        base: `pocket`, `sd15`, a hub id, a folder in diffusers' layout or a single file.
        revision: branch, tag or commit of a hub model; None: the one that was tried, else `main`.
        variant: such as `fp16`: which of several sets of weight files; None: the smallest that suffices.
        vae: autoencoder to use instead of the model's own: folder, single file or hub id.
        controls: what steers it; none: the model's own depth ControlNet.
        loras: in the order in which they were asked for.
        embeddings: textual inversions: files, folders or hub ids.
        image_prompts: IP-Adapters with their pictures.
        motion_adapter: AnimateDiff's motion modules: folder, hub id, or a file of AnimateDiff's own.
        sampler: one of `genrender.backbones.samplers`; None: the preset's.
        timesteps: for the sampler instead of a number of steps; empty: none.
        sigmas: likewise, noise levels.
        precision: numbers that the networks compute in; None: what suits the device.
        device: where they compute; None: the fastest that there is.
        placement: `model` and `sequential` keep networks, or single layers, off the device while they wait.
        safety_checker: whether the model's own is loaded, where it has one.
        allow_pickle: whether weights may lie in pickles, which can run code when they are loaded.
    """

    base: str = "pocket"
    revision: str | None = None
    variant: str | None = None
    vae: str | None = None
    controls: tuple[Control, ...] = ()
    loras: tuple[Lora, ...] = ()
    embeddings: tuple[str, ...] = ()
    image_prompts: tuple[ImagePrompt, ...] = ()
    motion_adapter: str | None = None
    sampler: str | None = None
    timesteps: tuple[int, ...] = ()
    sigmas: tuple[float, ...] = ()
    precision: Dtype | None = None
    device: str | None = None
    placement: Placement = "none"
    safety_checker: bool = True
    allow_pickle: bool = False

    def check(self) -> None:
        """Raises ConfigError for a setting that no model can have."""
        for control in self.controls:
            control.check()
        for what, weights in (
            ("LoRA", [(lora.source, lora.weight) for lora in self.loras]),
            ("IP-Adapter", [(prompt.adapter, prompt.scale) for prompt in self.image_prompts]),
        ):
            for source, weight in weights:
                if not math.isfinite(weight):
                    raise ConfigError(
                        f"{what} {source}: its weight is {weight}, expected a number such as 0.8"
                    )
        for prompt in self.image_prompts:
            for picture in prompt.pictures:
                if not picture.is_file():
                    raise ConfigError(
                        f"IP-Adapter {prompt.adapter}: there is no picture {picture}, expected a PNG or "
                        "JPEG file"
                    )
        if self.timesteps and self.sigmas:
            raise ConfigError("timesteps and sigmas are given, expected one of them; leave the other out")

    @property
    def steering(self) -> tuple[Control, ...]:
        """The controls; where none is named, the model's own by depth."""
        return self.controls or (Control(),)

    def depends_on(self) -> dict[str, Any]:
        """What the frames depend on, as nested plain values for JSON."""
        values = asdict(self)
        del values["device"], values["placement"]
        return values
