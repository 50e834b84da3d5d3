"""The reproject engine against a slow obvious reference, and its laws."""

from functools import cache

import numpy as np
import pytest
import torch
from scenes import ball_behind_slab

from genrender.config import CorrespondenceConfig
from genrender.correspondence.engines import make_engine
from genrender.correspondence.gather import FeatureMap
from genrender.correspondence.reproject import ReprojectCorrespondence
from genrender.errors import ConfigError
from genrender.surface.tracking import SurfaceTracker

SIZE, MAP = 96, 12
PLAIN = CorrespondenceConfig("reproject", fill_order="sequence", restore_spread=False)


@cache
def moving_scene():
    gbuffers, *geometry = ball_behind_slab(5, 0.12, SIZE)
    return SurfaceTracker(gbuffers, *geometry), *geometry


def engine(config=PLAIN):
    return ReprojectCorrespondence(moving_scene()[0], config)


def surface_features(frame, size=MAP):
    """A smooth function of where each feature pixel's surface point lay at the clip's beginning."""
    tracker, tris, verts, _ = moving_scene()
    gbuffer = tracker.gbuffers[frame]
    centre = np.arange(size) * SIZE // size + SIZE // size // 2
    rows, cols = centre[:, None], centre
    second, third = np.moveaxis(gbuffer.bary[rows, cols], 2, 0)[..., None].astype(np.float64)
    corners = verts[0][tris[gbuffer.tri_id[rows, cols]]]
    point = (
        (1 - second - third) * corners[..., 0, :] + second * corners[..., 1, :] + third * corners[..., 2, :]
    )
    value = np.where(gbuffer.visible[rows, cols][..., None], np.sin(2 * point), 0.0)
    return torch.from_numpy(value).permute(2, 0, 1).float(), torch.from_numpy(gbuffer.visible[rows, cols])


def test_a_frame_is_its_own_image_to_the_bit():
    features = torch.randn(1, 5, MAP, MAP, generator=torch.Generator().manual_seed(0))
    rendered, valid = engine().blend([2], [2], FeatureMap(MAP, MAP), "fill")(features)
    _, visible = surface_features(2)
    assert torch.equal(valid[0], visible)
    assert torch.equal(rendered[0][:, visible], features[0][:, visible])
    assert not rendered[0][:, ~visible].any()


@pytest.mark.parametrize("rule", ["fill", "mean", "paper"])
def test_a_constant_feature_stays_constant(rule):
    features = torch.full((3, 2, MAP, MAP), 0.7)
    blend = engine(CorrespondenceConfig("reproject")).blend(
        [0, 2, 4], [0, 1, 2, 3, 4], FeatureMap(MAP, MAP), rule
    )
    rendered, valid = blend(features)
    assert valid.float().mean() > 0.2
    torch.testing.assert_close(
        rendered[:, :, valid.any(0)][rendered[:, :, valid.any(0)] != 0].mean(), torch.tensor(0.7)
    )
    torch.testing.assert_close(rendered.movedim(1, -1)[valid], torch.full((int(valid.sum()), 2), 0.7))


def test_features_of_the_surface_arrive_at_the_same_surface_point():
    sources = torch.stack([surface_features(frame)[0] for frame in (0, 4)])
    rendered, valid = engine().blend([0, 4], [2], FeatureMap(MAP, MAP), "mean")(sources)
    truth, visible = surface_features(2)
    assert not (valid[0] & ~visible).any()
    assert valid[0].sum() > 0.6 * visible.sum()
    error = (rendered[0] - truth).abs()[:, valid[0]]
    unblended = (sources[0] - truth).abs()[:, valid[0]]
    assert error.mean() < 0.35 * unblended.mean()


def taps(row, col):
    """The four feature pixels around a place given in pixel indices."""
    rows, cols = int(np.floor(row)) + np.array([0, 0, 1, 1]), int(np.floor(col)) + np.array([0, 1, 0, 1])
    return np.clip(rows, 0, MAP - 1), np.clip(cols, 0, MAP - 1)


def test_agrees_with_a_slow_obvious_reference():
    """Pixel by pixel: the point in the world, its place in the keyframe, whether a ray reaches it."""
    tracker, tris, verts, cameras = moving_scene()
    frame, keyframe = 1, 3
    here, there = tracker.gbuffers[frame], tracker.gbuffers[keyframe]
    rows, cols = np.meshgrid(np.arange(MAP), np.arange(MAP), indexing="ij")
    position = torch.from_numpy(np.stack([cols, rows]).astype(np.float32))[None]
    rendered, valid = engine().blend([keyframe], [frame], FeatureMap(MAP, MAP), "fill")(position)
    factor = SIZE // MAP
    under = np.arange(MAP) * factor + factor // 2
    ids, ids_here = (gbuffer.object_id[under[:, None], under] for gbuffer in (there, here))
    n_agreeing = n_seen = 0
    for row in range(MAP):
        for col in range(MAP):
            y, x = row * factor + factor // 2, col * factor + factor // 2
            if not here.visible[y, x]:
                assert not valid[0, row, col]
                continue
            second, third = here.bary[y, x].astype(float)
            corners = verts[keyframe][tris[here.tri_id[y, x]]].astype(float)
            point = (1 - second - third) * corners[0] + second * corners[1] + third * corners[2]
            ((px, py),), (depth,) = cameras[keyframe].project(point[None], SIZE, SIZE)
            in_picture = 0.5 <= px <= SIZE - 0.5 and 0.5 <= py <= SIZE - 0.5
            hit = there.depth[int(py), int(px)] if in_picture else np.inf
            is_near = abs(hit - depth) < 0.03 * depth
            if abs(hit - depth) < 0.15 * depth and not is_near:
                continue  # a grazing surface: what is visible there is a matter of tolerance
            n_seen += 1
            n_agreeing += bool(valid[0, row, col]) == is_near
            if valid[0, row, col] and is_near:
                moved = np.array([px - (x + 0.5), py - (y + 0.5)]) / factor
                moved = np.clip(moved, [-col, -row], [MAP - 1 - col, MAP - 1 - row])  # nothing lies beyond
                found = rendered[0, :, row, col].numpy() - [col, row]
                # Neighbours beyond an outline do not count, which pulls the mean inwards.
                is_inside = ids[taps(row + moved[1], col + moved[0])] == ids_here[row, col]
                assert np.abs(found - moved).max() < (0.01 if is_inside.all() else 1.0)
    assert n_seen > 30
    assert n_agreeing >= 0.93 * n_seen


def test_spread_lost_to_averages_comes_back():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(3, 6, MAP, MAP, generator=generator)
    arguments = ([0, 2, 4], [1, 3], FeatureMap(MAP, MAP), "mean")
    lost, valid = engine().blend(*arguments)(features)
    kept, _ = engine(CorrespondenceConfig("reproject")).blend(*arguments)(features)
    seen = valid.flatten()
    before, after = (x.movedim(1, -1).flatten(0, 2)[seen].std(0).mean() for x in (lost, kept))
    assert before < 0.8
    assert after == pytest.approx(1.0, abs=0.2)


def test_the_engine_needs_geometry():
    gbuffers = moving_scene()[0].gbuffers
    with pytest.raises(ConfigError, match="needs the scene's geometry"):
        make_engine(gbuffers, PLAIN, torch.device("cpu"))
