import numpy as np
import pytest
import torch
from scenes import ball_behind_slab, panned_plane

from genrender.config import CorrespondenceConfig
from genrender.correspondence.engines import SurfaceEngine, make_engine
from genrender.correspondence.gather import FeatureMap
from genrender.correspondence.reproject import ReprojectCorrespondence
from genrender.errors import ConfigError
from genrender.surface.texels import samples_under_pixels
from genrender.surface.tracking import SurfaceTracker

CLIP = [panned_plane(32)]
CPU = torch.device("cpu")


def test_every_engine_can_blend():
    engine = make_engine(CLIP, CorrespondenceConfig("texture"), CPU)
    assert isinstance(engine, SurfaceEngine)
    rendered, valid = engine.blend([0], [0], FeatureMap(8, 8), "fill")(torch.ones(1, 2, 8, 8))
    assert rendered.shape == (1, 2, 8, 8)
    assert valid.any()
    torch.testing.assert_close(rendered, valid[:, None].expand_as(rendered).float())
    assert issubclass(ReprojectCorrespondence, SurfaceEngine)  # see test_reproject.py


@pytest.mark.parametrize("name", ["texture", "reproject"])
def test_what_an_engine_did_before_changes_nothing(name):
    """It remembers what chunks have in common, and nothing that they have not."""
    gbuffers, tris, verts, cameras = ball_behind_slab(n_frames=6, step=0.12)
    tracker = SurfaceTracker(gbuffers, tris, verts, cameras)

    def engine() -> SurfaceEngine:
        config = CorrespondenceConfig(name, side_layers=(("fine", 48), ("coarse", 20)))
        return make_engine(gbuffers, config, CPU, tracker)

    requests = [
        ([0, 3], [1, 2], (12, 12), "paper", "fine"),
        ([0, 3], [4, 5], (12, 12), "paper", "fine"),
        ([1, 5], [4, 5], (12, 12), "paper", "fine"),
        ([3, 0], [4, 5], (12, 12), "fill", "fine"),
        ([0, 3], [4, 5], (6, 8), "paper", "fine"),
        ([0, 3], [4, 5], (12, 12), "mean", "fine"),
        ([0, 3], [4, 5], (12, 12), "paper", "coarse"),
        ([0, 3], [1, 2], (12, 12), "paper", "fine"),
        ([0, 3], [1, 2], (12, 12), "rising", "fine", 0.2),
        ([0, 3], [1, 2], (12, 12), "rising", "fine", 0.9),
    ]
    used, spreads = engine(), set()
    for keyframes, frames, size, rule, layer, *progress in requests:
        features = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
        maps = FeatureMap(*size, layer)
        results = [e.blend(keyframes, frames, maps, rule, *progress)(features)[0] for e in (used, engine())]
        assert torch.equal(*results)
        spreads.add(float(results[0].std()))
    assert len(spreads) >= 8  # the requests do differ


@pytest.mark.parametrize("name", ["texture", "reproject"])
def test_what_a_pixel_of_a_keyframe_shows_is_where_its_feature_arrives(name):
    gbuffers, tris, verts, cameras = ball_behind_slab(n_frames=6, step=0.12)
    config = CorrespondenceConfig(name, restore_spread=False)
    engine = make_engine(gbuffers, config, CPU, SurfaceTracker(gbuffers, tris, verts, cameras))
    blend = engine.blend([0, 3], [0, 2, 5], FeatureMap(12, 12), "paper")
    some = torch.rand(2, 12, 12, generator=torch.Generator().manual_seed(0)) < 0.2
    shown = blend.shows(some)
    assert torch.equal(shown, blend(some[:, None].float())[0][:, 0] > 0)
    assert 0 < shown.sum() < blend.shows(torch.ones_like(some)).sum()


@pytest.mark.parametrize("name", ["texture", "reproject"])
def test_an_engine_tells_which_pixels_show_surface_and_which_of_it_keyframes_show(name):
    gbuffers, tris, verts, cameras = ball_behind_slab(n_frames=6, step=0.12)
    tracker = SurfaceTracker(gbuffers, tris, verts, cameras)
    engine = make_engine(gbuffers, CorrespondenceConfig(name), CPU, tracker)
    blend = engine.blend([0, 3], [0, 5], FeatureMap(12, 16), "paper")
    centres = [samples_under_pixels(gbuffers[frame], (12, 16)) for frame in (0, 5)]
    shown = [gbuffers[frame].visible[centre] for frame, centre in zip((0, 5), centres, strict=True)]
    assert torch.equal(blend.surface, torch.from_numpy(np.stack(shown)))
    assert 0 < blend.surface.sum() < blend.surface.numel()
    seen = blend.shows(torch.ones(2, 12, 16, dtype=torch.bool))
    assert torch.equal(seen, blend(torch.zeros(2, 1, 12, 16))[1])
    assert torch.equal(seen[0], blend.surface[0])
    assert not (seen & ~blend.surface).any()
    assert (blend.surface[1] & ~seen[1]).any()  # what appeared meanwhile


def test_an_unknown_engine_is_refused():
    config = CorrespondenceConfig()
    object.__setattr__(config, "engine", "telepathy")
    with pytest.raises(ConfigError, match="unknown correspondence engine 'telepathy', expected texture or"):
        make_engine(CLIP, config, CPU)
