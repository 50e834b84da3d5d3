"""Known failures, made on purpose, are told by their names; a painted surface shows none of them."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from genrender.evaluation.diagnose import measure, symptoms
from genrender.scene.formats.gltf.write import GltfScene, MeshNode, write_glb
from genrender.scene.load import load_scene
from genrender.scene.procedural.primitives import sphere
from genrender.shots.clip import ShotConfig, render_clip

SIZE = 64


@cache
def clip(folder):
    path = folder / "ball.glb"
    write_glb(path, GltfScene((MeshNode("ball", sphere()),)))
    return render_clip(load_scene(path), ShotConfig((SIZE, SIZE), n_frames=12, camera="turntable"))


@pytest.fixture(scope="module")
def ball(tmp_path_factory):
    return clip(tmp_path_factory.mktemp("ball"))


def painted(clip):
    """Coloured by texture coordinates: what a perfect run looks like."""
    uv = np.stack([g.uv for g in clip.gbuffers])
    waves = np.stack([np.sin(25 * uv[..., 0]), np.cos(20 * uv[..., 1]), np.sin(15 * uv.sum(-1))], -1)
    visible = np.stack([g.visible for g in clip.gbuffers])[..., None]
    return np.where(visible, 0.5 + 0.3 * waves, 0.2).astype(np.float32)


def found(frames, clip, reference=None):
    return {s.name for s in symptoms(measure(frames, clip, reference)) if s.is_present}


def test_a_painted_surface_is_healthy(ball):
    frames = painted(ball)
    assert found(frames, ball, frames[:2]) == set()


def test_each_failure_is_told_by_its_name(ball):
    frames = painted(ball)
    rng = np.random.default_rng(0)
    anew = rng.permuted(frames.reshape(len(frames), -1, 3), axis=1).reshape(frames.shape)
    assert "flicker" in found(anew.astype(np.float32), ball)
    stuck = np.repeat(frames[:1], len(frames), axis=0)
    assert "texture sticking" in found(stuck, ball)
    ramp = np.linspace(0, 0.3, len(frames), dtype=np.float32)[:, None, None, None]
    assert "colour drift" in found(frames + ramp, ball)
    soft = frames.copy()
    for _ in range(2):
        soft = (soft + sum(np.roll(soft, s, axis) for axis in (1, 2) for s in (1, -1))) / 5
    assert "blur" in found(soft.astype(np.float32), ball, frames[:2])


def test_without_a_reference_blur_cannot_be_told(ball):
    (blur,) = (s for s in symptoms(measure(painted(ball), ball)) if s.name == "blur")
    assert blur.is_present is None


def test_what_a_clip_does_not_show_cannot_be_told(ball, tmp_path):
    def told(frames, clip):
        return {one.name: one.is_present for one in symptoms(measure(frames, clip))}

    # One colour throughout: no point has a neighbour of another colour to be taken for.
    plain = np.full_like(painted(ball), 0.5)
    assert told(plain, ball) == {
        "flicker": None,
        "texture sticking": None,
        "blur": None,
        "colour drift": False,
    }
    # Nothing moves: what sticks to the screen sticks to the surface, too.
    path = tmp_path / "ball.glb"
    write_glb(path, GltfScene((MeshNode("ball", sphere()),)))
    still = render_clip(load_scene(path), ShotConfig((SIZE, SIZE), n_frames=3))
    of_still = {"flicker": False, "texture sticking": None, "blur": None, "colour drift": False}
    assert told(painted(still), still) == of_still
    # One frame has none to be compared with.
    (first,) = (replace(still, gbuffers=still.gbuffers[:1]),)
    assert set(told(painted(first), first).values()) == {None}
