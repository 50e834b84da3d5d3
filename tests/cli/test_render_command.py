"""`genrender render` from end to end, with a tiny model whose weights are random."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionControlNetPipeline
from safetensors.torch import save_file
from scene.whole_scenes import outside, scene_file
from tiny_models import TEXT_WIDTH

from genrender.backbones.precision import default_dtype
from genrender.config import OURS, PER_FRAME, PRESETS
from genrender.jobs.job import ClipJob, RenderJob
from genrender.jobs.plan import run_config
from genrender.media.images import read_png
from genrender.media.video import read_video
from genrender.runs.folder import RunFolder


def what_the_cpu_computes_in() -> str:
    """The numbers that are taken without `--dtype`, as config.json spells them."""
    return str(default_dtype(torch.device("cpu"), is_pocket=False)).removeprefix("torch.")


@pytest.fixture
def render(call, scene, model):
    """Runs `genrender render` on the sliding card; two steps are enough to see that it works."""

    def run(*words: object, prompt: str = "a red fox", of=scene):
        return call("render", of, "--prompt", prompt, "--model", model, "--steps", 2, *words)

    return run


def read_frames(folder):
    return np.stack([read_png(file) for file in sorted((folder / "frames").iterdir())])


def test_everything_is_there_and_says_how_it_was_made(render, tmp_path, scene, model):
    result = render("--out", "fox.mp4", "--run-dir", "run", "--frames", 3, "--fps", 12, "--seed", 5)
    assert result.code == 0
    assert result.out.splitlines() == [
        "video          fox.mp4",
        "contact sheet  run/contact_sheet.png",
        "run folder     run",
    ]
    run = tmp_path / "run"
    frames = read_frames(run)
    assert frames.shape == (3, 64, 64, 3)  # the model's own size
    video, fps = read_video(tmp_path / "fox.mp4")
    assert (video.shape, fps) == (frames.shape, 12)
    assert (run / "video.mp4").read_bytes() == (tmp_path / "fox.mp4").read_bytes()
    sheet = read_png(run / "contact_sheet.png")
    assert sheet.shape[0] > 3 * 192  # UV, depth and result
    assert sorted(file.name for file in tmp_path.iterdir()) == ["fox.mp4", "run"]

    written = json.loads((run / "config.json").read_text())
    assert written["seed"] == 5
    assert written["command"][:2] == ["genrender", "render"]
    assert {"genrender", "torch", "diffusers"} <= set(written["versions"])
    config = written["config"]
    assert config["scene"] == str(scene)
    assert config["recipe"]["base"] == str(model)
    assert (config["animation"], config["camera"]) == ("Slide", "static")
    assert (config["width"], config["height"], config["fps"]) == (64, 64, 12)
    assert (config["n_frames"], config["times_s"]) == (3, [0, 1 / 12, 2 / 12])
    assert (config["prompt"], config["n_steps"]) == ("a red fox", 2)
    assert config["method"]["noise"]["mode"] == OURS.noise.mode
    assert config["method"]["injection"]["n_keyframes"] == 3  # resolved: the default depends on the clip
    assert (config["scheduler"], config["dtype"]) == ("DDIMScheduler", what_the_cpu_computes_in())
    assert config["scheduler_config"]["beta_schedule"] == "scaled_linear"
    assert config["controlnet"] == str(model / "controlnet")


def test_stderr_tells_what_goes_on_and_nothing_else(render):
    lines = render("--frames", 2).err.splitlines()
    assert all(line.startswith("genrender: ") for line in lines), lines
    for work in ("loading model", "G-buffers: 2 done", "diffusion: 2 done", "frames: 2 done"):
        assert any(work in line for line in lines)


def test_a_clip_covers_its_animation_once(render, tmp_path):
    result = render("--size", "16x24")  # a quarter of a second, first key and last
    assert result.code == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("card-")
    assert read_frames(run).shape == (7, 24, 16, 3)
    assert f"video          {run.relative_to(tmp_path) / 'video.mp4'}" in result.out


def test_runs_of_the_same_second_do_not_meet(render, tmp_path, monkeypatch):
    monkeypatch.setattr("genrender.jobs.plan.timestamp", lambda: "20260102-030405")
    assert render("--frames", 1, "--size", 16).code == 0
    assert render("--frames", 1, "--size", 16).code == 0
    names = sorted(run.name for run in (tmp_path / "runs").iterdir())
    assert names == ["card-20260102-030405", "card-20260102-030405-2"]


def test_the_seed_decides_and_the_method_matters(render, tmp_path):
    def frames(name, *words):
        assert render("--frames", 3, "--run-dir", name, *words).code == 0
        return read_frames(tmp_path / name)

    first = frames("first")
    np.testing.assert_array_equal(frames("again"), first)
    assert (frames("other", "--seed", 1) != first).any()
    assert (frames("alone", "--method", "per-frame") != first).any()


def test_words_that_the_model_does_not_know_are_named_once(render):
    result = render("--frames", 1, "--size", 16, prompt="a red dragon, a green wyvern")
    assert result.code == 0
    warnings = [line for line in result.err.splitlines() if "warning" in line]
    assert warnings == [
        "genrender: warning: the model does not know these words of the prompt: dragon, wyvern"
    ]


def test_the_nearest_known_word_is_suggested(render):
    result = render("--frames", 1, "--size", 16, prompt="a crimson foxx, a dragon")
    (warning,) = [line for line in result.err.splitlines() if "warning" in line]
    assert warning.endswith("of the prompt: crimson (try red), foxx (try fox), dragon")


def test_a_repeated_clip_has_its_frames_once(render, tmp_path):
    assert render("--frames", 2, "--size", 16, "--run-dir", "run", "--repeat", 3).code == 0
    assert len(read_frames(tmp_path / "run")) == 2
    video, _ = read_video(tmp_path / "run" / "video.mp4")
    assert video.shape == (6, 16, 16, 3)  # a model that does not ask for it is shown as it is
    assert render("--repeat", 0).code == 2


def test_known_words_are_no_reason_to_warn(render):
    assert "warning" not in render("--frames", 1, "--size", 16, prompt="A red fox.").err


@pytest.mark.parametrize(("guidance", "is_told"), [(1, True), (0, True), (1.5, False)])
def test_a_negative_prompt_without_guidance_is_worth_a_warning(render, guidance, is_told):
    words = ["--frames", 1, "--size", 16, "--negative-prompt", "green", "--guidance", guidance]
    warnings = [line for line in render(*words).err.splitlines() if "warning" in line]
    expected = f"the negative prompt does nothing at --guidance {guidance}; it needs more than 1"
    assert warnings == ([f"genrender: warning: {expected}"] if is_told else [])


def test_rescaled_guidance_without_guidance_is_worth_a_warning(render):
    words = ["--frames", 1, "--size", 16, "--guidance-rescale", 0.5, "--guidance"]
    expected = "--guidance-rescale does nothing at --guidance 1; it needs more than 1"
    assert expected in render(*words, 1).err
    assert "warning" not in render(*words, 1.5).err


def test_what_loading_warns_of_is_told_as_all_else_is(render, tmp_path):
    """Words come from a file of somebody else's, which must not steer the terminal."""
    save_file({"\x1b[31mink": torch.ones(1, TEXT_WIDTH)}, tmp_path / "ink.safetensors")
    told = render("--frames", 1, "--size", 16, "--embedding", "ink.safetensors").err
    assert "genrender: warning: prompts may use these words besides: \\x1b[31mink" in told
    assert "\x1b[31m" not in told


