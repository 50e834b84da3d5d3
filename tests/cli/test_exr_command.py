"""EXR sequences on the command line: the same video as from the scene, and one line for what cannot be."""

import json
import shutil

import numpy as np
import OpenEXR
import pytest

from genrender.media.images import read_png


@pytest.fixture
def passes(call, scene, tmp_path):
    words = ("--animation", "Slide", "--frames", 3, "--size", "64x64", "--camera", "scene:Front")
    assert call("gbuffers", scene, *words, "--out", tmp_path / "passes").code == 0
    return tmp_path / "passes"


@pytest.fixture
def render(call, model):
    def run(of, *words):
        return call("render", of, "--prompt", "a red fox", "--model", model, "--steps", 2, *words)

    return run


def frames(folder):
    return np.stack([read_png(file) for file in sorted((folder / "frames").iterdir())]).astype(int)


def test_the_video_is_that_of_the_scene(call, render, passes, scene, tmp_path):
    """An EXR keeps all but the last bit of V, so at most a few texels change hands."""
    words = ("--camera", "scene:Front", "--size", "64x64", "--frames", 3)
    assert render(scene, *words, "--run-dir", "scene").code == 0
    result = render(passes, "--run-dir", "exr")
    assert result.code == 0, result.err
    of_scene, of_files = frames(tmp_path / "scene"), frames(tmp_path / "exr")
    assert of_scene.std() > 3
    difference = np.abs(of_scene - of_files)
    assert (difference > 2).mean() < 0.01
    sheet = read_png(tmp_path / "exr" / "contact_sheet.png")
    np.testing.assert_allclose(sheet.shape, read_png(tmp_path / "scene" / "contact_sheet.png").shape)

    config = json.loads((tmp_path / "exr" / "config.json").read_text())["config"]
    assert config["scene"] == str(passes)
    assert (config["exr_frames"], config["exr_map"]["depth"]) == ([0, 1, 2], "Depth.Z")
    assert (config["width"], config["height"], config["atlas_ids"]) == (64, 64, {"card": [1]})

    # What needs no geometry is measured, and the rest says why not.
    shutil.copytree(tmp_path / "exr", tmp_path / "copy")
    result = call("evaluate", "exr", "--reference", "copy", "--json")
    assert result.code == 0, result.err
    metrics = json.loads(result.out)
    assert metrics["surface_error"] == {"1": None, "4": None, "16": None, "first": None}
    assert metrics["clip_frame_consistency"] > 0.5
    assert metrics["relative_sharpness"] == 1
    assert result.err.count("surface errors need the scene's triangles and cameras") == 1
    result = call("diagnose", "exr", "--reference", "copy", "--json")
    assert result.code == 0, result.err
    symptoms = json.loads(result.out)["symptoms"]
    assert symptoms["flicker"]["is_present"] is None
    assert symptoms["blur"]["is_present"] is False
    # A longer sequence still shows the run's frames; with other numbers it does not.
    for file in sorted(passes.glob("*.exr"), reverse=True):
        file.rename(passes / f"frame_{int(file.stem[-4:]) + 5:04d}.exr")
    assert "holds frames 5 to 7" in call("evaluate", "exr").err


def test_a_stopped_run_goes_on(call, render, passes, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:

        def stop(*_, **__):
            raise KeyboardInterrupt

        patch.setattr("genrender.runs.make.write_frames", stop)
        assert render(passes, "--run-dir", "run").code == 130
    request = json.loads((tmp_path / "run" / "unfinished" / "request.json").read_text())["request"]
    assert "exr_frames" in request
    assert "allowed_folders" not in request
    assert call("resume", "run").code == 0
    assert render(passes, "--run-dir", "whole").code == 0
    np.testing.assert_array_equal(frames(tmp_path / "run"), frames(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--camera", "orbit"], "--camera"),
        (["--animation", "Walk"], "--animation"),
        (["--backdrop", "ground"], "--backdrop ground"),
        (["--engine", "reproject"], "--engine reproject"),
        (["--set", "correspondence.engine=reproject"], "--engine reproject"),
        (["--method", "static-texture"], "--method static-texture"),
    ],
)
def test_what_needs_geometry_is_refused(render, passes, words, named):
    result = render(passes, *words)
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert f"error: {named} needs triangles and a camera" in result.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "60"], "expected multiples of"),
        (["--size", "64x32"], "have another shape"),
        (["--frames", "9"], "frames is 9, expected 1 to 3"),
        (["--exr-map", "nowhere.json"], "cannot read the EXR map"),
    ],
)
def test_what_does_not_fit_is_refused(render, passes, words, message):
    result = render(passes, *words)
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert message in result.err


