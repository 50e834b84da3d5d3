"""What the quality report paints: shapes that training never saw, with prompts and what they ask for."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from genrender.errors import ConfigError
from genrender.gbuffer.control import depth_control
from genrender.scene.load import load_scene
from genrender.shots.clip import Clip, ShotConfig, render_clip
from genrender.train.vocabulary import COLORS, LOOKS, OBJECTS
from genrender.train.world import Sample, make_sample

# Training shards count from 0; these seeds lie beyond any number of them.
HELD_OUT = 10_000_000


@dataclass(frozen=True)
class Subject:
    """One shape to paint and what to ask for.

    Attributes:
        depth: depth control image.
        noun: what it is.
        color: main colour to ask for.
        other_color: second colour, of every look but plain.
        look: one of `LOOKS`.
        background: colour of the background to ask for.
    """

    depth: UInt8[np.ndarray, "H W"]
    noun: str
    color: str
    other_color: str
    look: str
    background: str

    def prompt(self, look: str | None = None) -> str:
        """The sentence that asks for it all, or for another look."""
        look = look or self.look
        words = self.color if look == "plain" else f"{self.color} and {self.other_color} {look}"
        return f"a {words} {self.noun} on a {self.background} background"

    @property
    def colors(self) -> tuple[str, ...]:
        """The colours that the object has: one, or a pattern's two."""
        return (self.color,) if self.look == "plain" else (self.color, self.other_color)

    @property
    def open_prompt(self) -> str:
        """A sentence that leaves every colour to the model."""
        return f"a {self.noun}"


def _ask(rng: np.random.Generator, depth: UInt8[np.ndarray, "H W"], noun: str) -> Subject:
    color, other, background = (str(c) for c in rng.choice(list(COLORS), 3, replace=False))
    patterns = [look for look in LOOKS if look != "plain"]
    look = "plain" if rng.random() < 0.5 else str(rng.choice(patterns))
    return Subject(depth, noun, color, other, look, background)


def held_out_samples(size: int) -> Iterator[Sample]:
    """Pictures of the training world that training never saw."""
    index = 0
    while True:
        yield make_sample((size, HELD_OUT, index), size)
        index += 1


def world_subjects(size: int) -> Iterator[Subject]:
    """Unseen single objects of the training world, in front of nothing."""
    rng = np.random.default_rng(HELD_OUT)
    for sample in held_out_samples(size):
        is_single = len(sample.groups) == 1 and sample.groups[0].count == 1
        if is_single and sample.background[0] in ("plain", "gradient"):
            yield _ask(rng, sample.depth, OBJECTS[sample.groups[0].kind][0][0])


def rendered_subjects(size: int) -> Iterator[tuple[UInt8[np.ndarray, "H W 3"], Subject]]:
    """Unseen renders of the training world and what they show, as if it had been asked for."""
    rng = np.random.default_rng(HELD_OUT)
    for sample in held_out_samples(size):
        shown, background = sample.groups[0], sample.background[1]
        is_single = len(sample.groups) == 1 and shown.count == 1
        # On a stage the ground is in the depth picture, too, and the mask of the object is another.
        is_alone = is_single and sample.background[0] in ("plain", "gradient")
        if is_alone and shown.look and shown.colors and background:
            color, *others = shown.colors
            other = others[0] if others else str(rng.choice([name for name in COLORS if name != color]))
            noun = OBJECTS[shown.kind][0][0]
            yield sample.image, Subject(sample.depth, noun, color, other, shown.look, background)


def parse_character(text: str) -> tuple[Path, str]:
    """`FILE=NOUN`: a scene file, and the word by which the model knows what it shows.

    Raises:
        ConfigError: it is not of that form.
    """
    path, equals, noun = text.rpartition("=")
    if not equals or not path or not noun:
        raise ConfigError(f"character {text!r}: expected FILE=NOUN, for instance Fox.glb=fox")
    return Path(path), noun


def character_clip(path: Path, size: int, n_frames: int = 16) -> Clip:
    """The file's animation over its whole length, or a turntable where nothing is animated."""
    scene = load_scene(path)
    camera, fps = None, 24.0
    animation = scene.find_animation(None)
    if animation is not None:
        fps = n_frames / max(scene.animations[animation].duration_s, 1e-3)
    else:
        camera = "turntable"
    return render_clip(scene, ShotConfig((size, size), n_frames=n_frames, fps=fps, camera=camera))


def character_subjects(clip: Clip, noun: str, n_subjects: int, seed: int) -> list[Subject]:
    """Frames of a clip, evenly over its time, each with a prompt of its own."""
    rng = np.random.default_rng((HELD_OUT, seed))
    depth = np.round(depth_control(clip.gbuffers) * 255).astype(np.uint8)
    frames = np.linspace(0, len(depth) - 1, n_subjects).round().astype(int)
    return [_ask(rng, depth[frame], noun) for frame in frames]
