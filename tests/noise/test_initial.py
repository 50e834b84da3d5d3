"""Laws of mechanism 1. Figures worth seeing are printed: `pytest -s tests/test_noise.py`."""

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch
from scene.whole_scenes import outside, scene_file
from scenes import in_front, panned_plane, rotating_sphere

from genrender.config import NoiseConfig
from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.noise.hashing import hash_key, hashed_normal
from genrender.noise.initial import _fitting_sides, surface_noise, texel_noise
from genrender.surface.texels import join_texel, sample_under_pixel, split_texel, texel_ids

VAE = 8

PARTITION = NoiseConfig("partition")
BRIDGE = NoiseConfig("bridge")
NEAREST = NoiseConfig("nearest")
FIXED = NoiseConfig("fixed")
INDEPENDENT = NoiseConfig("independent")


def two_objects(size: int, angle_deg: float = 0.0) -> GBuffer:
    """A sphere before a plane before the background: silhouettes of every kind."""
    return in_front(rotating_sphere(size, angle_deg, radius=0.5), panned_plane(size, 0.05))


def mirrored(gbuffer: GBuffer) -> GBuffer:
    """The same picture with UVs folded in the middle: two places on the surface share each texel."""
    uv = gbuffer.uv.copy()
    uv[..., 0] = np.abs(uv[..., 0] - 0.5) * 2
    return replace(gbuffer, uv=uv)


def morans_i(z: torch.Tensor) -> torch.Tensor:
    """Correlation of horizontal and vertical neighbours, about 0 for white noise, per picture."""
    height, width = z.shape[-2:]
    z = z - z.mean((-2, -1), keepdim=True)
    across = (z[..., 1:] * z[..., :-1]).sum((-2, -1))
    down = (z[..., 1:, :] * z[..., :-1, :]).sum((-2, -1))
    n_pairs = height * (width - 1) + width * (height - 1)
    return (across + down) / n_pairs / z.square().mean((-2, -1))


@pytest.mark.parametrize("config", [PARTITION, BRIDGE, FIXED, INDEPENDENT], ids=lambda c: c.mode)
@pytest.mark.parametrize("scene", [rotating_sphere, two_objects], ids=lambda s: s.__name__)
def test_every_frame_is_standard_and_white(config, scene):
    # 16 channels of 64x64: the standard error of the deviation and of Moran's I is 0.003.
    gbuffers = [scene(512, 0), scene(512, 7)]
    z = surface_noise(gbuffers, 16, VAE, 11, config)
    assert z.shape == (2, 16, 64, 64)
    assert z.mean((1, 2, 3)).abs().max() < 0.015
    assert (z.std((1, 2, 3)) - 1).abs().max() < 0.02
    print(f"{config.mode}: std {z.std():.4f}, Moran's I {morans_i(z).mean():+.4f}")
    assert morans_i(z).mean(1).abs().max() < 0.02


def magnified(size: int) -> GBuffer:
    """A texture much too coarse for the picture, once `texture_side` is set to a few texels."""
    return panned_plane(size, 0, 1.5)


