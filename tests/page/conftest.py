"""A browser, and servers for it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from page.served_page import ServedPage, until


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedPage]:
    """A server that all tests share which do not end it; each makes its own runs."""
    with ServedPage(tmp_path_factory.mktemp("served") / "studio", "--max-upload-mb", "310") as server:
        yield server


@pytest.fixture(scope="session")
def scene(served: ServedPage) -> str:
    return served.example()


@pytest.fixture(scope="session")
def finished(served: ServedPage, scene: str) -> list[dict[str, Any]]:
    """Two finished runs, one of them about something purple. No test changes them."""
    made = [served.submit(scene), served.submit(scene, seed=1, prompt="a purple biped on a blue background")]
    return [served.wait_for(run) for run in made]


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens an address in a window of its own, which must not have complained, but for what is `forgiven`."""
    windows, complaints = [], list[str]()
    # What a browser says of pictures of a run that has just begun.
    forgiven = ["404 (Not Found)"]

    def open_window(address: str, width: int = 1280, height: int = 900, scheme: str = "light") -> Any:
        window = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True
        )
        windows.append(window)
        page = window.new_page()
        page.set_default_timeout(30_000)

        def note(message: Any) -> None:
            if message.type == "error":
                complaints.append(message.text)

        page.on("console", note)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: (
                request.url.startswith((address.split("#")[0], "blob:", "data:"))
                or complaints.append(request.url)
            ),
        )
        page.goto(address)
        page.wait_for_selector("main h1", state="attached")
        return page

    open_window.forgiven = forgiven  # pyright: ignore[reportFunctionMemberAccess]
    yield open_window
    for window in windows:
        window.close()
    assert [text for text in complaints if not any(words in text for words in forgiven)] == []


@pytest.fixture
def workspace(opened: Callable[..., Any], served: ServedPage, scene: str) -> Callable[..., Any]:
    """Opens the page to work in with the example in it."""

    def open_workspace(**given: Any) -> Any:
        page = opened(f"{served.address}/", **given)
        page.evaluate(
            "draft => localStorage.setItem('genrender-draft', JSON.stringify(draft))",
            {"scene": scene, "settings": {"prompt": ""}, "from": None},
        )
        page.reload()
        until(page, "document.querySelector('.viewer canvas')?.dataset.frame === '0'")
        return page

    return open_workspace
