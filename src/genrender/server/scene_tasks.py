"""What a helper does with scenes: reports, shots, and pictures of a moment as the model will get it.

Every function takes plain values and gives plain values and bytes, see `genrender.storage.helper`.
"""

import io
import json
from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from genrender.backbones.picture_size import read_picture_size
from genrender.backbones.recipe_files import recipe_sources
from genrender.errors import ConfigError
from genrender.gbuffer.control import inverse_depth_range
from genrender.gbuffer.exr.inspect import inspect_exr
from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.preview import depth_picture, object_colour, object_picture, shaded_picture, uv_picture
from genrender.jobs.clips import note_left_out, picture_size, plan_exr_clip
from genrender.jobs.job import RenderJob, job_from_json
from genrender.runs.hooks import RunHooks
from genrender.scene.inspect import inspect_scene
from genrender.scene.load import load_scene
from genrender.scene.objects import with_objects
from genrender.scene.scene import Scene
from genrender.scene.uv.unwrap import unwrap
from genrender.server.viewer import Orbit, camera_facts, clip_sphere, orbit_camera
from genrender.shots.clip import Shot, plan_shot
from genrender.shots.exr_shot import ExrShot
from genrender.storage.lazy_frames import PerFrame

Answer = tuple[Any, bytes]

MODES = ("shaded", "depth", "uv", "objects")
# Shots that are kept, with their scenes: one is looked at, another compared with it.
KEPT_SHOTS = 4
# Of models that do not tell.
USUAL_SIZE = (512, 512)
# A clip's range of depths is found in so many of its frames, evenly spread.
DEPTH_FRAMES = 48


@dataclass(frozen=True, eq=False)
class Stage:
    """A shot that is looked at again and again."""

    shot: Shot | ExrShot

    @cached_property
    def with_uvs(self) -> Shot | ExrShot:
        """Objects without usable texture coordinates have some."""
        if isinstance(self.shot, ExrShot):
            return self.shot
        return replace(self.shot, scene=unwrap(self.shot.scene, self.shot.config.uv).scene)

    @cached_property
    def depth_range(self) -> tuple[float, float]:
        """Of the clip, by which its depth pictures are scaled."""
        n_shown = min(self.shot.n_frames, DEPTH_FRAMES)
        frames = np.linspace(0, self.shot.n_frames - 1, n_shown).round().astype(int).tolist()
        return inverse_depth_range(PerFrame(lambda index: self.shot.gbuffer(frames[index]), n_shown))

    @cached_property
    def sphere(self) -> tuple[np.ndarray, float]:
        """Around all frames of the clip."""
        assert isinstance(self.shot, Shot)
        return clip_sphere(self.shot.scene, self.shot.animation, self.shot.times_s)


_stages: OrderedDict[str, Stage] = OrderedDict()


@lru_cache(maxsize=2)
def _scene(path: str, changed_ns: int) -> Scene:  # noqa: ARG001 (a changed file is another scene)
    return load_scene(path)


def _loaded(path: Path) -> Scene:
    return _scene(str(path), path.stat().st_mtime_ns)


def report(job: dict[str, Any]) -> Answer:
    """What a scene holds, divided as the job says; that of EXR files holds its passes."""
    clip = job_from_json(job).clip
    if clip.is_exr:
        found = inspect_exr(clip.scene, clip.read_exr_map())
        return {"kind": "exr", "report": found, "left_out": [], "notes": found["notes"]}, b""
    rule, notes = clip.shot.objects, list[str]()
    whole = with_objects(_loaded(clip.scene), replace(rule, ignore=()))
    scene = with_objects(_loaded(clip.scene), rule)
    note_left_out(scene, RunHooks(notes.append, notes.append))
    found = inspect_scene(scene)
    for entry in found["objects"]:
        entry["color"] = _hex(object_colour(entry["object_id"]))
        entry["words"] = _uv_words(entry["uv"])
    shown = {thing.name for thing in scene.objects}
    left_out = [thing.name for thing in whole.objects if thing.name not in shown]
    return {"kind": "scene", "report": found, "left_out": left_out, "notes": notes}, b""


def _uv_words(uv: dict[str, Any]) -> str:
    """A sentence about the texture coordinates of an object."""
    advice = str(uv["advice"])
    if uv["state"] == "missing":
        return "It has no texture coordinates and gets some by itself."
    if advice.startswith("unwrap: "):
        faults = advice.removeprefix("unwrap: ")
        return f"Its texture coordinates will not do ({faults}); it gets new ones, unless uv is keep."
    return f"Its texture coordinates are {advice}."


def shot(job: dict[str, Any]) -> Answer:
    """Frames, rate, size and times of what a job shows."""
    asked = job_from_json(job)
    made = stage_of(asked, None).shot
    animation = None
    if isinstance(made, Shot) and made.animation is not None:
        animation = made.scene.animations[made.animation].name
    camera = made.config.camera if isinstance(made, Shot) else None
    return {
        "n_frames": made.n_frames,
        "fps": made.fps,
        "times_s": list(made.times_s),
        "width": made.width,
        "height": made.height,
        "animation": animation,
        "camera": camera,
    }, b""


