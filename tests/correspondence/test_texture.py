import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from scenes import in_front, panned_plane, rotating_sphere

from genrender.config import CorrespondenceConfig
from genrender.correspondence import texture as texture_module
from genrender.correspondence.gather import FeatureMap
from genrender.correspondence.texture import (
    TextureCorrespondence,
    nearest_seen,
    sample_texture,
    splat_to_texture,
)
from genrender.errors import ConfigError
from genrender.gbuffer.gbuffer import GBuffer
from genrender.storage.checked_file import CHECKSUM_BYTES
from genrender.surface.texels import join_texel, pixel_of_sample, sample_under_pixel, texel_ids

RULES = ["fill", "mean", "paper"]


def scene(size: int, angle_deg: float) -> GBuffer:
    return in_front(
        rotating_sphere(size, angle_deg, radius=0.6), panned_plane(size, 0.002 * angle_deg, half_width=0.85)
    )


@pytest.fixture(scope="module")
def clip() -> list[GBuffer]:
    return [scene(128, 8.0 * i) for i in range(6)]


def random_features(n: int, channels: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, channels, height, width, generator=torch.Generator().manual_seed(seed))


def blend_by_hand(clip, keyframes, frames, features, ratio, rule, by_quality):
    """Explicit textures, one dictionary per keyframe, in plain loops."""
    n_channels, height, width = features.shape[1:]
    side = round(ratio * max(height, width))
    textures = []
    for k, keyframe in enumerate(keyframes):
        texel = texel_ids(clip[keyframe], side)
        rows = pixel_of_sample(texel.shape[0], height)
        cols = pixel_of_sample(texel.shape[1], width)
        counts: dict[int, dict[tuple[int, int], int]] = {}
        for y in range(texel.shape[0]):
            for x in range(texel.shape[1]):
                if texel[y, x] >= 0:
                    holders = counts.setdefault(int(texel[y, x]), {})
                    pixel = (int(rows[y]), int(cols[x]))
                    holders[pixel] = holders.get(pixel, 0) + 1
        texture = {}
        for t, holders in counts.items():
            pixel = min(holders, key=lambda p, holders=holders: (-holders[p], p))
            texture[t] = (holders[pixel], features[k, :, pixel[0], pixel[1]])
        textures.append(texture)
    out = torch.zeros(len(frames), n_channels, height, width)
    valid = torch.zeros(len(frames), height, width, dtype=torch.bool)
    for f, frame in enumerate(frames):
        texel = texel_ids(clip[frame], side)
        rows = sample_under_pixel(texel.shape[0], height)
        cols = sample_under_pixel(texel.shape[1], width)
        for y in range(height):
            for x in range(width):
                found = [texture[t] for texture in textures if (t := int(texel[rows[y], cols[x]])) in texture]
                if not found:
                    continue
                valid[f, y, x] = True
                average = torch.stack([value for _, value in found]).mean(0)
                filled = max(found, key=lambda entry: entry[0])[1] if by_quality else found[0][1]
                out[f, :, y, x] = {"fill": filled, "mean": average, "paper": (filled + average) / 2}[rule]
    return out, valid


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("fill_order", ["quality", "sequence"])
@pytest.mark.parametrize("size", [(16, 16), (9, 9), (17, 12)])
def test_blend_equals_explicit_textures_in_plain_loops(clip, rule, fill_order, size):
    keyframes, frames = [4, 0, 2], [1, 2, 5]
    features = random_features(3, 5, *size)
    config = CorrespondenceConfig(ratio=2.0, fill_order=fill_order, restore_spread=False)
    engine = TextureCorrespondence(clip, config)
    rendered, valid = engine.blend(keyframes, frames, FeatureMap(*size), rule)(features)
    by_hand, valid_by_hand = blend_by_hand(
        clip, keyframes, frames, features, 2.0, rule, fill_order == "quality"
    )
    assert torch.equal(valid, valid_by_hand)
    torch.testing.assert_close(rendered, by_hand, atol=1e-6, rtol=0)
    assert 0.2 < valid.float().mean() < 0.9


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("value", [0.0, 1.0, -3000.0])
def test_a_constant_feature_stays_constant(clip, rule, value):
    engine = TextureCorrespondence(clip)
    features = torch.full((3, 4, 16, 16), value)
    rendered, valid = engine.blend([0, 3, 5], [0, 1, 2, 3, 4, 5], FeatureMap(16, 16), rule)(features)
    surface = rendered.permute(0, 2, 3, 1)
    torch.testing.assert_close(surface[valid], torch.full_like(surface[valid], value), rtol=1e-5, atol=0)
    assert (surface[~valid] == 0).all()