def test_a_long_prompt_is_read_to_its_end(render, tmp_path, caplog):
    start = "a red fox" + " a green fox" * 4  # the tiny tokenizer spells every word out, but for `fox`
    frames = []
    for end in ("a red fox", "a green fox"):
        result = render("--frames", 1, "--size", 16, "--run-dir", end, prompt=f"{start} {end}")
        assert "warning" not in result.err
        assert not caplog.records  # of transformers
        frames.append(read_frames(tmp_path / end).astype(int))
    assert abs(frames[0] - frames[1]).max() > 2


def test_a_camera_that_sees_nothing_is_worth_a_warning(render, tmp_path):
    (tmp_path / "away.json").write_text(json.dumps({"eye": [0, 0, 5], "target": [0, 0, 9]}))
    result = render("--frames", 1, "--size", 16, "--camera", "away.json")
    assert result.code == 0
    assert "the camera sees nothing of the scene" in result.err


@pytest.mark.parametrize(
    ("n_frames", "named"), [(1, "frame 0"), (10, "10 frames: 0, 1, 2, 3, 4, 5, 6, 7 and 2 more")]
)
def test_frames_that_the_safety_checker_blackened_are_named(render, monkeypatch, n_frames, named):
    def check(_pipeline, pictures, *_):
        return pictures, [True] * len(pictures)

    monkeypatch.setattr(StableDiffusionControlNetPipeline, "run_safety_checker", check)
    result = render("--frames", n_frames, "--size", 16)
    assert result.code == 0
    warnings = [line for line in result.err.splitlines() if "warning" in line]
    expected = f"the model's safety checker blackened {named}; try another prompt or seed"
    assert warnings == [f"genrender: warning: {expected}"]


