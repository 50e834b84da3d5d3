"""A run from Python: the folder holds what the pipeline makes, and nothing of a run that fails."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel
from scene.gltf_builder import one_triangle
from tiny_models import tiny_pipeline

import genrender.sampling.chunks as chunks_module
from genrender.config import InjectionConfig, MethodConfig, RunConfig
from genrender.errors import ConfigError, MediaError, ModelError
from genrender.gbuffer.preview import to_picture
from genrender.methods.table import METHODS
from genrender.pipeline import GenerativeRenderingPipeline
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import Cancelled, RunHooks
from genrender.runs.make import make_video
from genrender.scene.load import load_scene
from genrender.shots.clip import Clip, ShotConfig, render_clip

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
    return tiny_pipeline()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    scene = load_scene(one_triangle().save(tmp_path_factory.mktemp("scene") / "triangle.glb"))
    return render_clip(scene, ShotConfig(size=(32, 24), n_frames=3, camera="orbit"))


def test_the_folder_holds_what_the_pipeline_makes(pipe, clip, tmp_path):
    folder = RunFolder(tmp_path / "run")
    reports = []
    make_video(pipe, clip, CONFIG, folder, hooks=RunHooks(progress=lambda *done: reports.append(done)))
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
    config = folder.read_record().to_json()["config"]
    assert config["method"]["injection"]["n_keyframes"] == 3
    assert (config["device"], config["dtype"]) == ("cpu", "float32")


def test_the_model_keeps_its_own_scheduler(pipe, clip, tmp_path):
    own = pipe.scheduler
    folder = RunFolder(tmp_path / "run")
    make_video(pipe, clip, RunConfig(prompt="a fox", n_steps=2, sampler="dpm++-karras"), folder)
    assert pipe.scheduler is own
    config = folder.read_record().to_json()["config"]
    assert config["scheduler"] == "DPMSolverMultistepScheduler"
    assert config["scheduler_config"]["use_karras_sigmas"] is True
    assert config["scheduler_config"]["beta_start"] == own.config.beta_start


def test_frames_that_the_safety_checker_blackened_are_listed(pipe, clip, tmp_path, monkeypatch):
    checked = []

    def check(pictures, *_):
        checked.extend(range(len(pictures)))
        is_last = len(checked) == 3
        return pictures * (not is_last), [is_last] * len(pictures)

    monkeypatch.setattr(pipe, "run_safety_checker", check)
    folder = RunFolder(tmp_path / "run")
    assert make_video(pipe, clip, CONFIG, folder) == [2]  # chunks of two frames: the third is alone
    assert folder.read_record().to_json()["config"]["flagged_frames"] == [2]
    assert (folder.frames()[2] == 0).all()
    assert folder.frames()[1].any()
    monkeypatch.undo()
    assert make_video(pipe, clip, CONFIG, folder) == []


def test_the_controlnet_is_named(pipe, clip, tmp_path):
    pipe.controlnet.save_pretrained(tmp_path / "my-depth")
    named = GenerativeRenderingPipeline(
        **{**pipe.components, "controlnet": ControlNetModel.from_pretrained(tmp_path / "my-depth")}
    )
    named.set_progress_bar_config(disable=True)
    folder = RunFolder(tmp_path / "run")
    make_video(named, clip, RunConfig(prompt="a fox", n_steps=1), folder)
    assert folder.read_record().to_json()["config"]["controlnet"] == str(tmp_path / "my-depth")


def test_words_that_the_model_does_not_know_are_named(pipe, clip, tmp_path):
    named = GenerativeRenderingPipeline(**pipe.components)
    named.set_progress_bar_config(disable=True)
    named.register_to_config(_name_or_path=str(tmp_path))
    (tmp_path / "vocabulary.json").write_text(json.dumps(["a", "red", "fox"]))
    warnings = []
    config, hooks = RunConfig(prompt="a red foxx", n_steps=1), RunHooks(warn=warnings.append)
    make_video(named, clip, config, RunFolder(tmp_path / "run"), hooks=hooks)
    assert warnings == ["the model does not know these words of the prompt: foxx (try fox)"]


def test_a_run_that_fails_before_its_first_frame_leaves_no_folder(pipe, clip, tmp_path):
    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_video(pipe, clip, CONFIG, RunFolder(tmp_path / "run"), hooks=RunHooks(progress=stop))
    with pytest.raises(ConfigError, match="the prompt is empty"):
        make_video(pipe, clip, RunConfig(), RunFolder(tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_cancelled_once_is_not_finished(pipe, clip, tmp_path):
    answers = iter([True])
    hooks = RunHooks(is_cancelled=lambda: next(answers, False))
    with pytest.raises(Cancelled):
        make_video(pipe, clip, CONFIG, RunFolder(tmp_path / "run"), hooks=hooks)
    assert next(answers, None) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["a", "a/nested/run"])
@pytest.mark.parametrize("file", ["frames", "video", "contact sheet"])
def test_a_run_that_fails_while_it_is_written_leaves_nothing(pipe, clip, tmp_path, monkeypatch, file, place):
    def fail(*_):
        raise MediaError("the disk is full")

    method = {"frames": "write_frame", "video": "write_video", "contact sheet": "write_contact_sheet"}[file]
    monkeypatch.setattr(RunFolder, method, fail)
    with pytest.raises(MediaError, match="the disk is full"):
        make_video(pipe, clip, CONFIG, RunFolder(tmp_path / place))
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_fails_over_an_earlier_one_leaves_that_as_it_was(pipe, clip, tmp_path, monkeypatch):
    def contents():
        return {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    def fail(*_):
        raise MediaError("the disk is full")

    make_video(pipe, clip, CONFIG, RunFolder(tmp_path / "run"))
    before = contents()
    monkeypatch.setattr(RunFolder, "write_contact_sheet", fail)
    with pytest.raises(MediaError, match="the disk is full"):
        make_video(pipe, clip, replace(CONFIG, seed=5), RunFolder(tmp_path / "run"))
    assert contents() == before
    monkeypatch.undo()
    make_video(pipe, clip, replace(CONFIG, seed=5), RunFolder(tmp_path / "run"))
    after = contents()
    assert after.keys() == before.keys()
    assert all(after[file] != before[file] for file in after)


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
    ids=["CUDA", "CPU", "Python"],
)
@pytest.mark.parametrize("network", ["unet", "vae"])
def test_too_little_memory_is_told_with_a_remedy(pipe, clip, tmp_path, monkeypatch, network, error):
    def fail(*_, **__):
        raise error

    target, name = {"unet": (pipe.unet, "forward"), "vae": (pipe.vae, "decode")}[network]
    monkeypatch.setattr(target, name, fail)
    with pytest.raises(
        ModelError, match="too little memory for frames of 32x24 pixels, even for one at a time"
    ):
        make_video(pipe, clip, CONFIG, RunFolder(tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


def test_too_little_memory_for_a_chunk_leads_to_smaller_ones(pipe, clip, tmp_path, monkeypatch):
    method = MethodConfig(injection=InjectionConfig(n_keyframes=1))
    config = replace(CONFIG, chunk_size=3, method=method)
    folders = [RunFolder(tmp_path / name) for name in ("at once", "one by one")]
    make_video(pipe, clip, config, folders[0])
    forward, refused, told = pipe.unet.forward, [], []

    def fail_for_many(sample, *arguments, **options):
        if len(sample) > 2:  # under guidance two rows are one frame
            refused.append(len(sample) // 2)
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return forward(sample, *arguments, **options)

    monkeypatch.setattr(pipe.unet, "forward", fail_for_many)
    monkeypatch.setattr(chunks_module.logger, "warning", told.append)
    make_video(pipe, clip, config, folders[1])
    # Two frames, because the keyframe went before; once, not at every step: what was learned is kept.
    assert refused == [2]
    assert told == ["the memory does not suffice for 2 frames at once; going on with chunks of 1"]
    pictures = [np.stack(list(folder.frames())).astype(int) for folder in folders]
    assert abs(pictures[0] - pictures[1]).max() <= 1


def test_other_errors_of_the_networks_are_what_they_are(pipe, clip, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(pipe.vae, "decode", fail)
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        make_video(pipe, clip, CONFIG, RunFolder(tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", METHODS)
def test_every_method_fills_a_run_folder(pipe, clip, tmp_path, name):
    method = METHODS[name]
    config = replace(CONFIG, method=method.config or CONFIG.method)
    folder = RunFolder(tmp_path / "run")
    make_video(pipe, clip, config, folder, method=method)
    frames = np.stack(list(folder.frames()))
    assert frames.shape == (3, 24, 32, 3)
    assert frames.std() > 1


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.config is not None])
def test_a_rivals_attention_reaches_the_networks(pipe, clip, tmp_path, name, monkeypatch):
    method = METHODS[name]
    used = []
    monkeypatch.setattr(method.attention, "start_frames", lambda state, _: used.append(type(state)))
    monkeypatch.setattr(method.attention, "start_keyframes", lambda *_: None)
    monkeypatch.setattr(method.attention, "is_active", False)
    make_video(pipe, clip, replace(CONFIG, method=method.config), RunFolder(tmp_path / "run"), method=method)
    assert set(used) == {method.attention}


def test_what_the_safety_checker_blackens_is_not_baked(pipe, clip, tmp_path, monkeypatch):
    blackened: list[bool] = []

    def blacken_the_first(_, decoded, *__):
        blackened.append(not blackened)
        if blackened[-1]:
            decoded[0] = -1.0
        return decoded, [blackened[-1]]

    monkeypatch.setattr(GenerativeRenderingPipeline, "run_safety_checker", blacken_the_first)
    # The lock of a preset is nothing to what is baked.
    config = replace(CONFIG, method=MethodConfig(injection=InjectionConfig(n_keyframes=2)), lock=1.0)
    folder = RunFolder(tmp_path / "run")
    flagged = make_video(pipe, clip, config, folder, method=METHODS["static-texture"])
    assert len(flagged) == 1
    assert 0 <= flagged[0] < 3
    shown = [frame[gbuffer.visible] for frame, gbuffer in zip(folder.frames(), clip.gbuffers, strict=True)]
    assert all(pixels.mean() > 20 for pixels in shown if len(pixels))