@pytest.mark.parametrize("size", [16, 9, 17, 33])
def test_a_frame_gets_its_own_features_back_where_the_texture_resolves_them(clip, size):
    features = random_features(1, 4, size, size)
    engine = TextureCorrespondence(clip)
    rendered, valid = engine.blend([2], [2], FeatureMap(size, size), "fill")(features)
    # By hand: the texel under the centre belongs to the pixel if no other pixel holds more of its samples.
    texel = texel_ids(clip[2], 4 * size)
    pixel = pixel_of_sample(128, size)
    centre = sample_under_pixel(128, size)
    resolved = torch.zeros(size, size, dtype=torch.bool)
    for y in range(size):
        for x in range(size):
            ys, xs = np.nonzero(texel == texel[centre[y], centre[x]])
            holders, counts = np.unique(pixel[ys] * size + pixel[xs], return_counts=True)
            resolved[y, x] = bool(holders[counts.argmax()] == y * size + x)
    resolved &= valid[0]
    assert torch.equal(rendered[0][:, resolved], features[0][:, resolved])
    visible = torch.from_numpy(clip[2].visible[centre[:, None], centre])
    assert torch.equal(valid[0], visible)
    assert resolved.sum() > 0.9 * visible.sum()


@pytest.mark.parametrize("size", [(16, 16), (9, 17)])
def test_sampling_what_was_splatted_gives_every_pixel_back_that_owns_its_texel(clip, size):
    texel = torch.from_numpy(texel_ids(clip[2], 4 * max(size)))
    texture = splat_to_texture(texel, size)
    rows, cols = (sample_under_pixel(128, side) for side in size)
    under_centre = texel[rows[:, None], cols].flatten()
    pixel, n_samples, is_filled = sample_texture(texture, under_centre)
    assert torch.equal(is_filled, under_centre >= 0)
    assert (n_samples[is_filled] >= 1).all()
    assert (pixel[~is_filled] == 0).all()
    assert (n_samples[~is_filled] == 0).all()
    is_own = pixel == torch.arange(pixel.numel())
    assert is_own[is_filled].float().mean() > 0.9
    # Where another pixel owns the texel, it holds at least as many of the texel's samples.
    pixel_of = torch.from_numpy(
        pixel_of_sample(128, size[0])[:, None] * size[1] + pixel_of_sample(128, size[1])
    )
    for lost in torch.nonzero(is_filled & ~is_own).flatten().tolist():
        holders = pixel_of[texel == under_centre[lost]]
        assert n_samples[lost] == (holders == pixel[lost]).sum() >= (holders == lost).sum()


def test_an_empty_texture_fills_nothing():
    texture = splat_to_texture(torch.full((8, 8), -1), (4, 4))
    pixel, n_samples, is_filled = sample_texture(texture, torch.tensor([-1, 0, 7]))
    assert not is_filled.any()
    assert not pixel.any()
    assert not n_samples.any()


