"""The page for every hand and eye: phone, keyboard, dark and light, screen readers."""

import re
from typing import Any

import pytest

pytestmark = pytest.mark.slow

PLACES = ("", "#gallery", "#run/{run}", "#run/{run}/compare/{other}")
NO_OVERFLOW = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"


def _settled(page: Any) -> None:
    page.wait_for_selector("main h1", state="attached")
    page.wait_for_timeout(400)


def _go(page: Any, served: Any, place: str, finished: list[dict[str, Any]]) -> None:
    page.goto(f"{served.address}/{place.format(run=finished[0]['id'], other=finished[1]['id'])}")
    _settled(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(workspace, served, finished, scheme: str):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = workspace(scheme=scheme)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, background[4:-1].split(","))) > 380) == (scheme == "light")

    def check(what: str) -> None:
        found = axe.run(page).response["violations"]
        serious = [
            f"{what}: {one['id']}: {one['help']}: {one['nodes'][0]['html']}"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        assert serious == []

    for fold in page.locator("details").all():
        fold.evaluate("fold => { fold.open = true; }")
    page.get_by_label("Prompt", exact=True).fill("a strange word")
    page.get_by_text("The model does not know").wait_for()
    check("making")
    page.get_by_role("button", name="Other scene").click()
    page.get_by_role("heading", name="Begin with a scene").wait_for()
    check("beginning")
    for place in PLACES[1:]:
        _go(page, served, place, finished)
        check(place)


def test_on_a_phone_nothing_is_cut_off(workspace, served, finished):
    page = workspace(width=390, height=844)
    assert page.evaluate(NO_OVERFLOW)
    assert page.get_by_role("button", name="Make the video").is_visible()
    for place in PLACES[1:]:
        _go(page, served, place, finished)
        assert page.evaluate(NO_OVERFLOW), place
    page.goto(f"{served.address}/#make")
    page.wait_for_selector(".viewer canvas")
    page.get_by_role("button", name="Other scene").click()
    assert page.evaluate(NO_OVERFLOW)


def test_nothing_jumps(workspace, served, finished):
    """Less moves by itself than what counts as good, 0.1 of the page, from the first moment on."""
    shifts = """() => new Promise((resolve) => {
      new PerformanceObserver((list) => resolve(list.getEntries()
        .filter((one) => !one.hadRecentInput).reduce((sum, one) => sum + one.value, 0)))
        .observe({ type: "layout-shift", buffered: true });
      setTimeout(() => resolve(0), 500);
    })"""
    page = workspace()
    page.locator(".start-bar .estimate").wait_for()
    assert page.evaluate(shifts) < 0.1
    for place in PLACES[1:]:
        page.goto("about:blank")
        _go(page, served, place, finished)
        assert page.evaluate(shifts) < 0.1, place


def test_with_the_keyboard_alone(workspace, served):
    page = workspace()

    def tab_to(name: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            outline = page.evaluate(
                "(e => [getComputedStyle(e), getComputedStyle(e.nextElementSibling ?? e)].some("
                "s => s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2))(document.activeElement)"
            )
            assert outline, page.evaluate("document.activeElement.outerHTML")
            if page.evaluate(
                "(e => e.getAttribute('aria-label') ?? e.labels?.[0]?.textContent ?? e.textContent)"
                "(document.activeElement)"
            ).startswith(name):
                return
        raise AssertionError(f"no {name!r} that the keyboard reaches")

    tab_to("To the content")
    tab_to("Shaded")
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("radio", name="Depth").is_checked()
    tab_to("The scene.")
    before = page.locator(".viewer canvas").evaluate("c => c.toDataURL()")
    page.keyboard.press("ArrowLeft")
    page.get_by_role("button", name="Back to the camera").wait_for()
    assert page.locator(".viewer canvas").evaluate("c => c.toDataURL()") != before
    tab_to("Prompt")
    page.keyboard.type("a red biped ")
    page.get_by_label("Frames", exact=True).fill("2")
    page.get_by_label("Steps", exact=True).fill("1")
    page.get_by_label("Picture size").fill("64")
    page.get_by_text(re.compile("2 frames of 64 . 64, 1 step")).wait_for()
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("article.run")
    served.ask("POST", f"runs/{page.url.split('#run/')[1]}/cancel")


def test_light_and_dark_can_be_chosen(opened, served):
    page = opened(f"{served.address}/", scheme="light")
    page.get_by_role("button", name="Dark colours").click()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    page.reload()
    page.get_by_role("button", name="Light colours").wait_for()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
