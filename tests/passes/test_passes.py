"""Passes for other programs: exact motion, mattes that a reader understands, and each target's own form."""

from pathlib import Path
from typing import get_args

import av
import numpy as np
import OpenEXR
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import genrender
from genrender.cli import main
from genrender.config import NoiseConfig
from genrender.gbuffer.control import depth_control
from genrender.gbuffer.exr.cryptomatte import crypto_names, id_bits, manifest
from genrender.gbuffer.exr.frame import read_exr, read_header, write_channels
from genrender.gbuffer.exr.mattes import name_id, object_mattes
from genrender.media.video import read_video
from genrender.noise.initial import surface_noise
from genrender.options.groups import TargetName
from genrender.passes.motion import first_inverse_range, motion_vectors, tracking_picture
from genrender.passes.samples import N_SAMPLES, object_alpha, sampled_ids
from genrender.passes.targets import TARGETS
from genrender.surface.flow import follow

SCENES = Path(__file__).parents[2] / "examples" / "scenes"
SCENE = SCENES / "walking_pair.glb"


@pytest.fixture(scope="module")
def clip():
    """Two who walk, seen by a camera that comes nearer."""
    scene = genrender.load_scene(SCENE)
    return genrender.render_clip(scene, genrender.ShotConfig(size=(96, 64), n_frames=5, camera="dolly"))


def test_motion_leads_to_where_the_other_frame_shows_the_point():
    scene = genrender.load_scene(SCENE)
    clip = genrender.render_clip(scene, genrender.ShotConfig(size=(240, 160), n_frames=5, camera="dolly"))
    for frame, other in ((0, 1), (3, 2)):
        flow = follow(clip.tracker, frame, other)
        rows, cols = np.nonzero(flow.visible)
        found = motion_vectors(clip, frame, other)[rows, cols] + np.stack([cols, rows], axis=1) + 0.5
        assert len(rows) > 200
        # The flow is rounded to a hundredth of a pixel or so; a pixel's point lies at its centre.
        np.testing.assert_allclose(found, flow.xy[rows, cols], atol=0.02)
        assert np.abs(motion_vectors(clip, frame, other)[~clip.gbuffers[frame].visible]).max() == 0


def test_nothing_moves_between_a_frame_and_itself(clip):
    assert np.abs(motion_vectors(clip, 2, 2)).max() < 0.01


def test_surface_points_keep_the_colour_of_their_place_in_the_first_frame(clip):
    inverse_range = first_inverse_range(clip)
    first = tracking_picture(clip, 0, inverse_range).astype(int)
    rows, cols = np.nonzero(clip.gbuffers[0].visible)
    np.testing.assert_allclose(first[rows, cols, 0], cols / 95 * 255, atol=1)
    np.testing.assert_allclose(first[rows, cols, 1], rows / 63 * 255, atol=1)
    far, near = inverse_range
    depth = clip.gbuffers[0].depth[rows, cols]
    expected = np.clip((1 / depth - far) / (near - far), 0, 1) * 255
    np.testing.assert_allclose(first[rows, cols, 2], expected, atol=1)
    later = tracking_picture(clip, 2, inverse_range).astype(int)
    flow = follow(clip.tracker, 2, 0)
    rows, cols = np.nonzero(flow.visible)
    x, y = flow.xy[rows, cols].T
    np.testing.assert_allclose(later[rows, cols, 0], (x - 0.5) / 95 * 255, atol=1)
    np.testing.assert_allclose(later[rows, cols, 1], (y - 0.5) / 63 * 255, atol=1)
    assert later[~clip.gbuffers[2].visible].max() == 0


def test_a_name_has_the_bits_of_the_specification():
    assert name_id("hello") == 0x248BFA47


@given(st.text(max_size=20))
def test_the_bits_of_a_name_are_a_plain_number(name):
    value = np.array([name_id(name)], np.uint32).view(np.float32)
    assert np.isfinite(value).all()
    assert np.abs(value) >= np.finfo(np.float32).tiny


def test_mattes_are_read_as_they_were_meant(tmp_path, clip):
    ids = sampled_ids(clip, 1)
    names = {1: "Éva", 2: "a box"}
    header, channels = object_mattes(ids, N_SAMPLES, names)
    write_channels(tmp_path / "m.exr", channels, header)
    told = read_header(tmp_path / "m.exr")
    assert crypto_names(told.attributes[0]) == ["CryptoObject"]
    read = manifest(told.attributes[0], "CryptoObject", tmp_path / "m.exr")
    assert set(read.values()) == {names.get(i, f"object {i}") for i in np.unique(ids[ids > 0]).tolist()}
    with OpenEXR.File(str(tmp_path / "m.exr")) as file:
        ranks = [file.channels()[f"CryptoObject{n:02d}"].pixels for n in range(3)]
    for object_id in np.unique(ids[ids > 0]).tolist():
        expected = (ids == object_id).reshape(64, N_SAMPLES, 96, N_SAMPLES).mean(axis=(1, 3))
        name = names.get(object_id, f"object {object_id}")
        found = np.zeros((64, 96))
        for rank in ranks:
            for pair in (rank[..., :2], rank[..., 2:]):
                bits = id_bits("m", np.ascontiguousarray(pair[..., 0]))
                found += np.where(np.vectorize(lambda b: read.get(b))(bits) == name, pair[..., 1], 0)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    # The one that covers most comes first.
    assert (ranks[0][..., 1] >= ranks[0][..., 3]).all()


