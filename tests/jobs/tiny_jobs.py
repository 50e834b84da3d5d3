"""A job that takes a second or two: three small frames of a card by pocket, in two steps."""

from pathlib import Path

from genrender.jobs.job import ClipJob, RenderJob
from genrender.shots.clip import ShotConfig

SCENE = Path(__file__).parents[2] / "examples" / "scenes" / "walking_biped.glb"


def tiny_job() -> RenderJob:
    clip = ClipJob(SCENE, ShotConfig(n_frames=3, camera="orbit"), size=64)
    return RenderJob(clip, "a red fox", preset="fast", steps=2, device="cpu", dtype="float32")
