"""Laws of backdrops: they add a background that stays in place, and change nothing else."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genrender.config import NoiseConfig
from genrender.errors import ConfigError
from genrender.gbuffer.control import depth_control, inverse_depth_range
from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.raycast import render_gbuffer
from genrender.noise.initial import surface_noise
from genrender.scene.backdrop import (
    Backdrop,
    BackdropKind,
    add_backdrop,
    dome,
    ground,
    octahedral_direction,
    parse_backdrop,
)
from genrender.scene.backdrop_ids import DOME_ID, GROUND_ID
from genrender.scene.camera import Camera
from genrender.scene.cameras.framing import as_clip
from genrender.scene.cameras.path import camera_path
from genrender.scene.load import load_scene
from genrender.scene.procedural.primitives import MeshPart
from genrender.scene.scene import Scene
from genrender.scene.uv.quality import outside_percent, overlap_percent, surface_area
from genrender.scene.uv.unwrap import unwrap, weld
from genrender.shots.clip import Shot, ShotConfig, plan_shot, render_clip
from genrender.surface.flow import SurfaceFlow, follow
from genrender.surface.texels import MAX_SIDE, sample_under_pixel
from genrender.surface.tracking import SurfaceTracker

SCENES = Path(__file__).resolve().parents[2] / "examples" / "scenes"
KINDS = ("ground", "dome", "both")
VAE = 8


@cache
def biped() -> Scene:
    return load_scene(SCENES / "walking_biped.glb")


@cache
def shot_of(kind: BackdropKind, camera: str | None, size: int = 96, n_frames: int = 6) -> Shot:
    return plan_shot(biped(), ShotConfig((size, size), n_frames=n_frames, camera=camera, backdrop=kind))


@cache
def frame_of(shot: Shot, frame: int) -> GBuffer:
    return shot.gbuffer(frame)


def frames_of(shot: Shot) -> list[GBuffer]:
    return [frame_of(shot, frame) for frame in range(shot.n_frames)]


def flow_between(shot: Shot, earlier: int, later: int) -> SurfaceFlow:
    """Where the earlier frame shows what the later one shows."""
    before, now = frame_of(shot, earlier), frame_of(shot, later)
    verts = [shot.verts(frame) for frame in (earlier, later)]
    cameras = [shot.cameras[frame] for frame in (earlier, later)]
    return follow(SurfaceTracker([before, now], shot.scene.tris, verts, cameras), 1, 0)


def morans_i(z: np.ndarray) -> float:
    """Mean correlation of neighbours, about 0 for white noise."""
    z = z - z.mean((-2, -1), keepdims=True)
    pairs = [(z[..., 1:] * z[..., :-1]).mean(), (z[..., 1:, :] * z[..., :-1, :]).mean()]
    return float(np.mean(pairs) / np.square(z).mean())


# What stays as it was.


@pytest.mark.parametrize("kind", KINDS)
def test_the_scenes_own_objects_stay_what_they_are(kind):
    scene = biped()
    full = add_backdrop(scene, kind, 0, (0.0, 0.5))
    n_objects, n_tris, n_verts = len(scene.objects), len(scene.tris), len(scene.rest_verts)
    assert full.objects[:n_objects] == scene.objects
    added = {"ground": ["Ground"], "dome": ["Dome"], "both": ["Ground", "Dome"]}[kind]
    assert [thing.name for thing in full.objects[n_objects:]] == added
    np.testing.assert_array_equal(full.object_id[:n_tris], scene.object_id)
    np.testing.assert_array_equal(full.tris[:n_tris], scene.tris)
    np.testing.assert_array_equal(full.uvs[:n_tris], scene.uvs)
    ids = [{"Ground": GROUND_ID, "Dome": DOME_ID}[name] for name in added]
    assert np.unique(full.object_id[n_tris:]).tolist() == ids
    np.testing.assert_array_equal(full.is_backdrop, np.arange(len(full.tris)) >= n_tris)
    for time_s in (0.0, 0.3, 0.7):
        verts = full.evaluate(time_s, 0)
        np.testing.assert_array_equal(verts[:n_verts], scene.evaluate(time_s, 0))
        np.testing.assert_array_equal(verts[n_verts:], full.rest_verts[n_verts:])


@pytest.mark.parametrize("camera", [None, "orbit", "turntable"])
@pytest.mark.parametrize("kind", KINDS)
def test_framing_does_not_see_a_backdrop(kind, camera):
    plain, full = shot_of("none", camera), shot_of(kind, camera)
    path = camera_path(camera, full.scene, full.animation, plain.times_s, 1.0)
    for frame, time_s in enumerate(plain.times_s):
        expected = plain.cameras[frame].world_from_camera
        np.testing.assert_array_equal(full.cameras[frame].world_from_camera, expected)
        np.testing.assert_array_equal(path.at(time_s).world_from_camera, expected)


def test_none_is_the_scene_itself():
    assert add_backdrop(biped(), "none") is biped()


def test_unwrapping_leaves_a_backdrop_alone():
    clip = render_clip(biped(), ShotConfig((8, 8), n_frames=1, backdrop="both"))
    scene = clip.shot.scene
    assert unwrap(scene).scene is scene
    remade = unwrap(scene, "unwrap").scene
    is_changed = (remade.uvs != scene.uvs).any(axis=(1, 2))
    assert not is_changed[scene.is_backdrop].any()
    assert is_changed[~scene.is_backdrop].mean() > 0.9


def test_own_pixels_and_the_range_of_depths_are_unaffected():
    plain, full = frames_of(shot_of("none", "orbit")), frames_of(shot_of("both", "orbit"))
    assert inverse_depth_range(plain) == inverse_depth_range(full)
    control, with_backdrop = depth_control(plain), depth_control(full)
    for frame, gbuffer in enumerate(plain):
        own = gbuffer.visible
        for name in ("depth", "uv", "object_id", "tri_id"):
            np.testing.assert_array_equal(getattr(full[frame], name)[own], getattr(gbuffer, name)[own])
        np.testing.assert_array_equal(with_backdrop[frame][own], control[frame][own])
        assert not with_backdrop[frame][full[frame].object_id == DOME_ID].any()


# Where a backdrop is.


def moving_camera(azimuth: float, elevation: float, distance: float, yfov_deg: float) -> Camera:
    lower, upper = as_clip(biped(), 0, (0.0,)).bounds()
    middle = (lower + upper) / 2
    back = np.array(
        [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    )
    return Camera.look_at(middle + distance * back, middle, yfov_deg=yfov_deg)


@settings(max_examples=12, deadline=None)
@given(
    st.floats(0, 2 * np.pi), st.floats(-1.5, 1.5), st.floats(0.3, 20.0), st.floats(10.0, 120.0),
    st.sampled_from(["dome", "both"]),
)  # fmt: skip
def test_every_pixel_shows_a_surface_from_everywhere(azimuth, elevation, distance, yfov_deg, kind):
    camera = moving_camera(azimuth, elevation, distance, yfov_deg)
    scene = add_backdrop(biped(), kind, 0, (0.0,), [camera])
    gbuffer = render(scene, camera, 64)
    assert gbuffer.visible.all()
    assert (gbuffer.depth > 0).all()


def render(scene: Scene, camera: Camera, size: int) -> GBuffer:
    verts = scene.evaluate(0.0, 0)
    return render_gbuffer(verts, scene.tris, scene.uvs, scene.object_id, camera, size, size)


def test_an_orbit_has_no_cracks():
    for gbuffer in frames_of(shot_of("both", "orbit", 384, 4)):
        assert gbuffer.visible.all()


def test_orthographic_views_are_filled():
    camera = Camera.look_at(np.array([0.0, 40, 0]), np.zeros(3), ymag=200.0)
    gbuffer = render(add_backdrop(biped(), "both", 0, (0.0,), [camera]), camera, 32)
    assert gbuffer.visible.all()


def test_the_dome_is_watertight():
    mesh = dome(3.0)
    _, tris = weld(mesh.verts[mesh.tris].astype(np.float32))
    edges = np.sort(tris[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    _, n_sides = np.unique(edges, axis=0, return_counts=True)
    assert (n_sides == 2).all()


@pytest.mark.parametrize("name", ["walking_biped", "trotting_quadruped", "still_life"])
def test_the_ground_lies_under_the_clip_at_all_times(name):
    scene = load_scene(SCENES / f"{name}.glb")
    shot = plan_shot(scene, ShotConfig((16, 16), n_frames=8, camera="orbit", backdrop="ground"))
    ids = shot.scene.tris[shot.scene.object_id == GROUND_ID]
    height = shot.scene.rest_verts[ids, 1]
    assert np.ptp(height) == 0
    lowest = min(scene.evaluate(t, shot.animation)[:, 1].min() for t in shot.times_s)
    size = np.ptp(scene.rest_verts, axis=0).max()
    assert 0 < lowest - height[0, 0] < 0.01 * size


@pytest.mark.parametrize("camera", ["orbit", "turntable"])
def test_points_of_the_background_keep_their_place_and_texel_when_the_camera_moves(camera):
    shot = shot_of("both", camera, 96, 24)
    for earlier, later in ((0, 1), (3, 5)):
        before, now = frame_of(shot, earlier), frame_of(shot, later)
        flow = flow_between(shot, earlier, later)
        still = flow.visible & np.isin(now.object_id, (GROUND_ID, DOME_ID))
        assert still.sum() > 1000
        column, row = np.floor(flow.xy[still]).astype(int).T
        apart = np.abs(before.uv[row, column] - now.uv[still]).max(axis=1)
        # Half a pixel of rounding in a picture that shows a few tenths of the texture.
        assert np.percentile(apart, 99) < 0.01


# Textures.


@pytest.mark.parametrize(
    "mesh", [ground(50.0, 1.0), ground(30.0, 4.0), dome(2.0)], ids=["near", "far", "dome"]
)
def test_uvs_do_not_overlap_or_leave_the_texture(mesh: MeshPart):
    uvs = mesh.uvs[mesh.tris].astype(np.float32)
    assert overlap_percent(uvs) == 0
    assert outside_percent(uvs) == 0
    assert (uv_area(mesh) > 1e-6).all()


def uv_area(mesh: MeshPart) -> np.ndarray:
    edges = mesh.uvs[mesh.tris][:, 1:] - mesh.uvs[mesh.tris][:, :1]
    return np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]) / 2


def test_the_domes_texture_is_equally_dense_everywhere():
    mesh = dome(1.0)
    corners = mesh.verts[mesh.tris]
    density = uv_area(mesh) / surface_area(corners)
    # Two triangles share a cell, and only cells have equal areas.
    first, second = density[: len(density) // 2], density[len(density) // 2 :]
    cell = 2 / (1 / first + 1 / second)
    assert cell.max() / cell.min() < 1.15
    assert density.max() / density.min() < 2


@given(st.floats(0, 1), st.floats(0, 1))
def test_octahedral_directions_are_unit_vectors_in_the_right_hemisphere(u, v):
    direction = octahedral_direction(np.array([[u, v]]))[0]
    assert np.linalg.norm(direction) == pytest.approx(1)
    above = 1 - abs(2 * u - 1) - abs(2 * v - 1)
    assert direction[1] * above >= -1e-9


@given(st.floats(0, 1))
def test_opposite_points_of_the_border_are_one_point(t):
    for one, other in (
        ((0, t), (0, 1 - t)),
        ((1, t), (1, 1 - t)),
        ((t, 0), (1 - t, 0)),
        ((t, 1), (1 - t, 1)),
    ):
        pair = octahedral_direction(np.array([one, other], np.float64))
        np.testing.assert_allclose(pair[0], pair[1], atol=1e-7)


@pytest.mark.parametrize("camera", ["orbit", "turntable"])
def test_a_camera_sees_all_of_the_background_about_equally_dense(camera):
    gbuffer = frame_of(shot_of("both", camera, 384, 4), 0)
    for object_id, factor in ((GROUND_ID, 8), (DOME_ID, 1.5)):
        density = seen_density(gbuffer, object_id)
        assert len(density) > 1000
        low, high = np.percentile(density, [1, 99])
        assert high / low < factor


def seen_density(gbuffer: GBuffer, object_id: int) -> np.ndarray:
    """The share of the texture in each pixel that shows the object."""
    right, down = np.diff(gbuffer.uv, axis=1)[:-1], np.diff(gbuffer.uv, axis=0)[:, :-1]
    area = np.abs(right[..., 0] * down[..., 1] - right[..., 1] * down[..., 0])
    shows = gbuffer.object_id == object_id
    return area[shows[:-1, :-1] & shows[1:, :-1] & shows[:-1, 1:]]


# Noise.


@pytest.mark.parametrize(
    ("kind", "camera"), [("ground", "orbit"), ("dome", "turntable"), ("both", "orbit"), ("both", "turntable")]
)
def test_noise_on_a_backdrop_is_standard_and_white(kind, camera):
    # Where the horizon crosses the picture, and where the dome's seams do: the turntable looks level.
    gbuffers = frames_of(shot_of(kind, camera, 384, 4))[:2]
    z = surface_noise(gbuffers, 24, VAE, 3, NoiseConfig("partition")).numpy()
    print(f"{kind}, {camera}: std {z.std():.4f}, Moran's I {morans_i(z):+.4f}")
    for frame in z:
        # 55,000 numbers: standard errors of 0.003 and 0.003.
        assert abs(frame.std() - 1) < 0.015
        assert abs(morans_i(frame)) < 0.015
    horizon = z[:, :, 0:8] if camera == "orbit" else z[:, :, 20:32]
    assert abs(horizon.std() - 1) < 0.02
    assert abs(morans_i(horizon)) < 0.02


def test_noise_follows_the_background_when_the_camera_moves():
    shot = shot_of("both", "orbit", 384, 24)
    side = 384 // VAE
    first, second = frame_of(shot, 0), frame_of(shot, 1)
    flow = flow_between(shot, 0, 1)
    centres = sample_under_pixel(384, side)
    z = {
        mode: surface_noise([first, second], 24, VAE, 0, NoiseConfig(mode)).numpy()
        for mode in ("partition", "fixed")
    }
    for object_id, least in ((GROUND_ID, 0.45), (DOME_ID, 0.5)):
        shown = (flow.visible & (second.object_id == object_id))[centres[:, None], centres]
        column, row = (flow.xy[centres[:, None], centres][shown] // VAE).astype(int).T
        figures = {}
        for mode, (before, now) in z.items():
            a, b = before[:, row, column], now[:, shown]
            figures[mode] = float((a * b).mean() / np.sqrt(np.square(a).mean() * np.square(b).mean()))
        print(f"object {object_id}: {figures}")
        assert figures["partition"] > least
        assert abs(figures["fixed"]) < 0.06


# Words and refusals.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("none", Backdrop()),
        ("ground", Backdrop("ground")),
        (" Both ", Backdrop("both")),
        ("white", Backdrop(color=(255, 255, 255))),
        ("#204060", Backdrop(color=(32, 64, 96))),
        ("#fff", Backdrop(color=(255, 255, 255))),
        ("SteelBlue", Backdrop(color=(70, 130, 180))),
        ("rgb(1, 2, 3)", Backdrop(color=(1, 2, 3))),
    ],
)
def test_words_for_backdrops(text, expected):
    assert parse_backdrop(text) == expected


@pytest.mark.parametrize("text", ["", "floor", "#12", "#20406080", "domes", "1"])
def test_other_words_are_refused(text):
    with pytest.raises(ConfigError, match="expected none, ground, dome, both, or a colour"):
        parse_backdrop(text)


def test_a_second_backdrop_is_refused():
    with pytest.raises(ConfigError, match="has a backdrop already"):
        add_backdrop(add_backdrop(biped(), "dome"), "ground")


def test_backdrop_ids_fit_into_texel_ids():
    assert GROUND_ID < DOME_ID < MAX_SIDE
