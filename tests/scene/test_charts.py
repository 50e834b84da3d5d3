"""Charts that lie over each other in one atlas get textures of their own; everything else is left alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrender.config import NoiseConfig
from genrender.gbuffer.raycast import render_gbuffer
from genrender.noise.initial import surface_noise
from genrender.scene.camera import Camera
from genrender.scene.procedural.primitives import box, merge, sphere, torus
from genrender.scene.uv.charts import MAX_TEXTURES, atlas_ids
from genrender.scene.uv.quality import overlap_percent

END_ID = 16382
CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
QUAD = np.array([[0, 1, 2], [0, 2, 3]], np.int32)


def atlases(tris: np.ndarray, uvs: np.ndarray, object_id: np.ndarray) -> np.ndarray:
    """With every vertex in a place of its own."""
    verts = np.arange(3 * (tris.max() + 1), dtype=np.float32).reshape(-1, 3)
    return atlas_ids(tris, uvs, object_id, verts, END_ID)


def grid(n: int, origin: tuple[float, float], size: float) -> tuple[np.ndarray, np.ndarray]:
    """Triangles and corner UVs of n x n cells that fill a square of the atlas."""
    index = np.arange((n + 1) ** 2).reshape(n + 1, n + 1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    tris = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    y, x = np.mgrid[: n + 1, : n + 1] / n * size
    uv = np.stack([x + origin[0], y + origin[1]], -1).reshape(-1, 2)
    return tris.astype(np.int32), uv[tris].astype(np.float32)


def joined(*parts: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    starts = np.cumsum([0, *[tris.max() + 1 for tris, _ in parts]])
    tris = np.concatenate([tris + start for (tris, _), start in zip(parts, starts, strict=False)])
    return tris.astype(np.int32), np.concatenate([uvs for _, uvs in parts])


def test_charts_side_by_side_share_the_objects_texture():
    tris, uvs = joined(grid(4, (0, 0), 0.45), grid(4, (0.5, 0), 0.45), grid(4, (0, 0.5), 0.45))
    ids = np.full(len(tris), 7, np.int32)
    np.testing.assert_array_equal(atlases(tris, uvs, ids), ids)


def test_charts_over_each_other_are_dealt_to_as_few_textures_as_keep_them_apart():
    """Two pairs of charts; within a pair both lie in one place. Two textures are enough for the four."""
    place = [grid(4, (0, 0), 0.45), grid(4, (0.5, 0), 0.45)]
    tris, uvs = joined(*place, *place)
    atlas = atlases(tris, uvs, np.full(len(tris), 2, np.int32))
    of_chart = [set(part.tolist()) for part in np.split(atlas, 4)]
    assert all(len(ids) == 1 for ids in of_chart)
    assert of_chart[0] != of_chart[2]
    assert of_chart[1] != of_chart[3]
    assert set().union(*of_chart) == {1, 2}  # its own, and the lowest that no object has


def test_a_mirrored_half_that_hangs_on_the_other_gets_a_texture_of_its_own():
    tris, uvs = grid(4, (0, 0), 1.0)
    folded = uvs.copy()
    folded[..., 0] = np.where(folded[..., 0] > 0.5, 1 - folded[..., 0], folded[..., 0])
    atlas = atlases(tris, folded, np.ones(len(tris), np.int32))
    is_right = uvs[..., 0].mean(1) > 0.5
    assert len(set(atlas[is_right].tolist())) == 1
    assert len(set(atlas[~is_right].tolist())) == 1
    assert atlas[is_right][0] != atlas[~is_right][0]


def test_objects_do_not_disturb_each_other():
    """Two objects may point into the same place: their textures are different ones anyway."""
    tris, uvs = joined(grid(3, (0, 0), 1.0), grid(3, (0, 0), 1.0))
    ids = np.repeat(np.array([1, 5], np.int32), len(tris) // 2)
    np.testing.assert_array_equal(atlases(tris, uvs, ids), ids)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_within_a_texture_charts_hardly_overlap(seed: int, n_charts: int):
    """Random squares in random places. What remains is the tolerance: a twentieth of the smaller chart."""
    rng = np.random.default_rng(seed)
    sizes = rng.uniform(0.1, 0.5, n_charts)
    parts = [grid(2, tuple(rng.uniform(0, 1 - size, 2)), size) for size in sizes]
    tris, uvs = joined(*parts)
    atlas = atlases(tris, uvs, np.ones(len(tris), np.int32))
    for chart in np.split(atlas, n_charts):
        assert len(set(chart.tolist())) == 1
    for texture in np.unique(atlas):
        assert overlap_percent(uvs[atlas == texture], 256) <= 7.0


def test_our_own_primitives_need_one_texture():
    part = merge([sphere(), box(), torus()])
    ids = np.ones(len(part.tris), np.int32)
    uvs = part.uvs[part.tris].astype(np.float32)
    np.testing.assert_array_equal(atlas_ids(part.tris.astype(np.int32), uvs, ids, part.verts, END_ID), ids)


def test_triangles_hang_together_by_their_places_not_by_their_indices():
    """A mirrored sphere whose triangles share no vertex is two charts, not hundreds."""
    part = sphere()
    uvs = part.uvs[part.tris].astype(np.float32)
    uvs[..., 0] = np.where(uvs[..., 0].mean(1, keepdims=True) > 0.5, 1 - uvs[..., 0], uvs[..., 0])
    loose = np.arange(3 * len(part.tris), dtype=np.int32).reshape(-1, 3)
    ids = np.ones(len(part.tris), np.int32)
    whole = atlas_ids(part.tris.astype(np.int32), uvs, ids, part.verts, END_ID)
    np.testing.assert_array_equal(
        atlas_ids(loose, uvs, ids, part.verts[part.tris].reshape(-1, 3), END_ID), whole
    )
    assert set(whole.tolist()) == {1, 2}


def test_thousands_of_leaves_with_one_picture_get_few_textures():
    n_leaves = 3000
    tris, uvs = joined(*[(QUAD, CORNERS[QUAD])] * n_leaves)
    atlas = atlases(tris, uvs, np.ones(2 * n_leaves, np.int32))
    assert len(np.unique(atlas)) == MAX_TEXTURES
    assert (atlas[::2] == atlas[1::2]).all()


def test_where_no_id_is_left_the_objects_own_texture_serves():
    tris, uvs = joined(*[(QUAD, CORNERS[QUAD])] * 4)
    verts = np.arange(48, dtype=np.float32).reshape(-1, 3)
    atlas = atlas_ids(tris, uvs, np.full(8, 2, np.int32), verts, 4)
    assert set(atlas.tolist()) == {1, 2, 3}


@pytest.mark.parametrize("mode", ["nearest", "partition", "bridge"])
def test_noise_does_not_repeat_where_charts_share_texels(mode):
    """Two walls with the same texture coordinates fill the two halves of the picture."""
    left = np.array([[-1, -1, 0], [0, -1, 0], [0, 1, 0], [-1, 1, 0]], np.float32)
    verts = np.concatenate([left, left + np.float32([1, 0, 0])])
    tris = np.concatenate([QUAD, QUAD + 4]).astype(np.int32)
    uvs = np.concatenate([CORNERS[QUAD]] * 2)
    object_id = np.ones(4, np.int32)
    yfov_deg = float(2 * np.rad2deg(np.arctan(1 / 2.5)))
    camera = Camera.look_at(np.array([0.0, 0, 2.5]), np.zeros(3), yfov_deg=yfov_deg)

    def halves(atlas_id):
        gbuffer = render_gbuffer(verts, tris, uvs, object_id, camera, 128, 128, atlas_id)
        noise = [surface_noise([gbuffer], 4, 8, seed, NoiseConfig(mode))[0].numpy() for seed in range(8)]
        return np.split(np.stack(noise), 2, axis=-1)

    one, other = halves(atlas_ids(tris, uvs, object_id, verts, END_ID))
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 4 / one.size**0.5
    if mode == "nearest":
        np.testing.assert_array_equal(*halves(None))
