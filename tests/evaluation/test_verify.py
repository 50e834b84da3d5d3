"""The checks find what they should: agreement where it is, and its absence where it was destroyed."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from scene.gltf_builder import GltfBuilder
from screen_blend import ScreenBlend

from genrender.config import CorrespondenceConfig, UnifyRule
from genrender.correspondence.engines import make_engine
from genrender.correspondence.gather import FeatureMap
from genrender.errors import ConfigError
from genrender.evaluation.verify.checks import Verification, verify_clip
from genrender.evaluation.verify.features import (
    SurfaceFeatures,
    choose_pair,
    measure_coverage,
    measure_engine,
)
from genrender.evaluation.verify.matches import Matches, match_pixels
from genrender.evaluation.verify.noise import clip_noise, measure_noise, morans_i, shuffled
from genrender.noise.hashing import hash_key, hashed_normal
from genrender.noise.initial import nearest_side
from genrender.scene.load import load_scene
from genrender.scene.procedural.primitives import sphere
from genrender.shots.clip import Clip, ShotConfig, render_clip
from genrender.surface.texels import pixel_centres, texels_under_pixels

SIZE, SIDE = 256, 32
SHAPE = (SIDE, SIDE)


@pytest.fixture(scope="session")
def ball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ball that turns about the vertical axis, 60 degrees in a second, or rests."""
    part = sphere(0.7, segments=40)
    builder = GltfBuilder()
    uvs = builder.accessor(part.uvs)
    node = builder.node(mesh=builder.mesh(part.verts, part.tris.ravel(), attributes={"TEXCOORD_0": uvs}))
    turn = np.deg2rad(60) / 2
    turned = [[0, 0, 0, 1], [0, np.sin(turn), 0, np.cos(turn)]]
    builder.animate("Turn", [(node, "rotation", [0, 1], np.array(turned), "LINEAR")])
    builder.animate("Rest", [(node, "rotation", [0, 1], np.array([[0, 0, 0, 1]] * 2), "LINEAR")])
    return builder.save(tmp_path_factory.mktemp("scenes") / "ball.glb")


@cache
def clip_of(file: Path, animation: str = "Turn", n_frames: int = 4, camera: str | None = None) -> Clip:
    shot = ShotConfig((SIZE, SIZE), animation, n_frames, fps=8, camera=camera)
    return render_clip(load_scene(file), shot)


@cache
def verification_of(file: Path, animation: str) -> Verification:
    return verify_clip(clip_of(file, animation))


def consecutive(clip: Clip) -> tuple[list[Matches], list[np.ndarray]]:
    """What `measure_noise` wants to know of a clip beside its noise."""
    matches = [match_pixels(clip.tracker, frame, frame - 1, SHAPE) for frame in range(1, len(clip.gbuffers))]
    return matches, [texels_under_pixels(g, SHAPE, nearest_side(SHAPE)) for g in clip.gbuffers]


def test_a_scene_at_rest_agrees_exactly(ball):
    found = verification_of(ball, "Rest")
    for mode in ("nearest", "partition"):
        assert found.noise[mode].alignment == 1
        assert found.noise[mode].correlation == pytest.approx(1, abs=1e-9)
    assert found.round_trip_error == pytest.approx(0, abs=1e-2)
    assert found.engines["reproject"].other_frame_error == 0
    assert found.blend_error == pytest.approx(0, abs=1e-6)
    assert found.coverage == {"texture": 1, "reproject": 1}
    assert found.unblended_error > 1


def test_a_moving_scene_is_as_expected(ball):
    found = verification_of(ball, "Turn")
    assert found.as_json()["attention"] == []
    assert found.noise["nearest"].alignment == 1
    assert found.noise["nearest"].n_same_texel > 100
    assert 0.3 < found.noise["partition"].correlation < 0.9
    assert abs(found.noise["partition"].correlation_elsewhere) < 0.03
    assert found.blend_error < 0.5 * found.unblended_error
    assert found.engines["reproject"].own_frame_error == 0
    assert found.engines["reproject"].other_frame_error < found.engines["texture"].other_frame_error
    assert found.engines["texture"].carried > 0.9


def test_noise_that_does_not_stick_is_found(ball):
    clip = clip_of(ball)
    matches, texels = consecutive(clip)
    control = verification_of(ball, "Turn").noise["independent"]
    assert control.alignment == 0
    assert abs(control.correlation) < 0.05
    # One latent pixel beside the right place is not the right place.
    nearest = list(clip_noise(clip, "nearest", 0))
    slipped = [np.roll(noise, frame, axis=1) for frame, noise in enumerate(nearest)]
    aligned, broken = (measure_noise(noise, matches, texels) for noise in (nearest, slipped))
    assert aligned.alignment == 1
    assert broken.alignment < 0.1
    assert broken.correlation < 0.1


def test_correspondence_that_is_wrong_is_found(ball):
    clip = clip_of(ball)
    matches, texels = consecutive(clip)
    partition = list(clip_noise(clip, "partition", 0))
    wrong = [shuffled(found, SIDE, 0) for found in matches]
    assert min(len(found.here) for found in wrong) > 100
    assert abs(measure_noise(partition, wrong, texels).correlation) < 0.05


def test_noise_that_is_not_white_is_found():
    fine = hashed_normal(hash_key(0, "white"), np.arange(16 * 32 * 32)).reshape(16, 32, 32)
    assert abs(morans_i(fine)) < 0.02
    # Every value four times: half of the neighbours are equal, the others know nothing of each other.
    blotched = fine[:, :16, :16].repeat(2, axis=1).repeat(2, axis=2)
    assert morans_i(blotched) == pytest.approx(0.5, abs=0.05)
    everywhere = Matches(np.arange(1024), np.arange(1024))
    texels = [np.arange(1024)] * 2
    assert measure_noise([2 * fine] * 2, [everywhere], texels).std == pytest.approx(2, abs=0.05)