def test_production_runs_on_the_two_verbs(clip, monkeypatch):
    """What the round trip proves of them holds for what a run does."""
    used = {"splat": 0, "sample": 0}

    def count(name, function):
        def counted(*arguments):
            used[name] += 1
            return function(*arguments)

        return counted

    monkeypatch.setattr(texture_module, "splat_to_texture", count("splat", splat_to_texture))
    monkeypatch.setattr(texture_module, "sample_texture", count("sample", sample_texture))
    features = random_features(2, 4, 16, 16)
    engine = TextureCorrespondence(clip, CorrespondenceConfig(ratio=3.0))
    rendered, valid = engine.blend([1, 2], [4], FeatureMap(16, 16), "fill")(features)
    assert used == {"splat": 2, "sample": 2}
    centre = sample_under_pixel(128, 16)
    under_centre = torch.from_numpy(texel_ids(clip[4], 48)[centre[:, None], centre]).flatten()
    texture = splat_to_texture(torch.from_numpy(texel_ids(clip[1], 48)), (16, 16))
    pixel, _, is_filled = sample_texture(texture, under_centre)
    alone, alone_valid = engine.blend([1], [4], FeatureMap(16, 16), "fill")(features[:1])
    assert torch.equal(alone_valid[0].flatten(), is_filled)
    assert torch.equal(alone[0].flatten(1), features[0].flatten(1)[:, pixel] * is_filled)
    assert valid.sum() >= alone_valid.sum()
    assert rendered.shape == alone.shape


@pytest.fixture
def _no_garbage_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_garbage_collection")
def test_an_engine_goes_with_its_last_reference_and_the_clip_with_it():
    gbuffers = [panned_plane(64, 0.1 * i) for i in range(3)]
    engine = TextureCorrespondence(gbuffers)
    blend = engine.blend([0, 2], [0, 1, 2], FeatureMap(8, 8), "paper")
    blend(random_features(2, 4, 8, 8))
    engine_ref, gbuffer_ref = weakref.ref(engine), weakref.ref(gbuffers[0])
    del engine, gbuffers
    assert engine_ref() is None
    assert gbuffer_ref() is None


def test_what_is_remembered_is_bounded_and_changes_nothing(clip, monkeypatch, tmp_path):
    features = random_features(2, 4, 16, 16)
    arguments = ([0, 3], [1, 2, 4, 5], FeatureMap(16, 16), "paper")
    expected = TextureCorrespondence(clip).blend(*arguments)(features)[0]
    monkeypatch.setattr(texture_module, "_N_CACHED_TEXTURES", 1)
    engine = TextureCorrespondence(clip, folder=tmp_path)
    for _ in range(2):
        assert torch.equal(engine.blend(*arguments)(features)[0], expected)
    assert len(engine._textures) == 1
    assert [file.stat().st_size for file in tmp_path.iterdir()] == [
        len(clip) * (16 * 16 * 8 + CHECKSUM_BYTES)
    ]


@pytest.mark.parametrize("rule", RULES)
def test_chunks_give_what_all_frames_at_once_give(clip, rule):
    features = random_features(3, 6, 16, 16)
    keyframes = [0, 2, 5]
    whole, whole_valid = TextureCorrespondence(clip).blend(keyframes, range(6), FeatureMap(16, 16), rule)(
        features
    )
    engine = TextureCorrespondence(clip)
    for chunk in ([3], [0, 1], [2, 4, 5]):
        rendered, valid = engine.blend(keyframes, chunk, FeatureMap(16, 16), rule)(features)
        assert torch.equal(rendered, whole[chunk])
        assert torch.equal(valid, whole_valid[chunk])


@pytest.mark.parametrize("rule", ["mean", "paper"])
def test_averages_keep_mean_and_spread_of_their_sources(clip, rule):
    # Keyframes that have nothing in common: an average of three loses a factor sqrt(3) of its spread.
    features = 2.0 + 0.5 * random_features(3, 64, 16, 16)
    frames = list(range(6))
    spread = {}
    for restore in (False, True):
        engine = TextureCorrespondence(clip, CorrespondenceConfig(restore_spread=restore))
        rendered, valid = engine.blend([1, 2, 3], frames, FeatureMap(16, 16), rule)(features)
        surface = rendered.permute(0, 2, 3, 1)[valid]
        spread[restore] = surface.std(0).mean().item()
        assert abs(surface.mean().item() - 2.0) < 0.05
    assert spread[False] < 0.45
    assert abs(spread[True] - 0.5) < 0.04


