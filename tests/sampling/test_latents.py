"""Clean latents and back under every scheduler, and what the latent rules promise."""

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from scenes import ball_behind_slab, rotating_sphere

from genrender.config import CorrespondenceConfig, LatentConfig, MethodConfig
from genrender.correspondence.gather import FeatureMap
from genrender.correspondence.reproject import ReprojectCorrespondence
from genrender.correspondence.texture import TextureCorrespondence
from genrender.sampling.latents import (
    LatentRules,
    nearest_two,
    normalise_objects,
    synchronise,
)
from genrender.sampling.prediction import X0Rule, x0_rules
from genrender.sampling.surface import ClipSurface
from genrender.surface.tracking import SurfaceTracker

SCHEDULERS = [
    DDIMScheduler,
    PNDMScheduler,
    LCMScheduler,
    EulerDiscreteScheduler,
    EulerAncestralDiscreteScheduler,
    HeunDiscreteScheduler,
    DPMSolverMultistepScheduler,
    UniPCMultistepScheduler,
]
KINDS = ["epsilon", "v_prediction", "sample"]


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("alpha_bar", [0.006, 0.4, 0.995])
def test_there_and_back(kind, alpha_bar):
    output, model_input = randn(2, 4, 6, 6), randn(2, 4, 6, 6, seed=1)
    rule = X0Rule(alpha_bar, kind)
    x0 = rule.x0(output, model_input)
    torch.testing.assert_close(rule.output(x0, model_input), output, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("make", SCHEDULERS)
def test_a_model_that_knows_the_picture_ends_with_it(make):
    """Whatever the space in which a scheduler keeps its latents: the output for x0 leads to x0."""
    scheduler = make()
    scheduler.set_timesteps(8)
    rules = x0_rules(scheduler)
    shares = [rule.alpha_bar for rule in rules]
    assert shares == sorted(shares)
    picture = 0.5 * randn(1, 4, 8, 8, seed=3)
    latents = randn(1, 4, 8, 8) * scheduler.init_noise_sigma
    for step, timestep in enumerate(scheduler.timesteps):
        model_input = scheduler.scale_model_input(latents, timestep)
        output = rules[step].output(picture, model_input)
        latents = scheduler.step(output, timestep, latents, return_dict=False)[0]
    assert (latents - picture).abs().mean() < 0.12


def clip(n_frames=6):
    return [rotating_sphere(64, 4.0 * frame) for frame in range(n_frames)]


def surface_of(gbuffers, latents=LatentConfig()):  # noqa: B008 (frozen)
    return ClipSurface(gbuffers, 8, MethodConfig(latents=latents), 0, torch.device("cpu"))


def test_objects_get_the_keyframes_statistics_and_only_theirs():
    object_id = surface_of(clip()).objects(range(6), (8, 8))
    assert object_id.shape == (6, 8, 8)
    assert set(object_id.unique().tolist()) == {0, 1}
    drift = torch.arange(6)[:, None, None, None] * 0.3 * (object_id == 1)[:, None]
    x0 = randn(6, 4, 8, 8) + drift
    keyframes = (x0[[0, 3]], object_id[[0, 3]])
    result = normalise_objects(x0, object_id, *keyframes, 1.0)
    inside = object_id == 1
    means = torch.stack([result[f].movedim(0, -1)[inside[f]].mean(0) for f in range(6)])
    pooled = torch.cat([x0[f].movedim(0, -1)[inside[f]] for f in (0, 3)])
    torch.testing.assert_close(means, pooled.mean(0).expand(6, -1), atol=1e-5, rtol=0)
    assert torch.equal(normalise_objects(x0, object_id, *keyframes, 0.0), x0)
    half = normalise_objects(x0, object_id, *keyframes, 0.5)
    torch.testing.assert_close(half, (x0 + result) / 2)


def test_the_published_normalisation_touches_the_background_alone():
    object_id = surface_of(clip()).objects(range(6), (8, 8))
    latents = randn(6, 4, 8, 8) * torch.linspace(1, 2, 6)[:, None, None, None]
    scheduler = DDIMScheduler()
    rules = LatentRules(LatentConfig("background"), scheduler, surface_of(clip()))
    result = torch.cat([rules.change_latents(latents[c], c) for c in ([0, 1, 2], [3, 4], [5])])
    outside = (object_id == 0)[:, None].expand_as(latents)
    assert torch.equal(result[~outside], latents[~outside])
    assert torch.equal(result[0], latents[0])
    first, last = (result[f].movedim(0, -1)[object_id[f] == 0] for f in (0, 5))
    torch.testing.assert_close(first.std(0), last.std(0), atol=1e-4, rtol=0)
    torch.testing.assert_close(first.mean(0), last.mean(0), atol=1e-4, rtol=0)


def test_nearest_two_keyframes():
    assert nearest_two(5, [0, 4, 7, 12]) == (4, 7)
    assert nearest_two(4, [0, 4, 7]) == (4, 7)
    assert nearest_two(3, [8]) == (8,)


def test_synchronised_latents_agree_where_keyframes_saw_and_are_unchanged_elsewhere():
    gbuffers = clip()
    engine = TextureCorrespondence(gbuffers, CorrespondenceConfig(restore_spread=False))
    x0 = randn(6, 4, 8, 8)
    result = synchronise(x0, range(6), x0[[0, 5]], [0, 5], engine, LatentConfig(synchronise=1.0))
    background = surface_of(gbuffers).objects(range(6), (8, 8)) == 0
    unchanged = background[:, None].expand_as(x0)
    assert torch.equal(result[unchanged], x0[unchanged])

    def disagreement(latents):
        maps, valid = engine.blend([3], [2], FeatureMap(8, 8), "fill")(latents[[3]])
        return (maps[0] - latents[2]).abs()[:, valid[0]].mean()

    assert disagreement(result) < 0.3 * disagreement(x0)
    assert torch.equal(synchronise(x0, range(6), x0[[0, 5]], [0, 5], engine, LatentConfig()), x0)


def test_all_frames_as_sources_end_up_with_one_picture_of_a_still_clip():
    """The mean of all, or, late and by quality, still that: no frame sees anything better."""
    gbuffers, tris, verts, cameras = ball_behind_slab(1, 0.0, 64)
    gbuffers = gbuffers * 6
    engine = ReprojectCorrespondence(
        SurfaceTracker(gbuffers, tris, verts * 6, cameras * 6),
        CorrespondenceConfig("reproject", restore_spread=False),
    )
    x0 = randn(6, 4, 8, 8)
    shown = (surface_of(gbuffers).objects(range(6), (8, 8)) > 0)[:, None].expand_as(x0)
    joined = x0.mean(0, keepdim=True).expand_as(x0)
    for rule, done in (("mean", 0.0), ("rising", 0.0), ("rising", 1.0)):
        config = LatentConfig(synchronise=1.0, synchronise_from="frames", synchronise_unify=rule)
        result = synchronise(x0, range(6), x0, range(6), engine, config, done)
        torch.testing.assert_close(result[shown], joined[shown])
        assert torch.equal(result[~shown], x0[~shown])


def test_all_frames_are_sources_and_of_a_long_clip_some():
    """Drawn anew at every step; with keyframes as sources these are handed back."""
    surface = surface_of(clip())
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(4)
    by_default = LatentRules(LatentConfig(synchronise=1.0), scheduler, surface)
    assert by_default.sources([1, 4], 0, 0) == [1, 4]
    assert LatentRules(LatentConfig(), scheduler, surface).sources([1, 4], 0, 0) == []
    rules = LatentRules(LatentConfig(synchronise=1.0, synchronise_from="frames"), scheduler, surface)
    assert rules.sources([1, 4], 0, 0) == list(range(6))
    surface.n_frames = 100
    draws = [rules.sources([1, 4], 0, draw) for draw in range(3)]
    assert [len(draw) for draw in draws] == [24, 24, 24]
    assert draws[0] != draws[1]


def test_rules_that_are_off_hand_back_the_very_tensors():
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(4)
    rules = LatentRules(LatentConfig(), scheduler, surface_of(clip()))
    output = randn(6, 4, 8, 8)
    assert rules.sources([0], 0, 0) == []
    assert rules.change_output(output, output, range(6), 0, 0.0) is output
    assert rules.change_latents(output, range(6)) is output


def test_hosts_that_have_clean_latents_need_no_scheduler():
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(4)
    config = LatentConfig("objects", synchronise=1.0)
    surface = surface_of(clip(), config)
    ours, hosts = LatentRules(config, scheduler, surface), LatentRules(config, None, surface)
    x0, seen = randn(6, 4, 8, 8), randn(6, 4, 8, 8, seed=1)
    rule = x0_rules(scheduler)[1]
    output = rule.output(x0, seen)
    ours.start_step([0, 5], output[[0, 5]], seen[[0, 5]], 1)
    hosts.start_x0([0, 5], x0[[0, 5]])
    changed = rule.x0(ours.change_output(output, seen, range(6), 1, 0.3), seen)
    assert not torch.allclose(changed, x0, atol=0.1)
    torch.testing.assert_close(hosts.change_x0(x0, range(6), 0.3), changed, atol=1e-4, rtol=0)


def test_synchronisation_ends_in_time():
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(4)
    config = LatentConfig(synchronise=1.0, synchronise_until=0.5)
    rules = LatentRules(config, scheduler, surface_of(clip(), config))
    output, model_input = randn(6, 4, 8, 8), randn(6, 4, 8, 8, seed=1)

    def change(step, done, chunks):
        rules.start_step([0, 5], output[[0, 5]], model_input[[0, 5]], step)
        return torch.cat([rules.change_output(output[c], model_input[c], c, step, done) for c in chunks])

    changed = [
        float((change(step, done, [range(6)]) - output).abs().max()) for step, done in ((1, 0.4), (3, 0.9))
    ]
    pieces = change(1, 0.4, [[0, 1], [2, 3, 4], [5]])
    torch.testing.assert_close(pieces, change(1, 0.4, [range(6)]), atol=1e-6, rtol=0)
    assert changed[0] > 0.1
    assert changed[1] < 1e-4
    assert np.isfinite(changed).all()