def view(job: dict[str, Any], asked: dict[str, Any]) -> Answer:
    """A picture of one moment as PNG, and the camera that took it.

    Args:
        job: what is shown.
        asked: a `View` of the API.
    """
    stage, seen, camera = _seen(job_from_json(job), asked)
    picture = _picture(asked["mode"], seen, stage, is_free=asked["orbit"] is not None)
    if picture.shape[:2] != (asked["height"], asked["width"]):
        size = (asked["width"], asked["height"])
        picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.NEAREST))
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG", compress_level=1)
    return camera, file.getvalue()


def pick(job: dict[str, Any], asked: dict[str, Any], x: float, y: float) -> Answer:
    """What the pixel at x and y of a view shows."""
    _, seen, _ = _seen(job_from_json(job), asked)
    row = min(max(int(y * seen.height / asked["height"]), 0), seen.height - 1)
    column = min(max(int(x * seen.width / asked["width"]), 0), seen.width - 1)
    object_id = int(seen.object_id[row, column])
    name = (seen.object_names or {}).get(object_id, "")
    return {
        "object_id": object_id,
        "name": name.removeprefix("\0") or None,
        "color": _hex(object_colour(object_id)),
        "depth": float(seen.depth[row, column]) if object_id else None,
        "uv": seen.uv[row, column].tolist() if object_id else None,
    }, b""


def _hex(color: tuple[int, int, int]) -> str:
    return "#" + bytes(color).hex()


def stage_of(job: RenderJob, size: tuple[int, int] | None) -> Stage:
    """The job's shot in pictures of this size; None: what the job says."""
    clip = job.clip
    size = size or _own_size(job)
    key = json.dumps([repr(clip), clip.scene.stat().st_mtime_ns, size])
    if key in _stages:
        _stages.move_to_end(key)
        return _stages[key]
    if clip.is_exr:
        _stages[key] = Stage(plan_exr_clip(clip))
    else:
        assert size is not None
        _stages[key] = Stage(plan_shot(_loaded(clip.scene), replace(clip.shot, size=size)))
    while len(_stages) > KEPT_SHOTS:
        _stages.popitem(last=False)
    return _stages[key]


def _own_size(job: RenderJob) -> tuple[int, int] | None:
    """The size that a run of the job would have; None: that of its EXR files."""
    if job.clip.is_exr:
        return None
    picture = read_picture_size(recipe_sources(job.recipe)[0])
    usual = picture.native or USUAL_SIZE
    return picture_size(
        job.clip.size, _loaded(job.clip.scene), job.clip.shot.camera, usual, picture.vae_factor
    )


def _seen(job: RenderJob, asked: dict[str, Any]) -> tuple[Stage, GBuffer, dict[str, Any]]:
    """What a view shows, and by which camera."""
    width, height = asked["width"], asked["height"]
    stage = stage_of(job, (width, height))
    shot = stage.with_uvs if asked["mode"] == "uv" else stage.shot
    frame = min(asked["frame"], shot.n_frames - 1)
    facts: dict[str, Any] = {"frame": frame, "time_s": shot.times_s[frame], "width": width, "height": height}
    if isinstance(shot, ExrShot):
        if asked["orbit"] is not None:
            raise ConfigError("EXR files show what their camera saw: leave orbit out")
        return stage, shot.gbuffer(frame), {**facts, "camera": None}
    camera, time_s = shot.cameras[frame], shot.times_s[frame]
    if asked["time_s"] is not None:
        time_s = asked["time_s"]
        nearest = int(np.abs(np.array(shot.times_s) - time_s).argmin())
        camera, facts["frame"], facts["time_s"] = shot.cameras[nearest], nearest, time_s
    centre, radius = stage.sphere
    if asked["orbit"] is not None:
        camera = orbit_camera(Orbit(**asked["orbit"]), centre, radius, width / height)
    clip = shot.animation
    begin_s = 0.0 if clip is None else shot.scene.animations[clip].start_s
    facts["camera"] = {**camera_facts(camera, centre, height, width), "time": time_s - begin_s}
    moment = replace(shot, config=replace(shot.config, times_s=(time_s,)), cameras=(camera,))
    return stage, moment.gbuffer(0), facts


def _picture(mode: str, seen: GBuffer, stage: Stage, is_free: bool) -> UInt8[np.ndarray, "H W C"]:
    if mode == "shaded":
        return shaded_picture(seen)
    if mode == "depth":
        # What no frame of the clip shows has a range of its own.
        return depth_picture(seen, None if is_free else stage.depth_range)
    return uv_picture(seen) if mode == "uv" else object_picture(seen)
