"""From a file to a video, as somebody who never saw the command line makes one."""

import io
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
from page.served_page import BIPED, until

pytestmark = pytest.mark.slow

# Whether what a canvas shows is a file of the server, pixel for pixel.
SHOWS = """async ([index, address]) => {
  const canvas = document.querySelectorAll(".pair canvas")[index];
  const bitmap = await createImageBitmap(await (await fetch(address)).blob());
  const other = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  other.drawImage(bitmap, 0, 0);
  const seen = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const expected = other.getImageData(0, 0, bitmap.width, bitmap.height).data;
  return seen.length === expected.length && seen.every((value, i) => value === expected[i]);
}"""
SHOWN = "frame => [...document.querySelectorAll('.pair canvas')].every(c => c.dataset.frame === frame)"
CAMERA = "JSON.parse(localStorage.getItem('genrender-draft')).settings.camera"
PIXELS = "canvas => canvas.toDataURL()"


def test_a_file_becomes_a_video(opened, served):
    page = opened(f"{served.address}/")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a file").click()
    chooser.value.set_files(str(BIPED))
    until(page, "document.querySelector('.viewer canvas')?.dataset.frame === '0'")
    assert page.locator("h2", has_text="walking_biped.glb").is_visible()
    assert page.get_by_text("Texture coordinates are fine", exact=True).is_visible()

    _drag_the_picture(page)
    assert page.get_by_label("Camera", exact=True).input_value() == "my view"
    _move_the_camera(page)

    prompt = page.get_by_label("Prompt", exact=True)
    prompt.fill("a red biped on a gre")
    prompt.press_sequentially("e")
    page.get_by_role("option", name="green").wait_for()
    prompt.press("ArrowDown")
    prompt.press("Enter")
    prompt.press_sequentially("bakground ")
    page.get_by_role("button", name="try background").click()
    assert prompt.input_value().strip() == "a red biped on a green background"

    page.get_by_label("Frames", exact=True).fill("4")
    page.get_by_label("Picture size").fill("64")
    page.get_by_label("Steps", exact=True).fill("2")
    page.get_by_text(re.compile("4 frames of 64 . 64, 2 steps")).wait_for()
    page.get_by_role("button", name="Make the video").click()
    page.wait_for_selector("article.run")
    assert page.get_by_role("heading", name="a red biped on a green background").is_visible()

    page.wait_for_selector("article.result", timeout=120_000)
    until(page, "(v => v.readyState >= 2 && v.currentTime > 0)(document.querySelector('video'))")
    until(page, "document.querySelector('video').loop")
    run = page.url.split("#run/")[1]
    _compare(page, f"{served.address}/api/runs/{run}")
    _download(page)


def _drag_the_picture(page: Any) -> None:
    canvas = page.locator(".viewer canvas")
    before = canvas.evaluate(PIXELS)
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, 6):
        page.mouse.move(x + 20 * step, y + 4 * step)
    page.mouse.up()
    page.get_by_role("button", name="Back to the camera").wait_for()
    assert canvas.evaluate(PIXELS) != before
    dragged = page.evaluate(CAMERA)
    page.mouse.wheel(0, 300)
    until(page, f"before => JSON.stringify({CAMERA}) !== JSON.stringify(before)", dragged)
    away = [
        sum((a - b) ** 2 for a, b in zip(one["eye"], one["target"], strict=True))
        for one in (dragged, page.evaluate(CAMERA))
    ]
    assert away[1] > away[0]  # the wheel goes back


def _move_the_camera(page: Any) -> None:
    """One view at the beginning, another one at the end, and the first is seen again where it was kept."""
    canvas, slider = page.locator(".viewer canvas"), page.locator(".viewer input[type=range]")
    page.get_by_role("button", name="Move the camera").click()
    page.get_by_text("Go to another moment and drag").wait_for()
    first = canvas.evaluate(PIXELS)
    slider.fill(slider.get_attribute("max"))
    until(page, f"document.querySelector('.viewer canvas').dataset.frame === '{slider.get_attribute('max')}'")
    canvas.press("ArrowLeft")
    until(page, f"{CAMERA}.length === 2")
    begin, end = page.evaluate(CAMERA)
    assert begin["time"] < end["time"]
    assert begin["eye"] != end["eye"]
    page.get_by_role("button", name="0.00 s", exact=True).click()
    until(page, "first => document.querySelector('.viewer canvas').toDataURL() === first", first)


def _compare(page: Any, run: str) -> None:
    """Both sides show the same frame at every step, to the pixel."""
    for kind, frames in (("depth", (1, 2)), ("uv", (1,))):
        page.get_by_label("Compare with").select_option(kind)
        page.wait_for_selector(".pair canvas[data-frame='0']")
        page.locator(".pair").focus()
        for frame in frames:
            page.keyboard.press("ArrowRight")
            until(page, SHOWN, str(frame))
            assert page.evaluate(SHOWS, [0, f"{run}/frames/{frame}.png"])
            assert page.evaluate(SHOWS, [1, f"{run}/{kind}/{frame}.png"])
    page.get_by_role("radio", name="Side by side").check(force=True)
    left, right = (page.locator(".pair canvas").nth(side).bounding_box() for side in (0, 1))
    assert left["x"] + left["width"] <= right["x"] + 1


