"""Makes the pictures of docs/page.md, and the clip above them: the page at work in a real browser.

    python tools/page_pictures.py                  # everything
    python tools/page_pictures.py --only clip      # docs/pictures/clips/page.webp

Takes some minutes, and Chromium.
"""

import io
import math
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import tyro
from commands import ROOT
from gallery import CLIPS, write_loop
from PIL import Image, ImageDraw
from playwright.sync_api import ViewportSize, sync_playwright

FOLDER = ROOT / "docs" / "pictures" / "page"
SCENES = ROOT / "examples" / "scenes"
WALKING_BIPED = SCENES / "walking_biped.glb"
WIDE: ViewportSize = {"width": 1360, "height": 850}
PHONE: ViewportSize = {"width": 390, "height": 844}
# The clip is small on its page: its window, and how much smaller it is shown.
FILMED: ViewportSize = {"width": 1120, "height": 700}
FILM_PX = (880, 550)
N_FRAMES = 16
PROMPT = "a red and white striped biped on a green background"
POINTER = ((0, 0), (0, 17), (4, 13), (7, 19), (10, 18), (7, 12), (12, 12))
RUNS = (
    ("a blue and yellow checkered biped on a white background", "4"),
    ("a spotted orange biped on a blue background", "2"),
    ("a wooden biped on a green background", "3"),
)


class Camera:
    """Writes what a page shows."""

    def __init__(self, page: Any, folder: Path) -> None:
        self.page = page
        self.folder = folder

    def take(self, name: str) -> None:
        self.page.wait_for_timeout(700)
        self.page.screenshot(path=self.folder / f"{name}.jpg", type="jpeg", quality=78)


