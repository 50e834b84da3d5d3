"""A job that takes a second or two: three small frames of a card by pocket, in two steps."""

from pathlib import Path

from genrender.backbones.recipe import Recipe
from genrender.jobs.job import ClipJob, RenderJob
from genrender.shots.clip import ShotConfig

SCENE = Path(__file__).parents[2] / "examples" / "scenes" / "walking_biped.glb"


def tiny_job() -> RenderJob:
    clip = ClipJob(SCENE, ShotConfig(n_frames=3, camera="orbit"), size=64)
    recipe = Recipe(device="cpu", precision="float32")
    return RenderJob(clip, "a red fox", recipe=recipe, preset="fast", steps=2)
