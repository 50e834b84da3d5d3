import pytest
import torch
from scenes import panned_plane

from genrender.config import CorrespondenceConfig
from genrender.correspondence.engines import SurfaceEngine, make_engine
from genrender.correspondence.reproject import ReprojectCorrespondence
from genrender.errors import ConfigError

CLIP = [panned_plane(32)]
CPU = torch.device("cpu")


def test_every_engine_can_blend():
    engine = make_engine(CLIP, CorrespondenceConfig("texture"), CPU)
    assert isinstance(engine, SurfaceEngine)
    rendered, valid = engine.blend([0], [0], 8, 8, "fill")(torch.ones(1, 2, 8, 8))
    assert rendered.shape == (1, 2, 8, 8)
    assert valid.any()
    assert issubclass(ReprojectCorrespondence, SurfaceEngine)  # see test_reproject.py


def test_an_unknown_engine_is_refused():
    config = CorrespondenceConfig()
    object.__setattr__(config, "engine", "telepathy")
    with pytest.raises(ConfigError, match="unknown correspondence engine 'telepathy', expected texture or"):
        make_engine(CLIP, config, CPU)