def test_a_map_means_nothing_to_a_scene(render, scene):
    assert "--exr-map is about EXR files" in render(scene, "--exr-map", "map.json").err


def test_a_color_behind_and_a_smaller_size_need_no_geometry(render, passes, tmp_path):
    result = render(passes / "frame_%04d.exr", "--size", 32, "--backdrop", "white", "--frames", 2)
    assert result.code == 0, result.err
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("frame-")
    assert frames(run).shape == (2, 32, 32, 3)
    assert (frames(run)[:, 0, 0] == 255).all()


def test_inspect_tells_what_was_taken_for_what(call, passes):
    text = call("inspect", passes).out
    for said in ("frames 0..2", "64x64", "Depth.Z", "UV.V", "IndexOB.X", "card"):
        assert said in text
    (passes / "frame_0001.exr").unlink()
    report = json.loads(call("inspect", passes, "--json").out)
    assert report["missing"] == ""  # every second frame may be meant
    (passes / "frame_0002.exr").rename(passes / "frame_0003.exr")
    shutil.copy(passes / "frame_0000.exr", passes / "frame_0001.exr")
    report = json.loads(call("inspect", passes, "--json").out)
    assert report["missing"] == "2"
    assert "frames 2 are missing" in report["problems"][0]


def test_inspect_shows_the_channels_where_none_fits(call, tmp_path):
    grey = {name: np.zeros((4, 4), np.float32) for name in "RGB"}
    OpenEXR.File({"type": OpenEXR.scanlineimage}, grey).write(str(tmp_path / "a1.exr"))
    result = call("inspect", tmp_path)
    assert result.code == 1
    assert "problem: " in result.out
    assert "the channels are B, G, R" in " ".join(result.out.split())


def test_methods_are_compared_without_those_that_need_triangles(call, passes, model):
    words = ("--prompt", "a red fox", "--model", model, "--steps", 1, "--methods", "per-frame,static-texture")
    result = call("compare", passes, *words, "--report", "page.html", "--json")
    assert result.code == 0, result.err
    assert "static-texture is left out" in result.err
    assert list(json.loads(result.out)) == ["per-frame"]
    assert "is there already" in call("compare", passes, *words).err
    only = call("compare", passes, *words[:-1], "static-texture")
    assert (only.code, "needs triangles" in only.err) == (2, True)


def test_a_preview_is_made_of_the_files(call, passes, tmp_path):
    assert call("preview", passes, "--out", tmp_path / "shown").code == 0
    sheet = read_png(tmp_path / "shown" / "contact_sheet.png")
    assert sheet.std() > 10
    assert (tmp_path / "shown" / "preview.mp4").stat().st_size > 1000


def test_gbuffers_are_written_anew(call, passes, tmp_path):
    out = tmp_path / "again"
    assert call("gbuffers", passes, "--size", 32, "--frames", 2, "--out", out).code == 0
    assert sorted(file.name for file in out.glob("*.exr")) == ["frame_0000.exr", "frame_0001.exr"]
    theirs, ours = (OpenEXR.File(str(folder / "frame_0001.exr")).channels() for folder in (passes, out))
    np.testing.assert_array_equal(ours["IndexOB.X"].pixels, theirs["IndexOB.X"].pixels[1::2, 1::2])


@pytest.mark.parametrize("command", ["preview", "gbuffers"])
def test_files_have_no_camera_in_other_commands_either(call, passes, tmp_path, command):
    result = call(command, passes, "--camera", "orbit", "--out", tmp_path / "out")
    assert result.code == 2
    assert "--camera needs triangles and a camera" in result.err
    assert not (tmp_path / "out").exists()


def test_what_is_verified_needs_triangles(call, passes):
    result = call("verify", passes)
    assert result.code == 2
    assert "verify the scene that they were rendered from" in result.err


def test_a_study_leaves_out_what_needs_triangles(passes):
    from genrender.errors import ConfigError
    from genrender.evaluation.study import possible_cells, study_cells
    from genrender.options.commands import Study
    from genrender.options.measured import study_job
    from genrender.runs.hooks import SILENT, RunHooks

    def cells(name):
        return study_cells(study_job(Study(name, (f"{passes}=a fox",), seeds="0", out=passes)))

    notes: list[str] = []
    left = possible_cells(cells("texture-resolution"), RunHooks(notes.append))
    assert {cell.variant.series for cell in left} == {"texture"}
    assert any("leaves out reproject: --engine reproject needs triangles" in note for note in notes)
    assert len(possible_cells(cells("alpha"), SILENT)) == len(cells("alpha"))
    with pytest.raises(ConfigError, match="--loop needs triangles"):
        possible_cells(cells("length"), SILENT)