def test_restoring_spread_leaves_agreeing_keyframes_alone(clip):
    # One pattern painted on the surface: all keyframes agree up to resolution, so nothing is amplified.
    maps = []
    for gbuffer in clip:
        centre = sample_under_pixel(128, 32)
        u, v = np.moveaxis(gbuffer.uv[centre[:, None], centre], -1, 0)
        maps.append(np.stack([np.sin(2 * np.pi * u), v]).astype(np.float32))
    features = torch.from_numpy(np.stack(maps))[[0, 2, 4]]
    fine = CorrespondenceConfig(ratio=4.0)
    as_averaged = replace(fine, restore_spread=False)
    plain, valid = TextureCorrespondence(clip, as_averaged).blend([0, 2, 4], [3], FeatureMap(32, 32), "mean")(
        features
    )
    scaled, _ = TextureCorrespondence(clip, fine).blend([0, 2, 4], [3], FeatureMap(32, 32), "mean")(features)
    assert (plain - scaled).abs().max() < 0.02
    # And the pattern arrives: frame 3 was no keyframe.
    truth = torch.from_numpy(maps[3])
    assert (plain[0] - truth)[:, valid[0]].abs().median() < 0.02


def test_what_no_keyframe_sees_is_invalid_whatever_its_value():
    front, back = rotating_sphere(64, 0.0), rotating_sphere(64, 180.0)
    engine = TextureCorrespondence([front, back])
    rendered, valid = engine.blend([0], [1], FeatureMap(8, 8), "fill")(torch.ones(1, 2, 8, 8))
    assert valid.float().mean() < 0.05
    assert (rendered.permute(0, 2, 3, 1)[~valid] == 0).all()
    # A feature that is all zero is as valid as any other.
    _, valid = engine.blend([0], [0], FeatureMap(8, 8), "fill")(torch.zeros(1, 2, 8, 8))
    centre = sample_under_pixel(64, 8)
    assert torch.equal(valid[0], torch.from_numpy(front.visible[centre[:, None], centre]))


@pytest.mark.parametrize("rule", RULES)
def test_an_empty_clip_is_invalid_everywhere(rule):
    empty = panned_plane(64, 3.0)
    rendered, valid = TextureCorrespondence([empty, empty]).blend([0], [0, 1], FeatureMap(8, 8), rule)(
        torch.ones(1, 2, 8, 8)
    )
    assert not valid.any()
    assert (rendered == 0).all()


def test_features_of_one_object_never_reach_another(clip):
    size = 16
    features = torch.zeros(1, 2, size, size)
    centre = sample_under_pixel(128, size)
    object_id = clip[0].object_id[centre[:, None], centre]
    for object_ in (1, 2):
        features[0, object_ - 1] = torch.from_numpy((object_id == object_).astype(np.float32))
    rendered, valid = TextureCorrespondence(clip).blend([0], [3], FeatureMap(size, size), "fill")(features)
    shown = clip[3].object_id[centre[:, None], centre]
    for object_ in (1, 2):
        here = valid[0] & torch.from_numpy(shown == object_)
        # Pixels on a silhouette hold both objects in one feature; everywhere else the separation is clean.
        assert rendered[0, object_ - 1][here].mean() > 0.85


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_the_precision_of_the_features_is_kept(clip, dtype):
    features = random_features(3, 4, 16, 16).to(dtype)
    rendered, _ = TextureCorrespondence(clip).blend([0, 1, 2], [3], FeatureMap(16, 16), "paper")(features)
    assert rendered.dtype == dtype
    assert rendered.isfinite().all()


