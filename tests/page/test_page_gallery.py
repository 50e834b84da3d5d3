"""Runs from before: found, compared, deleted and brought back, and the settings in their files."""

import base64
from typing import Any

import pytest
from page.served_page import until

pytestmark = pytest.mark.slow

# Drops a file on the page as a hand does.
DROP = """([name, text]) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name));
  for (const kind of ["dragenter", "dragover", "drop"])
    document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


def test_runs_are_found_by_words(opened, served, finished):
    page = opened(f"{served.address}/#gallery")
    page.get_by_label("Search").fill("purple")
    until(page, "document.querySelectorAll('.run-card').length === 1")
    assert page.locator(".card-name").inner_text() == finished[1]["prompt"]
    page.get_by_label("Search").fill("no such words")
    page.get_by_text("Nothing fits").wait_for()


def test_two_are_compared(opened, served, finished):
    page = opened(f"{served.address}/#gallery")
    for run in finished:
        page.locator(f".run-card:has(a[href='#run/{run['id']}'])").get_by_label("Compare").check()
    page.get_by_role("link", name="Compare").click()
    page.wait_for_selector(".pair canvas[data-frame='0']")
    left, right = (page.locator(".pair canvas").nth(side).evaluate("c => c.toDataURL()") for side in (0, 1))
    assert left != right
    page.get_by_role("slider", name="How much of the left one is seen").fill("20")
    assert page.locator(".pair").evaluate("pair => pair.style.getPropertyValue('--wipe')") == "20%"


def test_what_is_deleted_can_be_brought_back(opened, served, finished):
    run = served.ask("GET", f"runs/{finished[0]['id']}")
    page = opened(f"{served.address}/#gallery")
    card = page.locator(f".run-card:has(a[href='#run/{run['id']}'])")
    card.get_by_role("button", name="Delete").click()
    card.wait_for(state="detached")
    assert served.ask("GET", f"runs/{run['id']}")["state"] == "deleted"
    page.get_by_role("button", name="Undo").click()
    card.wait_for()
    assert served.ask("GET", f"runs/{run['id']}") == run


@pytest.mark.parametrize("name", ["video.mp4", "run.zip"])
def test_a_result_that_is_dropped_gives_its_settings_back(opened, served, finished, name: str):
    run = finished[1]
    file = served.ask("GET", f"runs/{run['id']}/{name}")
    page = opened(f"{served.address}/#gallery")
    page.evaluate(DROP, [name, base64.b64encode(file).decode()])
    page.get_by_text(f"{name}: its settings and its scene are here").wait_for()
    page.wait_for_selector(".viewer canvas")
    until(page, "document.querySelector('.viewer canvas').dataset.frame === '0'")
    assert page.get_by_label("Prompt", exact=True).input_value() == run["prompt"]
    assert page.get_by_label("Seed", exact=True).input_value() == "1"
    assert page.get_by_label("Steps", exact=True).input_value() == "2"


def test_one_look_in_another_shot(opened, served, finished):
    page = opened(f"{served.address}/#run/{finished[0]['id']}")
    page.get_by_role("button", name="Use this look in another shot").click()
    page.wait_for_selector(".viewer canvas")
    page.get_by_text("With the look of").wait_for()
    page.get_by_label("Camera", exact=True).select_option("turntable")
    page.locator(".start-bar .estimate strong").wait_for()
    page.get_by_role("button", name="Make the video").click()
    page.wait_for_selector("article.run")
    made = served.wait_for(page.url.split("#run/")[1])
    assert made["changed"]["camera"] == "turntable"
    assert made["changed"]["appearance_from"] == finished[0]["id"]


def test_same_settings_in_another_scene(opened, served, finished):
    page = opened(f"{served.address}/#run/{finished[1]['id']}")
    page.get_by_role("button", name="Same settings, other scene").click()
    page.get_by_role("button", name="Try the walking figure").click()
    page.wait_for_selector(".viewer canvas")
    assert page.get_by_label("Prompt", exact=True).input_value() == finished[1]["prompt"]
    assert page.get_by_label("Seed", exact=True).input_value() == "1"


def test_what_one_window_asks_for_the_other_one_sees(opened, served, scene):
    pages: list[Any] = [opened(f"{served.address}/#gallery") for _ in range(2)]
    run = served.submit(scene, prompt="a green cone", frames=2, steps=1)
    for page in pages:
        page.locator(f".run-card a.card-name[href='#run/{run}']").wait_for()
    served.wait_for(run)
    for page in pages:
        page.locator(f".run-card:has(a[href='#run/{run}']) >> text=just now").wait_for()