@pytest.mark.parametrize(
    ("gbuffer", "config"),
    [
        (two_objects(64), PARTITION),
        (mirrored(two_objects(64)), PARTITION),
        (magnified(64), NoiseConfig("partition", texture_side=5)),
        (mirrored(two_objects(64)), BRIDGE),
        (two_objects(64), FIXED),
        (two_objects(64), INDEPENDENT),
    ],
    ids=["partition", "mirrored", "too coarse", "bridge, mirrored", "fixed", "independent"],
)
def test_ensemble_is_white_over_many_seeds(gbuffer, config):
    # With 256 channels, 64,000 pictures of 8x8: the standard error of a covariance is 0.004.
    n_seeds, n_channels = 250, 256
    covariance = np.zeros((64, 64))
    mean = np.zeros(64)
    for seed in range(n_seeds):
        z = (
            surface_noise([gbuffer], n_channels, VAE, seed, config)[0]
            .reshape(n_channels, 64)
            .double()
            .numpy()
        )
        covariance += z.T @ z
        mean += z.sum(0)
    covariance /= n_seeds * n_channels
    mean /= n_seeds * n_channels
    row, col = np.divmod(np.arange(64), 8)
    distance = np.maximum(abs(row[:, None] - row), abs(col[:, None] - col))
    neighbours = np.abs(covariance[distance == 1]).max()
    print(f"covariance of neighbours at most {neighbours:.4f}")
    assert neighbours < 0.02
    assert np.abs(covariance[distance > 1]).max() < 0.025  # the largest of 1,800 estimates
    assert np.abs(np.diag(covariance) - 1).max() < 0.03
    assert np.abs(mean).max() < 0.02


