"""Control experiments: clips whose worth is known must come out in that order by the metrics together."""

import numpy as np
import pytest

from genrender.metrics.sharpness import sharpness
from genrender.metrics.table import Subject, measure
from genrender.scene.formats.gltf.write import GltfScene, MeshNode, write_glb
from genrender.scene.load import load_scene
from genrender.scene.procedural.primitives import sphere
from genrender.shots.clip import ShotConfig, render_clip

SIZE = 64


@pytest.fixture(scope="module")
def ball(tmp_path_factory):
    path = tmp_path_factory.mktemp("ball") / "ball.glb"
    write_glb(path, GltfScene((MeshNode("ball", sphere()),)))
    return render_clip(load_scene(path), ShotConfig((SIZE, SIZE), n_frames=24, camera="turntable"))


@pytest.fixture(scope="module")
def clips(ball) -> dict[str, np.ndarray]:
    uv = np.stack([gbuffer.uv for gbuffer in ball.gbuffers])
    visible = np.stack([gbuffer.visible for gbuffer in ball.gbuffers])[..., None]
    waves = np.stack([np.sin(50 * uv[..., 0]), np.cos(40 * uv[..., 1]), np.sin(30 * uv.sum(-1))], -1)
    baked = np.where(visible, 0.5 + 0.3 * waves, 0.2)
    noise = np.random.default_rng(0).uniform(0, 1, baked.shape)
    flickering = 0.7 * baked + 0.3 * noise
    blurred = flickering
    for _ in range(3):
        blurred = (blurred + sum(np.roll(blurred, s, axis) for axis in (1, 2) for s in (1, -1))) / 5
    return {"baked": baked, "flickering": flickering, "blurred": blurred, "noise": noise}


@pytest.fixture(scope="module")
def errors(ball, clips) -> dict[str, dict]:
    return {name: measure(Subject(frames, ball)) for name, frames in clips.items()}


def test_independent_noise_is_the_worst_by_every_measure_of_steadiness(errors):
    for stride in ("1", "4", "first"):
        for part in ("surface_error", "foreground_error", "background_error"):
            of = {name: error[part][stride] for name, error in errors.items()}
            assert max(of, key=of.__getitem__) == "noise"
    for key in ("texel_std", "texel_std_without_frame_mean"):
        of = {name: error[key] for name, error in errors.items()}
        assert max(of, key=of.__getitem__) == "noise"


def test_a_baked_texture_is_near_zero(errors):
    """What is left of it is sampling: a point lies between pixels in one frame and not in the other."""
    for stride in ("1", "4", "first"):
        baked, noise = (errors[name]["surface_error"][stride] for name in ("baked", "noise"))
        assert baked < 0.1 * noise
    assert errors["baked"]["background_error"]["1"] == 0
    assert errors["baked"]["texel_std"] < 0.15 * errors["noise"]["texel_std"]


def test_a_blurred_copy_looks_steadier_and_sharpness_tells_on_it(ball, clips, errors):
    """Blur must not win: what it gains in steadiness it loses in sharpness, and more."""
    gain = errors["blurred"]["surface_error"]["1"] / errors["flickering"]["surface_error"]["1"]
    soft, sharp = (sharpness(clips[name], ball.gbuffers) for name in ("blurred", "flickering"))
    assert gain < 1, "a blurred copy that is not steadier is no experiment"
    assert soft / sharp < gain**2 < 1
    # And nothing that is sharp and steady is beaten by it in either.
    assert errors["baked"]["surface_error"]["1"] < errors["blurred"]["surface_error"]["1"]
    assert sharpness(clips["baked"], ball.gbuffers) > soft


def test_sharpness_is_the_variance_of_the_laplacian(ball):
    noise = np.random.default_rng(0).random((24, SIZE, SIZE, 3))
    assert sharpness(np.full_like(noise, 0.5), ball.gbuffers) == pytest.approx(0)
    # A Laplacian of independent values has 20 times their variance: 4^2 + 4 * 1.
    of_luminance = (noise @ np.array([0.2126, 0.7152, 0.0722])).var()
    assert sharpness(noise, ball.gbuffers) == pytest.approx(20e3 * of_luminance, rel=0.15)