class Film:
    """What a page shows, picture after picture, with the pointer that a picture of a page lacks."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.pictures: list[Image.Image] = []
        self.durations_ms: list[int] = []
        self.pointer: tuple[float, float] | None = None

    def take(self, ms: int) -> None:
        """One picture, which stays so long."""
        seen = Image.open(io.BytesIO(self.page.screenshot(type="png"))).convert("RGB")
        shown = seen.resize(FILM_PX, Image.Resampling.LANCZOS)
        if self.pointer is not None:
            x, y = (at * FILM_PX[0] / FILMED["width"] for at in self.pointer)
            arrow = [(x + right, y + down) for right, down in POINTER]
            ImageDraw.Draw(shown).polygon(arrow, fill=(255, 255, 255), outline=(0, 0, 0))
        self.pictures.append(shown)
        self.durations_ms.append(ms)

    def move(self, x: float, y: float) -> None:
        self.pointer = (x, y)
        self.page.mouse.move(x, y)

    def click(self, thing: Any) -> None:
        """Shows the pointer on what is clicked."""
        box = thing.bounding_box()
        self.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        self.take(500)
        thing.click()


def main(only: Literal["clip", "pictures"] | None = None) -> None:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        if only != "pictures":
            with served() as address:
                made = film(browser, address)
            size = write_loop(CLIPS / "page.webp", made.pictures, made.durations_ms)
            print(f"clip: {len(made.pictures)} pictures, {size / 1e3:.0f} kB")
        if only != "clip":
            with served() as address:
                photograph(browser, address, FOLDER)
        browser.close()


@contextmanager
def served() -> Iterator[str]:
    """The address of a server of its own."""
    with tempfile.TemporaryDirectory() as studio:
        words = ["-u", "-m", "genrender", "serve", "--folder", studio, "--port", "0"]
        server = subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, encoding="utf-8")
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+", server.stdout.readline())
            assert found is not None
            yield found[0]
        finally:
            server.terminate()
            server.wait()


def film(browser: Any, address: str) -> Film:
    """From a file to a video that is compared with its depth, without the waiting."""
    page = browser.new_context(viewport=FILMED, color_scheme="dark").new_page()
    page.set_default_timeout(600_000)
    made = Film(page)
    page.goto(address)
    page.get_by_role("button", name="Choose a file").wait_for()
    made.take(900)
    page.set_input_files("#scene-file", str(WALKING_BIPED))
    page.locator(".viewer canvas[data-frame='0']").wait_for()
    page.wait_for_timeout(1500)
    made.take(900)
    _turn(made)
    _ask(made)
    _watch(made)
    _compare(made)
    return made


def _turn(made: Film) -> None:
    """Drags the picture, each step drawn before the next one is taken."""
    page = made.page
    box = page.locator(".viewer canvas").bounding_box()
    x, y = box["x"] + 0.62 * box["width"], box["y"] + 0.45 * box["height"]
    made.move(x, y)
    page.mouse.down()
    for step in range(1, 10):
        made.move(x - 9 * step, y + 2 * step)
        page.wait_for_timeout(700)
        made.take(110)
    page.mouse.up()
    made.take(500)
    made.pointer = None


def _ask(made: Film) -> None:
    page = made.page
    prompt = page.get_by_label("Prompt", exact=True)
    prompt.fill("")
    for at in range(0, len(PROMPT), 5):
        prompt.press_sequentially(PROMPT[at : at + 5])
        page.wait_for_timeout(150)
        made.take(90)
    page.keyboard.press("Tab")
    page.get_by_label("Frames", exact=True).fill(str(N_FRAMES))
    page.locator(".start-bar .estimate", has_text="about").wait_for()
    page.wait_for_timeout(1000)
    made.take(800)
    made.click(page.get_by_role("button", name="Make the video"))
    made.pointer = None


def _watch(made: Film) -> None:
    """Every look at the frames that the run gives on its way."""
    page, seen = made.page, None
    page.locator(".live:visible, article.result").first.wait_for()
    while not page.locator("article.result").is_visible():
        picture = page.locator(".live:visible")
        now = picture.get_attribute("src") if picture.count() else seen
        if now != seen:
            seen = now
            page.wait_for_timeout(300)
            made.take(350)
        page.wait_for_timeout(100)


def _compare(made: Film) -> None:
    """The result beside its depth, frame by frame, and wiped."""
    page = made.page
    page.locator("article.result").wait_for()
    page.get_by_label("Compare with").select_option("depth")
    page.locator(".pair canvas[data-frame='0']").nth(1).wait_for()
    pair = page.locator(".pair")
    pair.scroll_into_view_if_needed()
    pair.focus()
    box = pair.locator("canvas").first.bounding_box()
    y = box["y"] + box["height"] / 2
    for step in range(32):
        share = 0.5 + 0.45 * math.sin(2 * math.pi * step / 32)
        made.move(box["x"] + share * box["width"], y)
        page.mouse.down()
        page.mouse.up()
        page.wait_for_timeout(100)
        made.take(90)
        page.keyboard.press("ArrowRight" if step % N_FRAMES < N_FRAMES - 1 else "Home")
        page.locator(f".pair canvas[data-frame='{(step + 1) % N_FRAMES}']").nth(1).wait_for()
    made.pointer = None
    made.take(700)


def photograph(browser: Any, address: str, folder: Path) -> None:
    """Goes through the page as somebody would who sees it for the first time."""
    page = browser.new_context(viewport=WIDE, color_scheme="dark").new_page()
    page.set_default_timeout(600_000)
    camera = Camera(page, folder)
    page.goto(address)
    page.get_by_role("button", name="Choose a file").wait_for()

    page.set_input_files("#scene-file", str(SCENES / "still_life.glb"))
    page.locator(".viewer canvas[data-frame='0']").wait_for()
    page.get_by_role("radio", name="Objects").check(force=True)
    page.wait_for_timeout(1000)
    page.locator(".viewer canvas").click()
    camera.take("objects")

    page.get_by_role("button", name="Other scene").click()
    page.set_input_files("#scene-file", str(WALKING_BIPED))
    page.locator("h2", has_text="walking_biped").wait_for()
    page.get_by_label("Prompt", exact=True).fill("a red and white striped biped on a green bakground")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="try background").wait_for()
    page.get_by_label("Frames", exact=True).fill("12")
    page.locator(".start-bar .estimate", has_text="about").wait_for()
    page.mouse.move(1200, 400)
    page.mouse.wheel(0, -1000)  # filling in a field has scrolled the page
    camera.take("making")
    page.get_by_role("button", name="try background").click()
    page.wait_for_timeout(1000)
    page.get_by_role("button", name="Try four seeds").click()
    page.locator("img.sheet").wait_for()
    camera.take("seeds")
    page.get_by_role("button", name="Seed 0").click()
    page.locator("img.sheet").wait_for(state="detached")
    page.locator(".live:visible, article.result").first.wait_for()
    camera.take("running")
    page.locator("article.result").wait_for()
    result = page.url
    page.get_by_label("Compare with").select_option("depth")
    page.locator(".pair canvas[data-frame='0']").first.wait_for()
    camera.take("comparing")
    page.get_by_role("button", name="What could be better?").click()
    page.locator(".symptoms li").first.wait_for()
    page.get_by_role("button", name="Measure").click()
    page.locator("td.value").first.wait_for()
    page.locator(".symptoms").scroll_into_view_if_needed()
    camera.take("advice")
    page.get_by_label("Frames with alpha").check()
    page.get_by_label("Video with alpha").check()
    page.get_by_role("button", name="Make these files").click()
    page.get_by_role("link", name="Video with alpha").wait_for()

    for prompt, seed in RUNS:
        page.goto(f"{address}/#make")
        page.get_by_label("Prompt", exact=True).fill(prompt)
        page.get_by_label("Seed", exact=True).fill(seed)
        page.get_by_role("radio", name="Fast").check(force=True)
        page.wait_for_timeout(1500)
        page.get_by_role("button", name="Make the video").click()
        page.locator("article.run").wait_for()
    page.goto(f"{address}/#gallery")
    page.locator(".run-card progress:visible").first.wait_for(state="detached")
    page.locator(".run-card", has_text="Compare").nth(3).wait_for()
    camera.take("gallery")

    page = browser.new_context(viewport=PHONE, color_scheme="light").new_page()
    camera = Camera(page, folder)
    page.goto(result)
    page.locator("article.result").wait_for()
    page.get_by_role("button", name="Change its settings").click()
    page.locator(".viewer canvas[data-frame='0']").wait_for()
    page.locator(".start-bar .estimate", has_text="about").wait_for()
    camera.take("phone")


if __name__ == "__main__":
    tyro.cli(main)
