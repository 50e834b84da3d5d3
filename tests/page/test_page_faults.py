"""What goes wrong: files, servers, names that are no names."""

from typing import Any

import pytest
from page.served_page import SMALL, ServedPage, until
from scene.gltf_builder import one_triangle

pytestmark = pytest.mark.slow

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
CHOOSER = "#scene-file"


def test_a_broken_file_is_told_in_one_line(opened, served, tmp_path):
    broken = tmp_path / "broken.glb"
    broken.write_bytes(b"glTF\x02\x00\x00\x00 this is none")
    page = opened(f"{served.address}/")
    opened.forgiven.append("422")  # the browser's own line about the status of the answer
    page.set_input_files(CHOOSER, str(broken))
    told = page.locator(".open-told .wrong")
    told.wait_for()
    assert "broken.glb" in told.inner_text()
    assert "Traceback" not in page.content()
    assert page.get_by_role("button", name="Choose a file").is_enabled()


def test_a_file_that_is_too_large_is_not_even_sent(opened, served, tmp_path):
    large = tmp_path / "large.glb"
    with large.open("wb") as file:
        file.truncate(320_000_000)
    page = opened(f"{served.address}/")
    sent: list[str] = []
    page.on("request", lambda request: request.method == "POST" and sent.append(request.url))
    page.set_input_files(CHOOSER, str(large))
    told = page.locator(".open-told .wrong")
    told.wait_for()
    assert "large.glb: is 320 MB large, expected at most 310 MB" in told.inner_text()
    assert sent == []


def test_names_and_prompts_are_never_markup(opened, served, tmp_path):
    made = one_triangle()
    made.doc["nodes"][0]["name"] = HOSTILE
    path = made.save(tmp_path / "hostile.glb")
    page = opened(f"{served.address}/")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    page.set_input_files(CHOOSER, str(path))
    page.wait_for_selector(".objects .name")
    assert page.locator(".objects .name").inner_text() == HOSTILE
    assert page.get_by_text("It has no texture coordinates").is_visible()
    page.get_by_label("Prompt", exact=True).fill(HOSTILE)
    page.get_by_text("The model does not know").wait_for()
    scene = page.evaluate("JSON.parse(localStorage.getItem('genrender-draft')).scene")
    run = served.submit(scene, prompt=HOSTILE)
    served.ask("POST", f"runs/{run}/cancel")
    for place in (f"#run/{run}", "#gallery"):
        page.goto(f"{served.address}/{place}")
        page.get_by_text("<img src=x").first.wait_for()
    assert page.locator("main img[src=x], main script").count() == 0
    assert dialogs == []


def test_a_token_is_asked_for(opened, tmp_path):
    with ServedPage(tmp_path / "studio", "--token", "a secret of ours") as server:
        opened.forgiven.append("401")  # the browser's own line about the first try
        page = opened(f"{server.address}/")
        page.get_by_label("Token").fill("a guess")
        page.keyboard.press("Enter")
        page.get_by_text("That is not the token").wait_for()
        page.get_by_label("Token").fill("a secret of ours")
        page.get_by_role("button", name="Open the page").click()
        page.get_by_role("heading", name="Begin with a scene").wait_for()
        assert "secret" not in page.url
        page.close()  # before the server ends, which it would complain of


def test_a_large_file_that_holds_nothing_is_sent_and_refused(opened, served, tmp_path):
    before = served.ask("GET", "scenes")
    empty = tmp_path / "empty.glb"
    with empty.open("wb") as file:
        file.truncate(300_000_000)
    opened.forgiven.append("422")
    page = opened(f"{served.address}/")
    page.set_input_files(CHOOSER, str(empty))
    told = page.locator(".open-told .wrong")
    told.wait_for(timeout=120_000)
    assert "empty.glb" in told.inner_text()
    assert served.ask("GET", "scenes") == before


def test_a_killed_server_loses_nothing(opened, tmp_path):
    with ServedPage(tmp_path / "studio") as server:
        _kill_and_go_on(opened, server)


def _kill_and_go_on(opened: Any, server: ServedPage) -> None:
    asked = {**SMALL, "steps": 12}
    scene = server.example()
    whole = server.wait_for(server.submit(scene, **asked))
    expected = server.frames(whole)

    run = server.submit(scene, **asked)
    waiting = server.submit(scene, prompt="a blue biped")
    page = opened(f"{server.address}/#run/{run}")
    page.get_by_text("Painting, ").first.wait_for()
    until(page, "document.querySelectorAll('.steps .done').length >= 3")
    opened.forgiven.append("ERR_")
    server.kill()
    page.get_by_text("The server does not answer").wait_for()
    server.begin()
    page.get_by_text("Interrupted; it can go on").first.wait_for()
    page.get_by_role("button", name="Go on from the last step").click()
    page.wait_for_selector("article.result", timeout=120_000)
    assert server.frames(server.wait_for(run)) == expected
    server.wait_for(waiting)