def test_blending_is_deterministic_and_leaves_its_input_alone(clip):
    features = random_features(3, 4, 16, 16)
    before = features.clone()
    a = TextureCorrespondence(clip).blend([0, 1, 5], [2, 3], FeatureMap(16, 16), "paper")
    b = TextureCorrespondence(clip).blend([0, 1, 5], [2, 3], FeatureMap(16, 16), "paper")
    assert torch.equal(a(features)[0], b(features)[0])
    assert torch.equal(a(features)[0], a(features)[0])
    assert torch.equal(features, before)


def test_bad_settings_are_refused(clip):
    with pytest.raises(ConfigError, match="no G-buffers"):
        TextureCorrespondence([])
    for ratio in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=f"ratio is {ratio:g}"):
            TextureCorrespondence(clip, CorrespondenceConfig(ratio=ratio))


def test_inpainting_takes_the_nearest_seen_texel_of_the_same_object():
    def texel(object_id, v, u):
        return int(join_texel(*(np.array([x]) for x in (object_id, v, u)))[0])

    seen = torch.tensor([texel(1, 0, 0), texel(1, 40, 40), texel(2, 9, 9)])
    wanted = torch.tensor([texel(1, 3, 2), texel(1, 45, 41), texel(1, 40, 40), texel(2, 0, 63), -1])
    expected = [texel(1, 0, 0), texel(1, 40, 40), texel(1, 40, 40), texel(2, 9, 9), -1]
    assert nearest_seen(wanted, seen).tolist() == expected
    stranger = torch.tensor([texel(3, 1, 1)])
    assert torch.equal(nearest_seen(stranger, seen), stranger)
    assert torch.equal(nearest_seen(wanted, seen[:0]), wanted)


def test_with_inpainting_every_surface_pixel_is_valid():
    clip = [rotating_sphere(64, 0.0), rotating_sphere(64, 70.0)]
    features = random_features(1, 3, 8, 8)
    lacking, holed = TextureCorrespondence(clip).blend([0], [1], FeatureMap(8, 8), "fill")(features)
    config = CorrespondenceConfig(inpaint=True)
    blend = TextureCorrespondence(clip, config).blend([0], [1], FeatureMap(8, 8), "fill")
    filled, valid = blend(features)
    assert holed.sum() < valid.sum()
    assert torch.equal(valid, blend.surface)
    # What is inpainted gets features of another point, so the keyframe does not show it.
    assert torch.equal(blend.shows(torch.ones(1, 8, 8, dtype=torch.bool)), holed)
    assert torch.equal(filled.movedim(1, -1)[holed], lacking.movedim(1, -1)[holed])


def test_every_layer_can_have_a_texture_size_of_its_own(clip):
    config = CorrespondenceConfig(
        ratio=4.0,
        ratio_layers=((r"blocks\.1\.", 0.5),),
        side_layers=((r"blocks\.2\.", 48), (r"blocks\.[23]", 9999)),
    )
    engine = TextureCorrespondence(clip, config)
    grids = [engine.grid(FeatureMap(16, 8, f"up_blocks.{i}.attn1")) for i in range(4)]
    assert grids == [(16, 8, side) for side in (64, 32, 48, 9999)]


def test_a_texture_of_a_given_side_is_that_of_the_ratio_that_yields_it(clip):
    features = random_features(2, 3, 16, 16)
    by_ratio = TextureCorrespondence(clip, CorrespondenceConfig(ratio=3.0)).blend(
        [0, 2], [1], FeatureMap(16, 16), "fill"
    )
    engine = TextureCorrespondence(clip, CorrespondenceConfig(side_layers=(("given", 48),)))
    by_side = engine.blend([0, 2], [1], FeatureMap(16, 16, "given"), "fill")
    for a, b in zip(by_ratio(features), by_side(features), strict=True):
        assert torch.equal(a, b)
    default, _ = engine.blend([0, 2], [1], FeatureMap(16, 16), "fill")(features)
    assert not torch.equal(default, by_side(features)[0])
