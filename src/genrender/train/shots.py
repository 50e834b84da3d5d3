"""What people render first: a character beside a box on a ground, each in a colour, the camera moving."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int32
from rich.progress import track

from genrender.pipeline import GenerativeRenderingPipeline
from genrender.scene.backdrop import with_static
from genrender.scene.backdrop_ids import GROUND_ID
from genrender.scene.cameras.framing import as_clip
from genrender.scene.load import load_scene
from genrender.scene.objects import ObjectRule, with_objects
from genrender.scene.procedural.primitives import box
from genrender.shots.clip import Clip, ShotConfig, render_clip
from genrender.surface.flow import erode
from genrender.train.data import PROGRESS
from genrender.train.vocabulary import COLORS

CHARACTER, BOX = 1, 2  # object ids
TYPICAL_FRAMES = 4


def typical_clip(path: Path, size: int) -> Clip:
    """The file's first animation, all of it one object, beside a box on a ground; the camera comes nearer.

    Raises:
        SceneError: the file cannot be used.
    """
    scene = with_objects(load_scene(path), ObjectRule(merge=(("*", "Character"),)))
    animation = 0 if scene.animations else None
    start_s, end_s = (scene.animations[0].start_s, scene.animations[0].end_s) if scene.animations else (0, 1)
    times_s = tuple(np.linspace(start_s, max(end_s, start_s + 1e-3), TYPICAL_FRAMES, endpoint=False).tolist())
    lower, upper = (corner.astype(np.float64) for corner in as_clip(scene, animation, times_s).bounds())
    side = 0.5 * float(upper[1] - lower[1])
    beside = np.array([upper[0] + 0.9 * side, lower[1] + 0.5 * side, (lower[2] + upper[2]) / 2])
    scene = with_static(scene, "Box", BOX, box((side, side, side)), beside)
    config = ShotConfig((size, size), times_s=times_s, camera="dolly", backdrop="ground")
    if scene.animations:
        config = replace(config, animation="0")
    return render_clip(scene, config)


def all_colors_right(
    frame: Float[np.ndarray, "H W 3"],
    object_id: Int32[np.ndarray, "H W"],
    asked: Mapping[int, str],
    color_of: Callable[[Float[np.ndarray, "N 3"]], str],
) -> bool:
    """Whether each object that the frame shows has the colour that was asked for, its outline left out."""
    masks = {number: erode(object_id == number, 2) for number in asked}
    return all(color_of(frame[mask]) == asked[number] for number, mask in masks.items() if mask.any())


def typical_colors_right(
    pipeline: GenerativeRenderingPipeline,
    clips: Sequence[tuple[Clip, str]],
    color_of: Callable[[Float[np.ndarray, "N 3"]], str],
    guidance_scale: float,
    n_steps: int,
    n_per_clip: int,
) -> tuple[float, list[Float32[np.ndarray, "H W 3"]]]:
    """In how many frames character, box and ground all have the colour that the prompt of each names.

    Args:
        pipeline: the model.
        clips: each with the character's noun.
        color_of: names the colour of some pixels.
        guidance_scale: weight of classifier-free guidance.
        n_steps: diffusion steps.
        n_per_clip: how often each clip is painted, in other colours and from other noise.

    Returns:
        The share of frames, and a frame of each painted clip.
    """
    rng = np.random.default_rng(0)
    right: list[bool] = []
    shown: list[Float32[np.ndarray, "H W 3"]] = []
    for clip, noun in track(list(clips) * n_per_clip, description="typical shots", console=PROGRESS):
        character, prop, ground = (str(name) for name in rng.choice(list(COLORS), 3, replace=False))
        asked = {CHARACTER: character, BOX: prop, GROUND_ID: ground}
        frames = pipeline(
            f"a {noun} and a box on a ground",
            clip.gbuffers,
            num_inference_steps=n_steps,
            guidance_scale=guidance_scale,
            seed=len(shown),
            object_prompts={
                CHARACTER: f"a {character} {noun} on a {ground} ground",
                BOX: f"a {prop} box on a {ground} ground",
                GROUND_ID: f"a {noun} and a box on a {ground} ground",
            },
        ).frames
        right += [
            all_colors_right(frame, gbuffer.object_id, asked, color_of)
            for frame, gbuffer in zip(frames, clip.gbuffers, strict=True)
        ]
        shown.append(frames[-1])
    return float(np.mean(right)), shown