def test_objects_without_uvs_get_some(render, bare_scene, tmp_path):
    result = render("--size", 16, "--run-dir", "run", of=bare_scene)
    assert result.code == 0
    assert "made texture coordinates for what has none: bare" in result.err
    assert len(read_frames(tmp_path / "run")) == 24  # nothing is animated


def test_the_paper_preset_samples_on_karras_sigmas(render, tmp_path):
    assert render("--preset", "paper", "--frames", 2, "--size", 16, "--run-dir", "run").code == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert (config["preset"], config["scheduler"]) == ("paper", "DPMSolverMultistepScheduler")
    assert (config["method"]["noise"]["mode"], config["method"]["injection"]["keyframes"]) == (
        "nearest",
        "random",
    )


def test_the_video_may_go_into_the_run_folder(render, tmp_path):
    result = render("--frames", 1, "--size", 16, "--run-dir", "run", "--out", "run/video.mp4")
    assert result.code == 0
    assert "video          run/video.mp4" in result.out
    assert len(list((tmp_path / "run").glob("*.mp4"))) == 1


@pytest.mark.parametrize(
    ("asset", "words", "animation", "notes"),
    [
        ("walking_biped.glb", ["--animation", "Walk"], "Walk", []),
        ("automaton.glb", [], "all", ["made texture coordinates for what has none: "]),
        ("cart.glb", [], "Drive", ["made texture coordinates for what has none: "]),
        ("jelly.glb", [], "Pulse", ["made new texture coordinates: Ground (100 % of its texels"]),
        outside("Fox.glb", ["--animation", "Run"], "Run", []),
        outside(
            "RobotExpressive.glb",
            ["--animation", "Dance"],
            "Dance",
            ["made texture coordinates for what has none: "],
        ),
        outside("CesiumMilkTruck.glb", [], "animation_0", ["made texture coordinates for what has none: "]),
        outside(
            "MorphStressTest.gltf",
            [],
            "Individuals",
            ["made new texture coordinates: Main (6.21 % has no area"],
        ),
    ],
)
def test_whole_scenes(render, tmp_path, asset, words, animation, notes):
    # A quarter of a second between the frames: some animations start slowly.
    result = render(
        "--frames",
        2,
        "--fps",
        4,
        "--run-dir",
        "run",
        "--out",
        "x.mp4",
        *words,
        of=scene_file(asset, tmp_path),
    )
    assert result.code == 0, result.err
    told = [line for line in result.err.splitlines() if "texture coordinates" in line]
    assert len(told) == len(notes)
    assert all(note in line for note, line in zip(notes, told, strict=True))
    frames = read_frames(tmp_path / "run")
    assert frames.shape == (2, 64, 64, 3)
    assert (frames[0] != frames[1]).any()
    video, _ = read_video(tmp_path / "x.mp4")
    assert video.shape == frames.shape
    config = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert config["animation"] == animation


def options(**given) -> RenderJob:
    return RenderJob(ClipJob(Path("card.glb")), "a fox", **given)


