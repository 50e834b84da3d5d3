"""Makes the pictures of docs/page.md: the page at work on the examples, in a real browser.

    python benchmarks/page_pictures.py docs/pictures/page

Takes some minutes, and Chromium.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import ViewportSize, sync_playwright
from shared import SCENES, WALKING_BIPED

WIDE: ViewportSize = {"width": 1360, "height": 850}
PHONE: ViewportSize = {"width": 390, "height": 844}
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as studio:
        words = ["serve", "--folder", studio, "--port", "0"]
        server = subprocess.Popen(
            [sys.executable, "-u", "-m", "genrender", *words], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            found = re.search(r"http://\S+", server.stdout.readline())
            assert found is not None
            photograph(found[0], folder)
        finally:
            server.terminate()
            server.wait()


def photograph(address: str, folder: Path) -> None:
    """Goes through the page as somebody would who sees it for the first time."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
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
        browser.close()


if __name__ == "__main__":
    main()