def partition_by_hand(gbuffer: GBuffer, n_channels: int, seed: int, sides: list[int]) -> np.ndarray:
    """The rule in plain loops over samples, texels and pixels."""
    rows, cols = gbuffer.height, gbuffer.width
    width = cols // VAE
    holders: dict[tuple[int, int, int], Counter] = defaultdict(Counter)
    coverage: dict[int, Counter] = defaultdict(Counter)
    for y in range(rows):
        for x in range(cols):
            object_id = int(gbuffer.object_id[y, x])
            if object_id == 0:
                continue
            side = sides[object_id]
            u, v = (min(int(float(gbuffer.uv[y, x, i]) * side), side - 1) for i in (0, 1))
            pixel = y // VAE * width + x // VAE
            holders[object_id, v, u][pixel] += 1
            coverage[pixel][object_id] += 1
    owned = defaultdict(list)
    for (object_id, v, u), counts in holders.items():
        winner = min(counts, key=lambda pixel: (-counts[pixel], pixel))
        texel = join_texel(np.array([object_id]), np.array([v]), np.array([u]))
        owned[winner, object_id].append(texel_noise(texel, sides[object_id], n_channels, seed)[0])
    n_pixels = rows // VAE * width
    out = np.zeros((n_pixels, n_channels))
    for pixel in range(n_pixels):
        channels = pixel * n_channels + np.arange(n_channels)
        share_left = 1.0
        for object_id, n_samples in coverage[pixel].items():
            texels = owned[pixel, object_id]
            if texels:
                layer = np.sum(texels, axis=0) / np.sqrt(len(texels))
            else:
                layer_id = object_id * n_pixels + pixel
                layer = hashed_normal(
                    hash_key(seed, "unowned"), layer_id * n_channels + np.arange(n_channels)
                )
            out[pixel] += np.sqrt(n_samples / VAE**2) * layer
            share_left -= n_samples / VAE**2
        out[pixel] += np.sqrt(max(share_left, 0)) * hashed_normal(hash_key(seed, "background"), channels)
    return out.T.reshape(n_channels, rows // VAE, width)


@pytest.mark.parametrize("side", [None, 3, 16, 40])
@pytest.mark.parametrize("fold", [lambda g: g, mirrored], ids=["plain", "mirrored"])
def test_partition_equals_the_rule_in_plain_loops(side, fold):
    gbuffer = fold(two_objects(48, 20))
    sides = _fitting_sides(gbuffer, VAE**2).tolist() if side is None else [side] * 3
    fast = surface_noise([gbuffer], 3, VAE, 5, NoiseConfig("partition", side))[0].numpy()
    np.testing.assert_allclose(fast, partition_by_hand(gbuffer, 3, 5, sides), atol=1e-5)


def bridge_by_hand(gbuffer: GBuffer, n_channels: int, seed: int, side: int) -> np.ndarray:
    """The rule in plain loops, for two objects that leave no background where it is looked at."""
    height, width = gbuffer.height // VAE, gbuffer.width // VAE
    shown: dict[tuple[int, int, int], Counter] = defaultdict(Counter)
    for y, x in np.argwhere(gbuffer.visible):
        u, v = (min(int(float(gbuffer.uv[y, x, i]) * side), side - 1) for i in (0, 1))
        shown[int(gbuffer.object_id[y, x]), v, u][int(y // VAE * width + x // VAE)] += 1
    parts: dict[tuple[int, int], list] = defaultdict(list)
    for (object_id, v, u), counts in shown.items():
        pixels, n_samples = list(counts), np.array(list(counts.values()))
        a = n_samples / n_samples.sum()
        key = hash_key(seed, "bridge", object_id, side)
        place = join_texel(np.array([0]), np.array([v]), np.array([u]))
        counter = (place * height * width + np.array(pixels))[:, None] * n_channels + np.arange(n_channels)
        walk = np.sqrt(a)[:, None] * hashed_normal(key, counter)
        z = texel_noise(
            join_texel(np.array([object_id]), np.array([v]), np.array([u])), side, n_channels, seed
        )
        x = a[:, None] * z + walk - a[:, None] * walk.sum(0)
        # Whatever the walk, the parts of a texel add up to its number.
        np.testing.assert_allclose(x.sum(0), z[0], atol=1e-5)
        for pixel, part, share, n in zip(pixels, x, a, n_samples, strict=True):
            parts[pixel, object_id].append((part, share, n))
    out = np.zeros((height * width, n_channels))
    for (pixel, _), of_layer in parts.items():
        part, share, n = (np.array(column) for column in zip(*of_layer, strict=True))
        out[pixel] += np.sqrt(n.sum() / VAE**2) * part.sum(0) / np.sqrt(share.sum())
    return out.T.reshape(n_channels, height, width)


@pytest.mark.parametrize("fold", [lambda g: g, mirrored], ids=["plain", "mirrored"])
def test_a_bridge_equals_the_rule_in_plain_loops(fold):
    gbuffer = fold(in_front(rotating_sphere(48, 20, radius=0.5), panned_plane(48, 0, 1.5)))
    fast = surface_noise([gbuffer], 3, VAE, 5, NoiseConfig("bridge", 12))[0].numpy()
    np.testing.assert_allclose(fast, bridge_by_hand(gbuffer, 3, 5, 12), atol=1e-5)


def test_a_bridge_does_not_jump_where_a_surface_moves_by_less_than_a_pixel():
    kept = {}
    for config in (PARTITION, BRIDGE):
        shifts = (0.2, 0.4, 0.6, 0.8)
        gbuffers = [panned_plane(256, shift / 32, 1.5) for shift in shifts]
        z = surface_noise(gbuffers, 16, VAE, 0, config)
        kept[config.mode] = float((z[1:] * z[:-1]).mean())
    print(kept)
    assert kept["bridge"] > kept["partition"] + 0.05 > 0.5


def all_texels(side: int) -> np.ndarray:
    v, u = np.divmod(np.arange(side * side), side)
    return join_texel(np.ones(side * side, np.int64), v, u)


@pytest.mark.parametrize("side", [2, 8, 24, 64])
def test_a_texel_is_half_the_sum_of_its_children(side):
    coarse = texel_noise(all_texels(side // 2), side // 2, 4, 1).reshape(side // 2, side // 2, 4)
    fine = texel_noise(all_texels(side), side, 4, 1).reshape(side // 2, 2, side // 2, 2, 4)
    np.testing.assert_allclose(fine.sum((1, 3)) / 2, coarse, atol=1e-5)


@pytest.mark.parametrize("side", [63, 64, 128])
def test_every_level_of_the_texture_is_white(side):
    z = torch.from_numpy(texel_noise(all_texels(side), side, 32, 2).T.reshape(32, side, side))
    assert abs(z.mean()) < 0.012
    assert abs(z.std() - 1) < 0.01
    assert abs(morans_i(z).mean()) < 0.01


def test_a_texel_does_not_depend_on_which_others_are_asked_for():
    texel = all_texels(32)
    some = np.array([900, 3, 3, 511])
    assert np.array_equal(texel_noise(texel[some], 32, 4, 1), texel_noise(texel, 32, 4, 1)[some])


def test_objects_have_textures_of_their_own():
    texel = all_texels(32)
    _, v, u = split_texel(texel)
    other = texel_noise(join_texel(np.full_like(v, 2), v, u), 32, 4, 1)
    assert abs((texel_noise(texel, 32, 4, 1) * other).mean()) < 0.07


@pytest.mark.parametrize("side", [None, 24])
def test_nearest_frames_agree_exactly_where_they_show_the_same_texel(side):
    gbuffers = [rotating_sphere(256, angle) for angle in (0, 4, 31)]
    z = surface_noise(gbuffers, 4, VAE, 0, NoiseConfig("nearest", side))
    centres = sample_under_pixel(256, 32)
    texels = [texel_ids(g, side or 64)[centres[:, None], centres] for g in gbuffers]
    n_shared = 0
    for a in range(3):
        for b in range(3):
            at = {texel: index for index, texel in np.ndenumerate(texels[b]) if texel >= 0}
            for index, texel in np.ndenumerate(texels[a]):
                if texel in at:
                    n_shared += 1
                    assert torch.equal(z[a][:, *index], z[b][:, *at[texel]])
    assert n_shared > 1500


@pytest.mark.parametrize("config", [PARTITION, BRIDGE, NEAREST, FIXED], ids=lambda c: c.mode)
def test_a_static_scene_has_the_same_noise_in_every_frame(config):
    z = surface_noise([mirrored(two_objects(128))] * 3, 4, VAE, 0, config)
    assert torch.equal(z[0], z[1])
    assert torch.equal(z[0], z[2])


def test_fixed_ignores_motion_and_independent_forgets():
    gbuffers = [two_objects(512, angle) for angle in (0, 5)]
    fixed = surface_noise(gbuffers, 4, VAE, 0, FIXED)
    assert torch.equal(fixed[0], fixed[1])
    fresh = surface_noise(gbuffers, 4, VAE, 0, INDEPENDENT)
    assert abs((fresh[0] * fresh[1]).mean()) < 0.03


@pytest.mark.parametrize("config", [PARTITION, BRIDGE, NEAREST, FIXED, INDEPENDENT], ids=lambda c: c.mode)
def test_a_clip_drawn_in_pieces_is_the_same_clip(config):
    gbuffers = [two_objects(64, angle) for angle in range(0, 25, 5)]
    whole = surface_noise(gbuffers, 4, VAE, 3, config)
    pieces = [
        surface_noise(gbuffers[i : i + 2], 4, VAE, 3, config, range(i, min(i + 2, 5))) for i in (0, 2, 4)
    ]
    assert torch.equal(torch.cat(pieces), whole)
    assert not torch.equal(surface_noise(gbuffers, 4, VAE, 4, config), whole)


def test_the_level_follows_the_zoom():
    sides = [_fitting_sides(panned_plane(512, 0, 1.5, scale), 64)[1] for scale in (1, 0.5, 0.25)]
    assert sides[1] == 2 * sides[0]
    assert sides[2] == 2 * sides[1]
    for scale in (1, 0.8, 0.6, 0.4, 0.2):
        gbuffer = panned_plane(512, 0, 1.5, scale)
        n_texels = np.unique(texel_ids(gbuffer, _fitting_sides(gbuffer, 64))).size
        assert 6 <= n_texels / 4096 <= 24.5


def correlation(z: torch.Tensor, source: np.ndarray, target: np.ndarray) -> float:
    """Between frame 0 at flat pixels `source` and frame 1 at flat pixels `target`."""
    a, b = z[0].flatten(1)[:, source].flatten(), z[1].flatten(1)[:, target].flatten()
    return float((a * b).mean() / (a.square().mean() * b.square().mean()).sqrt())


def test_partition_follows_a_turning_sphere():
    size, radius, turn_deg = 512, 0.8, 6.0
    gbuffers = [rotating_sphere(size, 0, radius), rotating_sphere(size, turn_deg, radius)]
    # A point (x, y, z) of the sphere goes to x cos + z sin: nothing is estimated.
    axis = (np.arange(64) + 0.5) / 32 - 1
    x, y = np.meshgrid(axis / radius, axis / radius)
    inside = x**2 + y**2 < 0.9
    z_axis = np.sqrt(np.maximum(1 - x**2 - y**2, 0))
    turn = np.deg2rad(turn_deg)
    moved = x * np.cos(turn) + z_axis * np.sin(turn)
    inside &= (moved**2 + y**2 < 0.9) & (x * np.sin(turn) < z_axis * np.cos(turn))
    col = np.floor((moved * radius + 1) * 32).astype(int)
    row = np.arange(64)[:, None] + 0 * col
    source, target = np.flatnonzero(inside), (row * 64 + col)[inside]
    elsewhere = np.roll(target, len(target) // 3)
    figures = {}
    for config in (PARTITION, BRIDGE, NEAREST, FIXED, INDEPENDENT):
        z = surface_noise(gbuffers, 4, VAE, 1, config)
        figures[config.mode] = correlation(z, source, target)
        print(
            f"{config.mode}: {figures[config.mode]:.3f}, elsewhere {correlation(z, source, elsewhere):+.3f}"
        )
        assert abs(correlation(z, source, elsewhere)) < 0.04
    assert figures["partition"] > 0.5
    assert figures["bridge"] > 0.3
    assert figures["nearest"] > 0.3
    assert abs(figures["independent"]) < 0.04


def test_a_change_of_level_does_not_break_agreement():
    scales = (0.58, 0.55, 0.52, 0.49, 0.46, 0.43)
    gbuffers = [panned_plane(512, 0, 1.5, scale) for scale in scales]
    sides = [int(_fitting_sides(g, 64)[1]) for g in gbuffers]
    assert len(set(sides)) == 2
    z = surface_noise(gbuffers, 16, VAE, 0, PARTITION)
    axis = np.arange(64) + 0.5
    kept, changed = [], []
    for i in range(5):
        moved = np.floor((axis - 32) * scales[i] / scales[i + 1] + 32).astype(int)
        ok = (moved >= 0) & (moved < 64)
        source = np.flatnonzero(ok[:, None] & ok)
        target = (moved[ok][:, None] * 64 + moved[ok]).ravel()
        (kept if sides[i] == sides[i + 1] else changed).append(correlation(z[i : i + 2], source, target))
    print(f"same level {np.mean(kept):.3f}, changed level {np.mean(changed):.3f}")
    assert np.mean(changed) > 0.8 * np.mean(kept) > 0.3


@pytest.mark.parametrize(
    ("name", "animation", "eye", "target"),
    [
        ("walking_biped.glb", "Walk", (0.9, 0.8, 1.3), (0.0, 0.6, 0.0)),
        outside("Fox.glb", "Run", (120.0, 80.0, 150.0), (0.0, 35.0, 0.0)),
    ],
)
def test_partition_follows_a_character(tmp_path, name, animation, eye, target):
    from genrender.gbuffer.raycast import render_gbuffer
    from genrender.scene.camera import Camera
    from genrender.scene.load import load_scene
    from genrender.surface.flow import follow
    from genrender.surface.tracking import SurfaceTracker

    scene = load_scene(scene_file(name, tmp_path))
    run = scene.find_animation(animation)
    verts = [scene.evaluate(time_s, run) for time_s in (0.0, 1 / 24)]
    camera = Camera.look_at(np.array(eye), np.array(target))
    gbuffers = [render_gbuffer(v, scene.tris, scene.uvs, scene.object_id, camera, 512, 512) for v in verts]
    flow = follow(SurfaceTracker(gbuffers, scene.tris, verts, [camera] * 2), 1, 0)
    centres = sample_under_pixel(512, 64)
    shown = flow.visible[centres[:, None], centres]
    xy = flow.xy[centres[:, None], centres][shown]
    target = np.floor(xy[:, 1] / VAE).astype(int) * 64 + np.floor(xy[:, 0] / VAE).astype(int)
    figures = {}
    for config in (PARTITION, NEAREST, INDEPENDENT):
        z = surface_noise(gbuffers, 16, VAE, 0, config)
        figures[config.mode] = correlation(z.flip(0), np.flatnonzero(shown), target)
        std, moran = z.std((1, 2, 3)), morans_i(z).mean(1)
        print(f"{config.mode}: {figures[config.mode]:.3f}, std {std.tolist()}, Moran's I {moran.tolist()}")
        if config is not NEAREST:  # whose blotches are the reason for `partition`
            assert (std - 1).abs().max() < 0.02
            assert moran.abs().max() < 0.02
    assert figures["partition"] > 0.5
    assert figures["partition"] > figures["nearest"] > 0.1
    assert abs(figures["independent"]) < 0.03


@pytest.mark.parametrize("mode", ["partition", "nearest", "fixed", "independent"])
def test_frames_without_a_surface_are_background(mode):
    empty = panned_plane(64, 3.0)
    assert not empty.visible.any()
    z = surface_noise([empty], 4, VAE, 0, NoiseConfig(mode))
    expected = surface_noise([empty], 4, VAE, 0, INDEPENDENT if mode == "independent" else FIXED)
    assert torch.equal(z, expected)


@pytest.mark.parametrize("uv", [0.0, 1.0])
def test_missing_uvs_still_give_white_noise(uv):
    gbuffer = panned_plane(512, 0, 1.5)
    flat = replace(gbuffer, uv=np.full_like(gbuffer.uv, uv))
    z = surface_noise([flat], 16, VAE, 0, PARTITION)
    assert abs(z.std() - 1) < 0.02
    assert abs(morans_i(z).mean()) < 0.02


def test_an_unknown_mode_is_refused():
    config = NoiseConfig()
    object.__setattr__(config, "mode", "perlin")
    with pytest.raises(ConfigError, match="unknown noise mode 'perlin'"):
        surface_noise([panned_plane(64)], 4, VAE, 0, config)


def test_bad_input_is_refused():
    gbuffer = panned_plane(60)
    with pytest.raises(ConfigError, match="60x60 pixels, expected multiples of the VAE factor 8; try 64x64"):
        surface_noise([gbuffer], 4, VAE, 0)
    with pytest.raises(ConfigError, match="no G-buffers"):
        surface_noise([], 4, VAE, 0)
    with pytest.raises(ConfigError, match="texture side is 0"):
        surface_noise([panned_plane(64)], 4, VAE, 0, NoiseConfig("nearest", 0))


@pytest.mark.parametrize("mode", ["partition", "fixed"])
def test_degradation_mixes_in_fresh_noise_and_stays_white(mode):
    gbuffers = [two_objects(64)] * 2
    z = surface_noise(gbuffers, 64, 8, 3, NoiseConfig(mode, degradation=0.4))
    plain = surface_noise(gbuffers, 64, 8, 3, NoiseConfig(mode))
    assert float(z.std()) == pytest.approx(1.0, abs=0.06)
    expected = 0.36 / (0.36 + 0.16)  # of the variance is shared by the two frames
    shared = float((z[0] * z[1]).mean())
    assert shared == pytest.approx(expected, abs=0.12)
    assert float((plain[0] * plain[1]).mean()) == pytest.approx(1.0, abs=0.1)
