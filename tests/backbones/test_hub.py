"""Hub models: without a network one line, at once; what was fetched before needs none."""

import time

import huggingface_hub.constants
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from genrender.backbones import hub
from genrender.backbones.hub import hub_file, is_reachable
from genrender.backbones.sources import POCKET_FOLDER, video_scale
from genrender.backbones.suggest import _ALIKE, _NEAREST, nearest_word
from genrender.errors import ModelError


def test_a_hub_that_does_not_answer_is_told_at_once(monkeypatch):
    # A port of this machine that nobody listens to.
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    begun_s = time.monotonic()
    with pytest.raises(ModelError, match=r"not on this machine, and http://127\.0\.0\.1:9 cannot be reached"):
        hub_file("nobody/nothing", "unet/config.json")
    assert time.monotonic() - begun_s < 3


def test_a_name_that_takes_forever_to_look_up_is_no_hub(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "PATIENCE_S", -0.4)
    monkeypatch.setattr(hub, "_answers", lambda: time.sleep(1) or True)
    begun_s = time.monotonic()
    assert not is_reachable()
    assert time.monotonic() - begun_s < 0.9


def test_what_is_in_the_cache_needs_no_network(monkeypatch, tmp_path):
    def download(_location, name, revision=None, local_files_only=False):  # noqa: ARG001
        if local_files_only and name == "there":
            return str(tmp_path / name)
        raise LocalEntryNotFoundError("not in the cache")

    monkeypatch.setattr(hub, "hf_hub_download", download)
    monkeypatch.setattr(hub, "is_reachable", lambda: False)
    assert hub_file("somebody/model", "there") == tmp_path / "there"
    with pytest.raises(ModelError, match="not on this machine"):
        hub_file("somebody/model", "elsewhere")


@pytest.mark.filterwarnings("error")
def test_an_address_that_is_none_is_no_hub(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "nonsense")
    assert not is_reachable()


def test_offline_is_offline(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert not is_reachable()


@pytest.mark.parametrize(
    ("size", "scale"), [((128, 128), 4), ((256, 256), 2), ((256, 144), 2), ((512, 512), 1), ((64, 64), 4)]
)
def test_small_models_videos_are_enlarged(size, scale, tmp_path):
    assert video_scale(POCKET_FOLDER, *size) == scale
    assert video_scale(tmp_path, *size) == 1
    assert video_scale(None, *size) == 1


def test_a_word_that_is_unknown_has_a_near_one():
    known = {"yellow", "striped", "person", "red"}
    assert [nearest_word(word, known) for word in ("golden", "strippd", "man", "dragon")] == [
        "yellow",
        "striped",
        "person",
        None,
    ]
    assert nearest_word("golden", {"green"}) is None  # what is meant is not known either


def test_no_word_stands_for_two():
    assert len(_NEAREST) == sum(len(words.split()) for words in _ALIKE.values())
