"""Control pictures of every kind: normals are the geometry's, lines lie on edges, colours go by names."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import panned_plane, rotating_sphere

from genrender.config import PER_FRAME
from genrender.errors import ConfigError
from genrender.gbuffer.control import depth_control
from genrender.gbuffer.control_lineart import lineart_control
from genrender.gbuffer.control_normal import normal_control, view_normals
from genrender.gbuffer.control_pictures import ControlPictures, as_channels
from genrender.gbuffer.control_segmentation import class_colours, colour_of, segmentation_control
from genrender.gbuffer.exr.channels import ExrMap
from genrender.gbuffer.exr.frame import read_exr, write_exr
from genrender.gbuffer.exr.survey import open_sequence
from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.raycast import render_gbuffer
from genrender.gbuffer.store import StoredGBuffers
from genrender.sampling.surface import ClipSurface
from genrender.scene.backdrop_ids import DOME_ID, GROUND_ID
from genrender.scene.camera import Camera, Lens
from genrender.scene.load import load_scene
from genrender.scene.procedural.primitives import box, sphere
from genrender.shots.clip import ShotConfig, plan_shot

EXAMPLES = Path(__file__).parents[2] / "examples" / "scenes"
FRONT = Camera.look_at(np.array([0.0, 0, 5]), np.zeros(3))
CAMERAS = {
    "perspective": Camera.look_at(np.array([3.0, 2, 4]), np.zeros(3), yfov_deg=35),
    "shifted": replace(Camera.look_at(np.array([3.0, 2, 4]), np.zeros(3), yfov_deg=35), shift=(0.1, -0.05)),
    "orthographic": Camera.look_at(np.array([3.0, 2, 4]), np.zeros(3), ymag=1.6),
}


def rendered(mesh, camera: Camera = FRONT, size: tuple[int, int] = (96, 128)) -> GBuffer:
    verts, tris = mesh.verts, mesh.tris.astype(np.int32)
    uvs = np.zeros((len(tris), 3, 2), np.float32)
    return render_gbuffer(verts, tris, uvs, np.ones(len(tris), np.int32), camera, *size)


def face_normals(verts: np.ndarray, tris: np.ndarray, camera: Camera, gbuffer: GBuffer) -> np.ndarray:
    """Of the triangles that were hit, as the camera sees them, turned towards it."""
    corners = verts[tris[gbuffer.tri_id]]
    normals = np.cross(corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :])
    normals = normals / np.linalg.norm(normals, axis=-1, keepdims=True) @ camera.world_from_camera[:3, :3]
    _, directions = camera.rays(gbuffer.height, gbuffer.width)
    rays = (directions @ camera.world_from_camera[:3, :3]).reshape(normals.shape)
    away = (normals * rays).sum(-1) > 0
    return np.where(away[..., None], -normals, normals)


def inner(gbuffer: GBuffer) -> np.ndarray:
    """Pixels with a neighbour on their triangle on both axes."""
    tri, found = gbuffer.tri_id, []
    for axis in (0, 1):
        same = np.diff(tri, axis=axis) == 0
        pad = [(1, 1) if axis == i else (0, 0) for i in range(2)]
        same = np.moveaxis(np.pad(same, pad), axis, 0)
        found.append(np.moveaxis(same[:-1] | same[1:], 0, axis))
    return found[0] & found[1] & (tri >= 0)


@pytest.mark.parametrize("name", CAMERAS)
@pytest.mark.parametrize("mesh", [box((1.6, 1.6, 1.6)), sphere(0.9, 24)], ids=["box", "sphere"])
def test_normals_are_those_of_the_triangles_that_were_hit(name, mesh):
    camera = CAMERAS[name]
    gbuffer = rendered(mesh, camera)
    expected = face_normals(mesh.verts, mesh.tris, camera, gbuffer)
    cosine = (view_normals(gbuffer) * expected).sum(-1)
    known = inner(gbuffer)
    assert known.sum() > 1000
    assert cosine[known].min() > 0.9995
    assert cosine[gbuffer.visible].mean() > 0.995


def test_normals_of_an_animated_scene_are_those_of_its_triangles():
    shot = plan_shot(load_scene(EXAMPLES / "walking_biped.glb"), ShotConfig(size=(160, 128), n_frames=4))
    gbuffer = shot.gbuffer(2)
    expected = face_normals(shot.verts(2), shot.scene.tris, shot.cameras[2], gbuffer)
    cosine = (view_normals(gbuffer) * expected).sum(-1)
    assert cosine[inner(gbuffer)].min() > 0.995
    assert cosine[gbuffer.visible].mean() > 0.97


def test_red_looks_left_green_up_and_blue_at_the_viewer():
    normals = normal_control(rendered(sphere(1.2, 48), size=(128, 128))).astype(int)
    left, right, top, middle = normals[64, 28], normals[64, 99], normals[28, 64], normals[64, 64]
    assert left[0] > 220
    assert right[0] < 35
    assert top[1] > 220
    assert middle[2] > 250
    assert normals[0, 0].tolist() == [128, 128, 255]  # background


def test_normals_without_a_lens_are_refused_and_files_may_tell_it(tmp_path):
    gbuffer = rendered(sphere(1.2, 24), size=(48, 48))
    write_exr(tmp_path / "a.exr", replace(gbuffer, lens=None))  # as other software does
    with pytest.raises(ConfigError, match=r"need the camera's lens.*give yfov_deg.*in --exr-map"):
        normal_control(read_exr(tmp_path / "a.exr"))
    told = read_exr(tmp_path / "a.exr", ExrMap(yfov_deg=FRONT.yfov_deg))
    # A file tells no triangles, which matters where faces meet.
    difference = np.abs(view_normals(told) - view_normals(gbuffer))[gbuffer.visible]
    assert np.median(difference) < 1e-3
    assert (difference > 0.3).mean() < 0.05


@pytest.mark.parametrize("name", CAMERAS)
def test_our_own_files_tell_the_lens(tmp_path, name):
    gbuffer = rendered(sphere(0.9, 24), CAMERAS[name], size=(48, 64))
    write_exr(tmp_path / "a_1.exr", gbuffer)
    assert read_exr(tmp_path / "a_1.exr").lens == gbuffer.lens
    assert open_sequence(tmp_path).gbuffer(0).lens == gbuffer.lens


def ground_below(gbuffer: GBuffer, object_id: int) -> GBuffer:
    rows = np.arange(gbuffer.height)[:, None] >= gbuffer.height // 2
    below = rows & ~gbuffer.visible
    return replace(
        gbuffer,
        object_id=np.where(below, object_id, gbuffer.object_id).astype(np.int32),
        depth=np.where(below, 50, gbuffer.depth).astype(np.float32),
    )


def test_lines_lie_on_edges_and_nowhere_else():
    gbuffer = rendered(box((1.6, 1.6, 1.6)), CAMERAS["perspective"])
    lines = lineart_control(gbuffer)
    border = np.zeros_like(gbuffer.visible)
    tri = np.where(gbuffer.visible, np.round(view_normals(gbuffer) * 9).astype(int) @ [1, 50, 2500], -99999)
    for axis in (0, 1):
        edge = np.diff(tri, axis=axis) != 0
        pad = [((1, 0), (0, 1)), ((0, 0), (0, 0))]
        for shift in pad[0]:
            border |= np.pad(edge, [shift if axis == i else (0, 0) for i in range(2)])
    assert lines[border].max() == 255
    # A line is one pixel with a soft one on either side.
    near = border.copy()
    for axis in (0, 1):
        near |= np.roll(near, 1, axis) | np.roll(near, -1, axis)
    assert not lines[~near].any()
    assert (lines > 64).mean() < 0.1
    # All three faces that meet at a corner are outlined, creases included.
    assert (lines[border] > 100).mean() > 0.5


def test_a_tilted_plane_and_a_rounded_body_have_an_outline_only():
    for gbuffer in (
        replace(rotating_sphere(128), lens=Lens(1.0, is_orthographic=True)),
        replace(panned_plane(128, half_width=2.0), lens=Lens(1.0)),
        rendered(sphere(1.2, 48), size=(128, 128)),
    ):
        lines = lineart_control(gbuffer)
        inside = gbuffer.visible.copy()
        for _ in range(4):
            for axis in (0, 1):
                inside &= np.roll(inside, 1, axis) & np.roll(inside, -1, axis)
        assert not lines[inside].any()
        assert lines.any() == (not gbuffer.visible.all())


def test_a_step_within_an_object_is_a_line_even_without_a_lens():
    plane = panned_plane(64, half_width=2.0)
    depth = plane.depth.copy()
    depth[:, 32:] += 1
    for lens in (None, Lens(0.4), Lens(1.0, is_orthographic=True)):
        lines = lineart_control(replace(plane, depth=depth, lens=lens))
        assert (lines[:, 31] == 255).all()  # on the nearer side
        assert not lines[:, :29].any()
        assert not lines[:, 35:].any()


def test_a_line_between_things_that_touch_does_not_jump():
    plane = panned_plane(64, half_width=2.0)
    touching = np.where(np.arange(64) < 32, 1, 2).astype(np.int32) * np.ones((64, 1), np.int32)
    depth = (2 + 0.01 * np.random.default_rng(0).standard_normal((64, 64))).astype(np.float32)
    for lens in (None, Lens(0.8)):
        lines = lineart_control(replace(plane, object_id=touching, depth=depth, lens=lens))
        assert (lines[:, 31] == 255).all()


def test_lines_fade_in_as_a_step_grows():
    plane = panned_plane(64, half_width=2.0)
    brightness = []
    for step in np.linspace(0, 0.4, 30):
        depth = plane.depth.copy()
        depth[:, 32:] += step
        brightness.append(int(lineart_control(replace(plane, depth=depth, lens=Lens(0.8)))[32, 31]))
    assert brightness[0] == 0
    assert brightness[-1] == 255
    assert np.diff(brightness).min() >= 0
    assert np.diff(brightness).max() < 128


def test_colours_go_by_names():
    shown = replace(panned_plane(32), object_names={1: "Old car.001"})
    assert set(map(tuple, segmentation_control(shown).reshape(-1, 3).tolist())) == {
        (0, 0, 0),
        class_colours()["car"],
    }
    assert colour_of("chest of drawers") == class_colours()["chest_of_drawers"] != class_colours()["wall"]
    # The same thing as other formats spell it.
    assert colour_of("Robot.Red") == colour_of("robot_red") != colour_of("Robot.Blue")
    surroundings = [class_colours()[name] for name in ("wall", "sky", "floor", "road")]
    assert colour_of("Zorgon") not in surroundings
    assert len(class_colours()) == 150
    unnamed = segmentation_control(panned_plane(32))
    assert unnamed[16, 16].tolist() == list(colour_of("object 1"))


def test_backdrops_are_earth_and_sky():
    ground, dome = (ground_below(panned_plane(32), i) for i in (GROUND_ID, DOME_ID))
    assert segmentation_control(ground)[31, 0].tolist() == list(class_colours()["earth"])
    assert segmentation_control(dome)[31, 0].tolist() == list(class_colours()["sky"])
    with_lens = replace(dome, lens=Lens(1.0))
    assert normal_control(with_lens)[31, 0].tolist() == [128, 128, 255]
    assert not lineart_control(with_lens)[28:, 0].any()


def test_an_objects_colour_is_the_same_in_every_shot():
    scene = load_scene(EXAMPLES / "still_life.glb")
    colours = []
    for camera, size in (("orbit", (96, 64)), ("static", (64, 64))):
        gbuffer = plan_shot(scene, ShotConfig(size=size, n_frames=3, camera=camera)).gbuffer(1)
        picture = segmentation_control(gbuffer)
        assert gbuffer.object_names is not None
        ids = np.unique(gbuffer.object_id[gbuffer.visible]).tolist()
        colours.append({i: picture[gbuffer.object_id == i][0].tolist() for i in ids})
    shared = colours[0].keys() & colours[1].keys()
    assert len(shared) > 1
    assert all(colours[0][i] == colours[1][i] for i in shared)


def test_stored_g_buffers_give_the_same_pictures_and_files_hold_them(tmp_path):
    shot = plan_shot(load_scene(EXAMPLES / "walking_biped.glb"), ShotConfig(size=(64, 48), n_frames=3))
    clip = [shot.gbuffer(frame) for frame in range(3)]
    stored = StoredGBuffers(tmp_path / "g.bin", 3, 48, 64)
    for frame, gbuffer in enumerate(clip):
        stored.write(frame, gbuffer)
    in_memory, in_files = ControlPictures(clip), ControlPictures(stored, tmp_path)
    for kind in ("depth", "normal", "lineart", "segmentation"):
        for _ in range(2):  # found, and read again
            np.testing.assert_array_equal(in_files.of(kind, 2), in_memory.of(kind, 2))
        assert (tmp_path / f"control_{kind}.bin").exists()
    assert in_memory.of("normal", 2).std() > 10
    np.testing.assert_array_equal(as_channels([in_memory.of("depth", 1)])[0, 0], depth_control(clip)[1])


def test_a_clips_surface_shows_every_kind_in_three_channels():
    shot = plan_shot(load_scene(EXAMPLES / "walking_biped.glb"), ShotConfig(size=(64, 48), n_frames=3))
    clip = [shot.gbuffer(frame) for frame in range(3)]
    surface = ClipSurface(clip, 8, PER_FRAME, 0, torch.device("cpu"))
    images = surface.control_images([2, 0], ["lineart", "normal"])
    assert list(images) == ["lineart", "normal"]
    assert all(image.shape == (2, 3, 48, 64) for image in images.values())
    expected = normal_control(clip[2]).astype(np.float32) / 255
    np.testing.assert_array_equal(images["normal"][0].permute(1, 2, 0).numpy(), expected)
    assert 0 <= images["lineart"].min() < images["lineart"].max() == 1
