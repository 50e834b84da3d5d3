"""A clip made in parts by jobs: keyframes once, then any frames, joined to a video."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from jobs.tiny_jobs import SCENE, tiny_job

from genrender.errors import ConfigError
from genrender.jobs.job import RenderJob
from genrender.jobs.join import join
from genrender.jobs.make import make
from genrender.jobs.plan import plan
from genrender.jobs.reuse import is_done
from genrender.runs.finished import open_run
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import RunHooks
from genrender.shots.clip import Shot, plan_shot

JOB = replace(tiny_job(), chunk=2)
JOB = replace(JOB, clip=replace(JOB.clip, shot=replace(JOB.clip.shot, n_frames=6)))


def made(job: RenderJob, folder: Path) -> Path:
    make(plan(job, RunFolder(folder)))
    return folder


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(replace(JOB, only="keyframes"), tmp_path_factory.mktemp("look"))


def test_parts_are_frames_of_the_whole_and_join_to_its_video(look, tmp_path):
    against = replace(JOB, keyframes_from=look)
    whole = made(against, tmp_path / "whole")
    end = replace(against, only="4-5")
    parts = [made(end, tmp_path / "end"), made(replace(against, only="0-3"), tmp_path / "begin")]
    for part in parts:
        for picture in RunFolder(part).frame_files():
            assert picture.read_bytes() == (whole / "frames" / picture.name).read_bytes()
    told: list[str] = []
    assert join(parts, tmp_path / "joined.mp4", RunHooks(warn=told.append)) == range(6)
    assert told == []
    assert (tmp_path / "joined.mp4").stat().st_size > 1000
    (tmp_path / "parts").mkdir()
    for part in parts:
        (tmp_path / "parts" / part.name).symlink_to(part)
    assert join([tmp_path / "parts"], tmp_path / "again.mp4") == range(6)
    of_other_threads = json.loads(RunFolder(parts[0]).config_file.read_text())
    assert of_other_threads["n_threads"] == torch.get_num_threads()
    RunFolder(parts[0]).config_file.write_text(json.dumps({**of_other_threads, "n_threads": 32}))
    join(parts, tmp_path / "other.mp4", RunHooks(warn=told.append))
    assert f"with OMP_NUM_THREADS={torch.get_num_threads()} and 32: frames may differ" in told[0]
    assert (tmp_path / "again.mp4").read_bytes() == (tmp_path / "joined.mp4").read_bytes()
    assert is_done(end, RunFolder(parts[0]))
    assert not is_done(replace(end, only="3-5"), RunFolder(parts[0]))
    # A part can be opened as any run, and shows what the whole clip shows there.
    opened, of_whole = open_run(parts[0]), open_run(whole)
    assert len(opened.frames) == len(opened.clip.gbuffers) == 2
    for here, there in ((0, 4), (1, 5)):
        assert (opened.clip.gbuffers[here].depth == of_whole.clip.gbuffers[there].depth).all()
    with pytest.raises(ConfigError, match=r"frame 0 is in .*: give one of them"):
        join([whole, parts[1]], tmp_path / "again.mp4")
    with pytest.raises(ConfigError, match=r"comes 4 of .*end, and 2 to 3 is in none|no parts of one clip"):
        join([parts[0], look], tmp_path / "gap.mp4")


def test_a_part_of_keyframes_alone_is_those_keyframes(tmp_path):
    job = replace(tiny_job(), lock=0.0)
    look = made(replace(job, only="keyframes"), tmp_path / "look")
    part = made(replace(job, keyframes_from=look), tmp_path / "part")
    pictures = RunFolder(part).frame_files()
    assert len(pictures) == 3
    for picture in pictures:
        assert picture.read_bytes() == (look / "frames" / picture.name).read_bytes()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"only": "0-1"}, "nothing to make them against"),
        ({"only": "first"}, "expected keyframes, or numbers"),
        ({"only": "4-9"}, "of frames 0 to 5"),
        ({"only": "keyframes", "keyframes_from": Path()}, "leave one out"),
        ({"seed": 7}, "with other seed"),
        ({"settings": ("noise.mode=fixed",)}, "with other method"),
        ({"steps": 3}, "of other n_steps"),
    ],
)
def test_what_does_not_fit_is_said_before_any_work(look, tmp_path, asked, said):
    job = replace(JOB, **({"keyframes_from": None if asked == {"only": "0-1"} else look} | asked))
    with pytest.raises(ConfigError, match=said):
        plan(job, RunFolder(tmp_path / "run"))


def test_keyframes_of_another_view_are_refused(look, tmp_path):
    turned = replace(JOB.clip, shot=replace(JOB.clip.shot, camera="turntable"))
    with pytest.raises(ConfigError, match="shows something else than this clip"):
        made(replace(JOB, clip=turned, keyframes_from=look, only="1-2"), tmp_path / "run")


def test_the_camera_of_a_clip_is_placed_once_and_anew_for_another_file(tmp_path):
    scene = tmp_path / "scene.glb"
    shutil.copy(JOB.clip.scene, scene)
    job = replace(JOB, clip=replace(JOB.clip, scene=scene))
    first, again = (planned(job, tmp_path) for _ in range(2))
    assert [id(camera) for camera in again.cameras] == [id(camera) for camera in first.cameras]
    assert again.config == first.config
    dancing = replace(job.clip, shot=replace(job.clip.shot, animation="Dance"))
    others = [planned(replace(job, clip=dancing), tmp_path)]
    shutil.copy(SCENE.parent / "trotting_quadruped.glb", scene)
    others.append(planned(job, tmp_path))
    for shot in others:
        placed = plan_shot(shot.scene, shot.config)
        assert np.array_equal(placed.cameras[3].world_from_camera, shot.cameras[3].world_from_camera)
        assert not np.array_equal(shot.cameras[3].world_from_camera, first.cameras[3].world_from_camera)


def planned(job: RenderJob, folder: Path) -> Shot:
    shot = plan(job, RunFolder(folder / "run")).shot
    assert isinstance(shot, Shot)
    return shot