def _download(page: Any) -> None:
    def fetch(name: str) -> tuple[str, bytes]:
        with page.expect_download() as download:
            page.get_by_role("link", name=name).click()
        return download.value.suggested_filename, Path(download.value.path()).read_bytes()

    name, video = fetch("Video (MP4)")
    assert name.endswith(".mp4")
    assert video[4:8] == b"ftyp"
    _, frames = fetch("Frames (PNG)")
    assert sum(one.endswith(".png") for one in zipfile.ZipFile(io.BytesIO(frames)).namelist()) == 4
    _, passes = fetch("Passes (EXR)")
    assert sum(one.endswith(".exr") for one in zipfile.ZipFile(io.BytesIO(passes)).namelist()) == 4


def test_what_the_viewer_shows_is_what_the_model_gets(workspace, served, scene):
    page = workspace()
    page.get_by_label("Picture size").fill("64")
    page.get_by_label("Frames", exact=True).fill("4")
    page.get_by_label("Camera", exact=True).select_option("orbit")
    page.get_by_role("radio", name="Depth").check(force=True)
    page.get_by_label("model's pixels").check()
    page.get_by_role("button", name="One frame on").click()
    until(page, "(c => c.width === 64 && c.dataset.frame === '1')(document.querySelector('.viewer canvas'))")
    run = served.wait_for(served.submit(scene, camera="orbit"))
    shown = """async address => {
      const seen = document.querySelector(".viewer canvas");
      const bitmap = await createImageBitmap(await (await fetch(address)).blob());
      const other = new OffscreenCanvas(64, 64).getContext("2d");
      other.drawImage(bitmap, 0, 0);
      const [a, b] = [seen.getContext("2d"), other].map(c => c.getImageData(0, 0, 64, 64).data);
      return Math.max(...a.map((value, i) => Math.abs(value - b[i])));
    }"""
    assert page.evaluate(shown, f"{served.address}/api/runs/{run['id']}/depth/1.png") <= 1


def test_an_object_that_is_clicked_gets_words_of_its_own(workspace):
    page = workspace()
    page.locator(".viewer canvas").click()
    words = page.get_by_label("What “biped” shows")
    words.wait_for()
    words.fill("a blue biped")
    page.reload()
    page.wait_for_selector(".objects summary")
    assert page.locator(".objects .said").inner_text() == "a blue biped"


def test_passes_of_other_software_are_a_scene(opened, served, finished, tmp_path):
    passes = tmp_path / "passes.zip"
    passes.write_bytes(served.ask("GET", f"runs/{finished[0]['id']}/exr.zip"))
    page = opened(f"{served.address}/")
    page.set_input_files("#scene-file", str(passes))
    until(page, "document.querySelector('.viewer canvas')?.dataset.frame === '0'")
    assert page.get_by_text("EXR passes · 4 frames").is_visible()
    page.locator(".viewer canvas").click()
    page.get_by_label("What “", exact=False).fill("a blue biped")
    page.get_by_label("Prompt", exact=True).fill("a red biped on a green background")
    page.get_by_text(re.compile("4 frames of 64 . 64")).wait_for()
    assert page.get_by_role("button", name="Make the video").is_enabled()


def test_one_of_four_seeds_becomes_a_video_and_gets_alpha(opened, served, scene):
    sheet = served.submit(scene, seeds="2-5")
    served.wait_for(sheet)
    page = opened(f"{served.address}/#run/{sheet}")
    page.locator("img.sheet").wait_for()
    until(page, "() => document.querySelector('img.sheet').naturalHeight > 4 * 192")
    page.get_by_role("button", name="Seed 4").click()
    until(page, "id => !location.hash.includes(id)", sheet)
    made = page.url.split("#run/")[1]
    served.wait_for(made)
    page.locator("article.result video").wait_for()
    extras = page.locator(".extras")
    make = extras.get_by_role("button", name="Make these files")
    assert make.is_disabled()
    extras.get_by_label("Frames with alpha").check()
    make.click()
    link = extras.get_by_role("link", name="Frames with alpha")
    link.wait_for(timeout=120_000)
    assert page.locator("article.result video").is_visible()
    with page.expect_download() as downloading:
        link.click()
    with zipfile.ZipFile(downloading.value.path()) as packed:
        assert len(packed.namelist()) == 4
    run = served.ask("GET", f"runs/{made}")
    assert (run["seed"], run["state"], run["also"]) == (4, "finished", ["alpha"])


def test_the_advice_can_be_followed_by_a_button(opened, served, finished):
    page = opened(f"{served.address}/#run/{finished[0]['id']}")
    page.get_by_role("button", name="What could be better?").click()
    page.get_by_text("colour drift").wait_for(timeout=60_000)
    page.get_by_role("button", name="Measure").click()
    page.get_by_text("surface error, adjacent").first.wait_for(timeout=60_000)
    page.get_by_role("button", name="Again with another seed").click()
    until(page, "id => !location.hash.includes(id)", finished[0]["id"])
    made = page.url.split("#run/")[1]
    again = served.wait_for(made)
    assert again["prompt"] == finished[0]["prompt"]
    assert again["seed"] != finished[0]["seed"]