def test_alpha_is_the_share_of_a_pixel_that_the_objects_cover(clip):
    alpha = object_alpha(clip, 0)
    assert np.array_equal(alpha, (sampled_ids(clip, 0) > 0).reshape(64, 4, 96, 4).mean(axis=(1, 3)))
    inside = clip.gbuffers[0].visible
    assert ((alpha > 0) & (alpha < 1)).sum() > 50
    assert alpha[inside].mean() > 0.9
    assert alpha[~inside].mean() < 0.05


def test_names_of_targets_are_those_that_the_command_line_offers():
    assert tuple(TARGETS) == get_args(TargetName)


def written(tmp_path: Path, target: str, *words: str) -> Path:
    out = tmp_path / target
    words = ("passes", str(SCENE), "--for", target, "--out", str(out), *words)
    assert main(words) == 0
    return out


def frames_of(path: Path) -> tuple[int, tuple[int, int], float]:
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        times = [frame.time for frame in file.decode(stream)]
        rate = float(stream.average_rate)
        np.testing.assert_allclose(np.diff(times), 1 / rate, atol=1e-6)
        return len(times), (stream.width, stream.height), rate


def test_comfyui(tmp_path, clip):
    out = written(tmp_path, "comfyui", "--size", "96x64", "--frames", "5", "--camera", "dolly", "--fps", "24")
    for name in ("depth", "normal", "lineart", "segmentation", "uv"):
        assert frames_of(out / f"{name}.mp4") == (5, (96, 64), 24)
    expected = depth_control(clip.gbuffers)
    for frame in range(5):
        path = out / "depth16" / f"{frame:05d}.png"
        with av.open(str(path)) as file:
            found = next(file.decode(video=0)).to_ndarray()
        assert found.dtype == np.uint16
        for channel in range(3):
            np.testing.assert_allclose(found[..., channel] / 65535, expected[frame], atol=1 / 65535)
        # Whoever reads 8 bits sees the same picture, and not all white.
        seen = np.asarray(Image.open(path).convert("RGB"))
        np.testing.assert_allclose(seen / 255, expected[frame][..., None].repeat(3, 2), atol=1 / 255)
    masks = sorted((out / "masks").iterdir())
    assert len(masks) == len({int(i) for one in clip.gbuffers for i in np.unique(one.object_id)} - {0})
    mask, _ = read_video(masks[0])
    shown = clip.gbuffers[0].object_id == int(masks[0].name[:3])
    assert (np.abs(mask[0, ..., 0].astype(int) - 255 * shown) < 64).mean() > 0.98


def test_wan_vace_takes_frames_of_its_own_number_size_and_rate(tmp_path, capsys):
    out = written(tmp_path, "wan-vace", "--end", "22", "--size", "96x64")
    n_frames, size, rate = frames_of(out / "src_video.mp4")
    assert (n_frames % 4, size, rate) == (1, (96, 64), 16)
    assert "as wan-vace takes them" in capsys.readouterr().err
    mask, _ = read_video(out / "src_mask.mp4")
    assert mask.min() > 250


def test_diffusion_as_shader(tmp_path):
    out = written(tmp_path, "das", "--size", "96x64", "--frames", "5")
    assert frames_of(out / "tracking_video.mp4") == (5, (96, 64), 8)


def test_warped_noise_is_the_surfaces(tmp_path):
    out = written(tmp_path, "go-with-the-flow", "--size", "96x64", "--frames", "5", "--seed", "3")
    noises = np.load(out / "noises.npy")
    assert noises.shape == (5, 8, 12, 16)
    scene = genrender.load_scene(SCENE)
    clip = genrender.render_clip(scene, genrender.ShotConfig(size=(96, 64), n_frames=5, fps=8))
    expected = surface_noise(clip.gbuffers, 16, 8, 3, NoiseConfig(mode="bridge")).numpy()
    np.testing.assert_allclose(np.moveaxis(noises.astype(np.float32), -1, 1), expected, atol=2e-3)
    assert frames_of(out / "input.mp4") == (5, (96, 64), 8)


def test_layers_for_compositors_are_a_scene_again(tmp_path, clip):
    out = written(
        tmp_path, "after-effects", "--size", "96x64", "--frames", "5", "--camera", "dolly", "--fps", "24"
    )
    files = sorted(out.iterdir())
    assert len(files) == 5
    read = read_exr(files[2])
    np.testing.assert_allclose(read.depth, clip.gbuffers[2].depth, rtol=1e-6)
    with OpenEXR.File(str(files[2])) as file:
        channels = file.channels()
        found = np.stack([channels[f"MotionForward.{axis}"].pixels for axis in "XY"], axis=-1)
        normals = np.stack([channels[f"Normal.{axis}"].pixels for axis in "XYZ"], axis=-1)
    np.testing.assert_allclose(found, motion_vectors(clip, 2, 3), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--for", "wan-vace", "--size", "100x64"], "size is 100x64, expected multiples of 16 for wan-vace"),
        (
            ["--for", "das", "--size", "96x64", "--frames", "6"],
            "frames is 6, expected 1 more than a multiple of 4",
        ),
    ],
)
def test_what_a_target_does_not_take_is_refused(tmp_path, capsys, words, said):
    assert main(["passes", str(SCENE), *words, "--out", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_files_without_triangles_have_no_tracks(tmp_path, capsys):
    assert (
        main(["gbuffers", str(SCENE), "--out", str(tmp_path / "exr"), "--size", "96x64", "--frames", "5"])
        == 0
    )
    assert main(["passes", str(tmp_path / "exr"), "--for", "das", "--out", str(tmp_path / "out")]) == 2
    assert "passes for das" in capsys.readouterr().err.splitlines()[-1]
    assert main(["passes", str(tmp_path / "exr"), "--for", "comfyui", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "normal.mp4").exists()