def test_options_override_the_preset():
    paper = run_config(options(preset="paper"))
    assert (paper.n_steps, paper.guidance_scale, paper.method) == (50, 7.5, PRESETS["paper"].method)
    changed = run_config(
        options(
            preset="paper",
            steps=7,
            guidance=3.0,
            noise="fixed",
            engine="texture",
            alpha=0.0,
            unify="mean",
            keyframes=4,
            negative_prompt="blurry",
            seed=9,
            chunk=2,
        )
    )
    assert (changed.n_steps, changed.guidance_scale, changed.method.noise.mode) == (7, 3.0, "fixed")
    injection = changed.method.injection
    assert (injection.alpha, injection.unify, injection.n_keyframes) == (0.0, "mean", 4)
    assert injection.keyframes == "random"  # still the preset's
    assert (changed.negative_prompt, changed.seed, changed.chunk_size) == ("blurry", 9, 2)


def test_per_frame_switches_the_method_off_but_takes_another_noise():
    assert run_config(options(method="per-frame")).method == PER_FRAME
    assert run_config(options(method="per-frame", noise="fixed")).method.noise.mode == "fixed"


def frames_of(run_dir):
    return np.stack(list(RunFolder(run_dir).frames())).astype(int)


def test_a_colour_behind_the_scene_and_a_lock_change_finished_frames_alone(render, tmp_path):
    words = ["--frames", 4, "--size", 64, "--lock", 0]
    plain, white, steady = (tmp_path / name for name in ("plain", "white", "steady"))
    assert render(*words, "--run-dir", plain).code == 0
    assert render(*words, "--run-dir", white, "--backdrop", "white").code == 0
    assert render(*words, "--run-dir", steady, "--lock", 1).code == 0
    assert (frames_of(white)[:, 0, 0] == 255).all()
    assert (frames_of(plain) != frames_of(steady)).any()
    settings = RunFolder(white).read_record().to_json()["config"]
    assert (settings["background_color"], settings["backdrop"]) == ([255, 255, 255], "none")


def test_geometry_behind_the_scene_is_part_of_the_run(render, call, tmp_path):
    run_dir = tmp_path / "run"
    assert render("--frames", 3, "--size", 64, "--backdrop", "both", "--run-dir", run_dir).code == 0
    assert RunFolder(run_dir).read_record().to_json()["config"]["backdrop"] == "both"
    assert call("evaluate", run_dir, "--json").code == 0


def test_settings_by_name_reach_the_run(render, tmp_path):
    words = ["--frames", 2, "--size", 64, "--run-dir", tmp_path / "run"]
    result = render(*words, "--set", "injection.alpha_end=0.1", "--set", "noise.degradation=0.2")
    assert result.code == 0, result.err
    method = RunFolder(tmp_path / "run").read_record().to_json()["config"]["method"]
    assert (method["injection"]["alpha_end"], method["noise"]["degradation"]) == (0.1, 0.2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--backdrop", "curtain"], "curtain"),
        (["--lock", "2"], "lock is 2"),
        (["--set", "noise.colour=red"], "no setting 'noise.colour'"),
    ],
)
def test_what_cannot_be_is_said_before_any_work(render, words, said):
    result = render(*words)
    assert result.code == 2
    assert said in result.err


def test_programs_are_told_lines_of_json(render, call, tmp_path):
    made = render("--run-dir", "run", "--frames", 2, "--progress", "json", prompt="a red fox and a zebra")
    lines = [json.loads(line) for line in made.out.splitlines()]
    run = tmp_path / "run"
    assert lines[-1] == {
        "event": "done",
        "video": str(run / "video.mp4"),
        "contact_sheet": str(run / "contact_sheet.png"),
        "run_dir": str(run),
    }
    steps = [(line["done"], line["total"]) for line in lines if line.get("work") == "diffusion"]
    assert steps[-2:] == [(1, 2), (2, 2)]
    assert {line["event"] for line in lines} == {"note", "warning", "progress", "done"}
    again = call("resume", "run", "--progress", "json")
    assert json.loads(again.out) == {"event": "note", "text": "run is finished already"}
    wrong = render("--camera", "scene:Nobody", "--progress", "json")
    assert wrong.code == 2
    told = json.loads(wrong.out.splitlines()[-1])
    assert told["event"] == "error"
    assert wrong.err.strip().endswith(told["text"])
