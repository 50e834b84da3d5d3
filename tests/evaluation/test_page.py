"""The page of a comparison: whole in itself, with every method's video, figures and errors."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scene.gltf_builder import one_triangle
from tiny_models import tiny_components

from genrender.backbones.recipe import Recipe
from genrender.config import PER_FRAME, RunConfig
from genrender.evaluation.page import adjacent_errors, write_page
from genrender.metrics.surface import surface_error
from genrender.metrics.table import COMPARED, COSTS, FIGURES, METRICS, look_up
from genrender.pipeline import GenerativeRenderingPipeline
from genrender.runs.finished import FinishedRun, open_run
from genrender.runs.folder import RunFolder
from genrender.runs.make import Inputs, make_video
from genrender.runs.record import Origin
from genrender.scene.load import load_scene
from genrender.shots.clip import ShotConfig, render_clip

MEASURED = dict.fromkeys(metric.key for metric in (*METRICS, *COSTS)) | {
    "surface_error": {"1": 0.1, "4": None, "16": None, "first": 0.2},
    "surface_error_low": {"1": 0.03, "first": 0.04},
    "surface_error_high": {"1": 0.06, "first": 0.1},
    "foreground_error": {"1": 0.1},
    "background_error": {"1": 0.05},
    "sharpness": 2.0,
    "relative_sharpness": 0.9,
    "clip_frame_consistency": 0.9,
    "clip_prompt_fidelity": 0.3,
    "seconds_per_frame": 1.5,
    "peak_memory_mb": 900.0,
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FinishedRun]:
    folder = tmp_path_factory.mktemp("compared")
    pipe = GenerativeRenderingPipeline(**tiny_components())
    pipe.set_progress_bar_config(disable=True)
    scene = load_scene(one_triangle().save(folder / "triangle.glb"))
    clip = render_clip(scene, ShotConfig(size=(64, 48), n_frames=5, camera="orbit"))
    config = RunConfig(prompt='a <red> fox"> $fps [b] &lt;', n_steps=1)
    made = {"ours": config, "per-frame": replace(config, method=PER_FRAME)}
    for name, wanted in made.items():
        make_video(pipe, clip, wanted, RunFolder(folder / name), Inputs(Origin(Recipe("tiny"))))
    return {name: open_run(folder / name) for name in made}


def test_the_page_is_whole_in_itself(runs, tmp_path):
    better = MEASURED | {"sharpness": 9.0, "seconds_per_frame": 0.5}
    write_page(
        tmp_path / "page.html", runs, {"ours": better, "per-frame": MEASURED}, dict.fromkeys(runs, "so")
    )
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert page.count('src="data:video/mp4;base64,') == 2
    assert page.count('src="data:image/png;base64,') == 2
    assert page.count("<svg") == 1
    shown = "a &lt;red&gt; fox&quot;&gt; $fps [b] &amp;lt;"
    assert page.count(shown) == 2  # in the head and above the videos
    assert "<red>" not in page
    assert all(FIGURES[key].title in page for key in COMPARED)
    assert '<td class="best">0.5</td>' in page
    assert "<td>1.5</td>" in page
    assert "<td>9</td>" in page  # more sharpness is not always better
    assert "$" not in page.split("<svg")[0].replace(shown, "")


@pytest.mark.slow
def test_in_a_browser_all_videos_show_the_same_frame(runs, browser, tmp_path: Path):
    write_page(tmp_path / "page.html", runs, dict.fromkeys(runs, MEASURED), dict.fromkeys(runs, "so"))
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: request.url.startswith(("file:", "data:")) or complaints.append(request.url),
    )
    page.goto((tmp_path / "page.html").as_uri())
    loaded = "[...document.querySelectorAll('video')].every(v => v.readyState >= 2 && v.videoWidth === 64)"
    page.wait_for_function(loaded)
    times = "[...document.querySelectorAll('video')].map(v => v.currentTime)"

    page.locator("#time").fill("3")
    page.wait_for_function("[...document.querySelectorAll('video')].every(v => !v.seeking)")
    assert page.locator("#frame").inner_text() == "frame 3"
    assert page.evaluate(times) == pytest.approx([3.5 / 24] * 2, abs=1e-3)

    page.locator("#play").click()
    page.wait_for_function("document.getElementById('frame').value === 'frame 1'")  # round the end
    page.locator("#play").click()
    assert page.locator("#play").inner_text() == "play"
    assert len({round(time, 4) for time in page.evaluate(times)}) == 1
    assert complaints == []


def test_error_maps_average_to_the_surface_error(runs):
    for run in runs.values():
        frames = np.stack(list(run.frames))
        maps = adjacent_errors(run)
        assert len(maps) == len(frames) - 1
        known = np.concatenate([error[~np.isnan(error)] for error in maps])
        expected = surface_error(frames, run.clip.tracker)
        assert known.mean() == pytest.approx(expected, rel=1e-5)


def test_figures_are_found_by_their_keys():
    assert look_up(MEASURED, "surface_error.first") == 0.2
    assert look_up(MEASURED, "texel_std") is None
