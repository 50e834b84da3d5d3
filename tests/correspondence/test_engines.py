import pytest
import torch
from scenes import panned_plane

from genrender.config import CorrespondenceConfig
from genrender.correspondence.engines import ENGINES, SurfaceEngine, make_engine
from genrender.correspondence.texture import TextureCorrespondence
from genrender.errors import ConfigError

CLIP = [panned_plane(32)]
CPU = torch.device("cpu")


def test_every_engine_of_the_table_can_blend():
    for name in ENGINES:
        config = CorrespondenceConfig()
        object.__setattr__(config, "engine", name)
        engine = make_engine(CLIP, config, CPU)
        assert isinstance(engine, SurfaceEngine)
        rendered, valid = engine.blend([0], [0], 8, 8, "fill")(torch.ones(1, 2, 8, 8))
        assert rendered.shape == (1, 2, 8, 8)
        assert valid.any()


def test_the_name_decides(monkeypatch: pytest.MonkeyPatch):
    class Other(TextureCorrespondence):
        pass

    monkeypatch.setitem(ENGINES, "texture", Other)
    assert isinstance(make_engine(CLIP, CorrespondenceConfig(), CPU), Other)


def test_an_unknown_engine_is_refused():
    config = CorrespondenceConfig()
    object.__setattr__(config, "engine", "telepathy")
    with pytest.raises(ConfigError, match="unknown correspondence engine 'telepathy', expected texture"):
        make_engine(CLIP, config, CPU)