def test_matches_show_the_same_surface_point(ball):
    clip = clip_of(ball)
    found = match_pixels(clip.tracker, 1, 0, SHAPE)
    assert len(found.here) > 0.8 * np.count_nonzero(pixel_centres(clip.gbuffers[1], SHAPE).object_id)
    positions = []
    for frame, pixels in ((1, found.here), (0, found.there)):
        centres = pixel_centres(clip.gbuffers[frame], SHAPE)
        corners = clip.geometry.verts(0)[
            clip.geometry.scene.tris[centres.tri_id[pixels]]
        ]  # when the clip begins
        second, third = centres.bary[pixels].T[..., None]
        positions.append(
            (1 - second - third) * corners[:, 0] + second * corners[:, 1] + third * corners[:, 2]
        )
    distance = np.linalg.norm(positions[0] - positions[1], axis=1)
    pixel = 1.4 / 20  # the ball's diameter, and how many feature pixels show it at least
    assert np.median(distance) < 0.7 * pixel
    assert (distance < 3 * pixel).mean() > 0.98


def test_a_frame_matches_itself_everywhere(ball):
    clip = clip_of(ball)
    shown = np.flatnonzero(pixel_centres(clip.gbuffers[2], SHAPE).object_id)
    found = match_pixels(clip.tracker, 2, 2, SHAPE)
    np.testing.assert_array_equal(found.here, found.there)
    assert np.isin(found.here, shown).all()
    assert len(found.here) > 0.95 * len(shown)  # at the outline a slope may pass for an edge


class StaysOnScreen:
    """An engine that carries features nowhere: every frame gets the first keyframe's, pixel by pixel."""

    def grid(self, features: FeatureMap) -> FeatureMap:
        return features

    def blend(
        self,
        keyframes: Sequence[int],  # noqa: ARG002
        frames: Sequence[int],
        features: FeatureMap,
        rule: UnifyRule,  # noqa: ARG002
        progress: float = 0.0,  # noqa: ARG002
    ) -> ScreenBlend:
        valid = torch.ones(len(frames), features.height, features.width, dtype=torch.bool)
        return ScreenBlend(lambda sources: sources[:1].expand(len(frames), -1, -1, -1), valid)


def test_features_that_stay_on_the_screen_are_found(ball):
    clip = clip_of(ball)
    n_shown = [int(np.count_nonzero(pixel_centres(g, SHAPE).object_id)) for g in clip.gbuffers]
    pair, matches = choose_pair(clip.tracker, n_shown, SHAPE)
    assert pair == (0, 3)
    features = SurfaceFeatures(clip.tracker, SHAPE, pair, 0)
    figures = measure_engine(StaysOnScreen(), features, pair, matches, SHAPE, "paper")
    assert figures.own_frame_error == 0
    assert figures.other_frame_error > 2 * features.one_pixel_off(0)
    found = verification_of(ball, "Turn")
    assert figures.blend_error > 0.9 * found.unblended_error


def test_features_are_functions_of_the_surface_point(ball):
    clip = clip_of(ball)
    features = SurfaceFeatures(clip.tracker, SHAPE, (0, 3), 0)
    matches = match_pixels(clip.tracker, 3, 0, SHAPE)
    first, last = (features.agreeing(frame).flatten(1) for frame in (0, 3))
    assert (last[:, matches.here] - first[:, matches.there]).abs().mean() < features.one_pixel_off(0)
    shown = torch.from_numpy(pixel_centres(clip.gbuffers[0], SHAPE).object_id > 0)
    assert first[:, shown].std(1).min() > 0.8
    assert not first[:, ~shown].any()
    other = SurfaceFeatures(clip.tracker, SHAPE, (0, 3), 1)
    assert torch.equal(other.agreeing(3), features.agreeing(3))
    assert not torch.equal(other.disagreeing(3), features.disagreeing(3))


@pytest.mark.parametrize("name", ["texture", "reproject"])
def test_coverage_is_what_keyframes_show(ball, name):
    clip = clip_of(ball, "Rest", 4, "orbit")  # from four sides
    engine = make_engine(clip.gbuffers, CorrespondenceConfig(name), torch.device("cpu"), clip.tracker)

    def coverage(*keyframes: int) -> np.ndarray:
        return measure_coverage(engine, clip, keyframes, SHAPE, "paper", lambda _: None)

    np.testing.assert_array_equal(coverage(0, 1, 2, 3), 1)
    from_front = coverage(0)
    assert from_front[0] == 1
    assert from_front[2] < 0.1
    assert 0.1 < from_front[1] < 0.7
    assert (coverage(0, 2) >= from_front).all()


def test_what_cannot_be_verified_is_said(ball, tmp_path):
    with pytest.raises(ConfigError, match="the clip has 1 frame"):
        verify_clip(clip_of(ball, "Turn", 1))
    with pytest.raises(ConfigError, match="no other frame shows any of the surface that frame 0 shows"):
        verify_clip(clip_of(ball, "Rest", 2, "orbit"))
    with pytest.raises(ConfigError, match="60x64, expected multiples of 8, for instance 64x64"):
        verify_clip(render_clip(load_scene(ball), ShotConfig((60, 64), n_frames=2)))
    (tmp_path / "away.json").write_text('{"eye": [0, 0, 5], "target": [0, 0, 9]}')
    away = ShotConfig((64, 64), n_frames=2, camera=str(tmp_path / "away.json"))
    with pytest.raises(ConfigError, match="the camera sees nothing"):
        verify_clip(render_clip(load_scene(ball), away))
