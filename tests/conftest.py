"""What tests of more than one folder need."""

import shutil
from collections.abc import Iterator
from typing import Any

import pretend_gpu
import pytest
import torch
from warm import make_workers_warm

pytest_plugins = ["pipelines"]

_GPUS = [name for name, gpu in (("cuda", torch.cuda), ("mps", torch.backends.mps)) if gpu.is_available()]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes minutes and repeats what quicker tests check in small is run only by `-m nightly`."""
    if "nightly" not in config.option.markexpr:
        nightly = [item for item in items if item.get_closest_marker("nightly")]
        config.hook.pytest_deselected(items=nightly)
        items[:] = [item for item in items if item not in nightly]


@pytest.fixture(autouse=True)
def _same_chance() -> None:
    """Weights and pictures that a test draws are the same whatever ran before it, and in which process."""
    torch.manual_seed(0)


@pytest.fixture
def warm_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers of this machine are copies of a process that has loaded the libraries."""
    make_workers_warm(monkeypatch)


@pytest.fixture(scope="module", params=_GPUS or [pretend_gpu.NAME])
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """Each device beside the CPU, or one that is pretended."""
    if request.param == pretend_gpu.NAME:
        if not pretend_gpu.IS_POSSIBLE:
            pytest.skip("there is no GPU, and this PyTorch cannot have devices that are written in Python")
        with pretend_gpu.pretended() as pretended:
            yield pretended
        return
    # Convolutions as exact as on the CPU; by default CUDA rounds what they multiply to 10 bits.
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    yield torch.device(request.param)
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()
