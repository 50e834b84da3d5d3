"""A run from Python: the folder holds what the pipeline makes, and nothing of a run that fails."""

import numpy as np
import pytest
from scene.gltf_builder import one_triangle
from tiny_models import tiny_components

from genrender.config import InjectionConfig, MethodConfig, RunConfig
from genrender.errors import ConfigError
from genrender.gbuffer.preview import to_picture
from genrender.media.run_folder import RunFolder
from genrender.pipeline import GenerativeRenderingPipeline
from genrender.render import Clip, ShotConfig, render_clip
from genrender.run import make_video
from genrender.scene.load import load_scene

CONFIG = RunConfig(
    prompt="a red fox",
    negative_prompt="blurry",
    method=MethodConfig(injection=InjectionConfig(n_keyframes=9)),
    n_steps=2,
    guidance_scale=3.0,
    seed=4,
    chunk_size=2,
)


@pytest.fixture(scope="module")
def pipe() -> GenerativeRenderingPipeline:
    pipe = GenerativeRenderingPipeline(**tiny_components())
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    scene = load_scene(one_triangle().save(tmp_path_factory.mktemp("scene") / "triangle.glb"))
    return render_clip(scene, ShotConfig(size=(32, 24), n_frames=3, camera="orbit"))


def test_the_folder_holds_what_the_pipeline_makes(pipe, clip, tmp_path):
    folder = RunFolder(tmp_path / "run")
    reports = []
    make_video(pipe, clip, CONFIG, folder, report=lambda *report: reports.append(report))
    expected = pipe(
        CONFIG.prompt,
        clip.gbuffers,
        CONFIG.negative_prompt,
        MethodConfig(injection=InjectionConfig(n_keyframes=3)),  # more than there are frames is all of them
        num_inference_steps=2,
        guidance_scale=3.0,
        seed=4,
        chunk_size=2,
    ).frames
    np.testing.assert_array_equal(np.stack(list(folder.frames())), [to_picture(frame) for frame in expected])
    assert expected.std() > 0.01
    assert reports == [
        *(("diffusion", step, 2) for step in range(3)),
        *(("frames", frame, 3) for frame in range(4)),
    ]
    assert folder.read_config()["config"]["method"]["injection"]["n_keyframes"] == 3


def test_the_model_keeps_its_own_scheduler(pipe, clip, tmp_path):
    own = pipe.scheduler
    folder = RunFolder(tmp_path / "run")
    make_video(pipe, clip, RunConfig(prompt="a fox", n_steps=2, karras_sigmas=True), folder)
    assert pipe.scheduler is own
    assert folder.read_config()["config"]["scheduler"] == "DPMSolverMultistepScheduler"


def test_a_run_that_fails_before_its_first_frame_leaves_no_folder(pipe, clip, tmp_path):
    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_video(pipe, clip, CONFIG, RunFolder(tmp_path / "run"), report=stop)
    with pytest.raises(ConfigError, match="the prompt is empty"):
        make_video(pipe, clip, RunConfig(), RunFolder(tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []
