"""Parts of a recipe as the texts that a command line has for them, both ways.

Example:
    >>> lora_of("inkwash.safetensors:0.8")
    Lora(source='inkwash.safetensors', weight=0.8)
    >>> control_text(Control("normal", "bae", 0.7, 0.0, 0.5))
    'normal=bae:0.7,0.0,0.5'
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from genrender.backbones.recipe import Control, ImagePrompt, Lora
from genrender.config import ControlKind
from genrender.errors import ConfigError

KINDS: tuple[str, ...] = get_args(ControlKind)
# The model's own control network, to say how it steers.
OWN = "own"


def lora_of(text: str) -> Lora:
    """`SOURCE[:WEIGHT]`."""
    source, numbers = _split(text)
    if not source or len(numbers) > 1:
        raise ConfigError(f"--lora {text!r}: expected SOURCE[:WEIGHT], for instance ink.safetensors:0.8")
    return Lora(source, *numbers)


def lora_text(lora: Lora) -> str:
    """What `lora_of` reads."""
    return _joined(lora.source, (lora.weight,), Lora("").weight)


def control_of(text: str) -> Control:
    """`[KIND=]SOURCE[:SCALE[,START,END]]`; the source `own` is the model's own network."""
    kind, equals, rest = text.partition("=")
    if not equals or kind not in KINDS:
        # A path may hold an equals sign.
        if equals and "/" not in kind and "." not in kind:
            raise ConfigError(f"--controlnet {text!r}: no kind {kind!r}, expected {', '.join(KINDS)}")
        kind, rest = "depth", text
    source, numbers = _split(rest)
    if not source or len(numbers) not in (0, 1, 3):
        raise ConfigError(
            f"--controlnet {text!r}: expected [KIND=]SOURCE[:SCALE[,START,END]], for instance "
            "normal=control_normal.safetensors:0.8,0,0.5"
        )
    control = Control(kind, None if source == OWN else source, *numbers)  # pyright: ignore[reportArgumentType] (checked)
    control.check()
    return control


def control_text(control: Control) -> str:
    """What `control_of` reads."""
    standard = Control()
    numbers = (control.scale, control.start, control.end)
    if numbers[1:] == (standard.start, standard.end):
        numbers = numbers[:1]
    return f"{control.kind}={_joined(control.source or OWN, numbers, standard.scale)}"


def image_prompts_of(adapters: Sequence[str], pictures: Sequence[Path]) -> tuple[ImagePrompt, ...]:
    """IP-Adapters `SOURCE[:SCALE]` with the pictures that they read: one each, or all of them for one."""
    made = []
    for text in adapters:
        source, numbers = _split(text)
        if not source or len(numbers) > 1:
            raise ConfigError(f"--ip-adapter {text!r}: expected SOURCE[:SCALE]")
        made.append(ImagePrompt(source, (), *numbers))
    if not made and pictures:
        raise ConfigError(
            f"--ip-image {pictures[0]}: no IP-Adapter reads it; name one with --ip-adapter, or leave it out"
        )
    if len(made) == 1 and pictures:
        return (replace(made[0], pictures=tuple(pictures)),)
    if len(made) != len(pictures):
        raise ConfigError(
            f"{len(pictures)} --ip-image for {len(made)} --ip-adapter: expected one for each, in their order"
        )
    return tuple(replace(one, pictures=(picture,)) for one, picture in zip(made, pictures, strict=True))


def image_prompt_text(prompt: ImagePrompt) -> str:
    """The adapter, as `image_prompts_of` reads it."""
    return _joined(prompt.adapter, (prompt.scale,), ImagePrompt("").scale)


def _split(text: str) -> tuple[str, list[float]]:
    """A source, and the numbers behind its last colon; a path may hold colons of its own."""
    source, colon, behind = text.rpartition(":")
    try:
        numbers = [float(number) for number in behind.split(",")] if colon else []
    except ValueError:
        numbers = []
    return (source.strip(), numbers) if numbers else (text.strip(), [])


def _joined(source: str, numbers: Sequence[float], standard: float) -> str:
    if len(numbers) == 1 and numbers[0] == standard:
        # The colon keeps a source that ends like a number whole.
        return source if _split(source) == (source, []) else f"{source}:{standard:g}"
    return f"{source}:{','.join(repr(float(number)) for number in numbers)}"
