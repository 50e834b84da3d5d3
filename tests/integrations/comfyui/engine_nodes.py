"""The nodes one by one: what they take, what they give, and what they say of bad input."""

import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.ops
import engine
import nodes
import numpy as np
import pytest
import torch
from comfy import model_detection
from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
from comfy.model_management import InterruptProcessingException
from comfy.patcher_extension import WrappersMP
from comfy_api.latest import Types
from diffusers import UNet2DConditionModel
from families import N_FRAMES, SCENE, SIDE, Family, injected, rendered, sampled

import genrender
from genrender.backbones.attention_sites import self_attention_layers
from genrender.backbones.families import SD1, SDXL
from genrender.backbones.single_file import packaged_settings
from genrender.config import NoiseConfig
from genrender.errors import ConfigError, GenRenderError, SceneError
from genrender.gbuffer.control import inverse_depth_range, scale_inverse_depth
from genrender.injection.keyframes import covering_frames
from genrender.metrics.table import Subject, measure
from genrender.noise.initial import surface_noise
from genrender.surface.lock import SurfaceLock, locked_frames
from genrender.surface.sightings import GeometrySightings

SHOT = {"width": 64, "height": 64, "animation": "Walk", "frames": 3, "start": "", "fps": 0.0,
        "camera": "static", "ignore": "", "loop": False}  # fmt: skip
OURS = ("LoadScene", "LoadPasses", "RenderPasses", "SurfaceNoise", "SurfaceInjection", "SurfaceLock",
        "SurfaceMetrics")  # fmt: skip


def module(name: str) -> Any:
    """A file of the nodes, as ComfyUI has loaded it."""
    return next(
        one for key, one in sys.modules.items() if key.endswith(f".nodes.{name}") and "comfyui" in key
    )


def load(scene: Any = str(SCENE), **changed: Any) -> Any:
    return engine.call("GenRenderLoadScene", scene=scene, **{**SHOT, **changed})[0]


def test_all_nodes_are_there_and_say_what_they_are() -> None:
    for name in OURS:
        schema = engine.node(f"GenRender{name}").GET_SCHEMA()
        assert schema.description
        assert schema.category == "genrender"
        assert all(one.tooltip or one.id in NAMED_ENOUGH for one in schema.inputs), name


NAMED_ENOUGH = {"scene", "width", "height", "shot", "clip", "images", "model", "seed", "strength"}


def test_the_package_is_what_the_registry_takes() -> None:
    project = tomllib.loads((engine.PACK / "pyproject.toml").read_text())
    assert project["tool"]["comfy"].keys() >= {"PublisherId", "DisplayName"}
    wanted = {"name", "version", "description", "license", "dependencies"}
    assert wanted <= project["project"].keys()
    needs = (engine.PACK / "requirements.txt").read_text().split()
    assert needs == project["project"]["dependencies"] == [f"genrender>={genrender.__version__}"]
    source = [path.read_text() for path in engine.PACK.rglob("*.py")]
    assert not any("pip" in text.split() or "import subprocess" in text for text in source)


def test_a_scene_comes_as_a_path_or_as_a_file_of_another_node(tmp_path: Path) -> None:
    by_path = load()
    on_disk = load(Types.File3D(str(SCENE)))
    with SCENE.open("rb") as opened:
        in_memory = load(Types.File3D(opened, "glb"))
    for shot in (on_disk, in_memory):
        assert shot.times_s == by_path.times_s
        assert np.array_equal(shot.gbuffer(1).depth, by_path.gbuffer(1).depth)
    engine.node("GenRenderLoadScene").fingerprint_inputs(scene=str(SCENE), **SHOT)
    with pytest.raises(SceneError, match="not found"):
        load(str(tmp_path / "no.glb"))
    with pytest.raises(SceneError, match="no scene is given"):
        load("  ")


def test_a_viewers_camera_sees_the_file_as_the_viewer_does() -> None:
    """The viewer halves the model, turns it a quarter about Y and lifts it; its camera looks at it there."""
    quarter = np.sqrt(0.5)
    model = {
        "position": {"x": 1.0, "y": 2.0, "z": 3.0},
        "quaternion": {"x": 0, "y": quarter, "z": 0, "w": quarter},
        "scale": {"x": 0.5, "y": 0.5, "z": 0.5},
    }
    info = {
        "position": {"x": 4.0, "y": 3.0, "z": 5.0},
        "target": {"x": 1.0, "y": 2.5, "z": 3.0},
        "zoom": 2,
        "cameraType": "perspective",
        "fov": 60,
    }
    camera_of = module("camera").camera_of
    in_viewer, in_file = camera_of(info), camera_of(info, [model])
    point = np.array([[0.3, -0.2, 0.7], [0.0, 0.4, 0.1]])
    turned = point @ np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]]).T
    shown = 0.5 * turned + np.array([1.0, 2.0, 3.0])
    here, depth = in_file.project(point, 480, 640)
    there, shown_depth = in_viewer.project(shown, 480, 640)
    assert np.allclose(here, there)
    assert np.allclose(depth, 2 * shown_depth)
    assert np.isclose(np.tan(np.deg2rad(in_viewer.yfov_deg / 2)), np.tan(np.deg2rad(30)) / 2)
    # The same from a quaternion, and seen by a shot.
    rotation = in_viewer.world_from_camera[:3, :3]
    w = np.sqrt(1 + np.trace(rotation)) / 2
    x, y, z = (rotation[[2, 0, 1], [1, 2, 0]] - rotation[[1, 2, 0], [2, 0, 1]]) / (4 * w)
    turned_info = {**info, "quaternion": {"x": x, "y": y, "z": z, "w": w}}
    assert np.allclose(camera_of(turned_info).world_from_camera, in_viewer.world_from_camera)
    shot = load(camera_info=info, model_3d_info=[model])
    assert all(np.allclose(one.world_from_camera, in_file.world_from_camera) for one in shot.cameras)
    flat = {
        **info,
        "cameraType": "orthographic",
        "frustum": {"left": -2, "right": 2, "top": 1.5, "bottom": -1.5},
    }
    assert camera_of(flat, [model]).ymag == pytest.approx(1.5 / 2 / 0.5)
    with pytest.raises(ConfigError, match="position"):
        camera_of({})


def test_passes_are_ours() -> None:
    clip, depth, uv, ids, masks, names = engine.call(
        "GenRenderRenderPasses", shot=load(ignore=""), control="depth", objects="*"
    )
    gbuffers = clip.clip.gbuffers
    inverse_range = inverse_depth_range(gbuffers)
    assert depth.shape == uv.shape == ids.shape == (3, 64, 64, 3)
    assert len(masks) == len(names) > 0
    for frame, gbuffer in enumerate(gbuffers):
        assert np.array_equal(depth[frame, ..., 0], scale_inverse_depth(gbuffer, inverse_range))
        assert np.allclose(uv[frame, ..., 0][gbuffer.visible], gbuffer.uv[..., 0][gbuffer.visible])
        assert np.allclose(1 - uv[frame, ..., 1][gbuffer.visible], gbuffer.uv[..., 1][gbuffer.visible])
        assert np.array_equal(uv[frame, ..., 2] > 0, gbuffer.visible)
        assert np.array_equal(sum(mask[frame] for mask in masks) > 0, gbuffer.visible)
    only = engine.call("GenRenderRenderPasses", shot=load(), control="normal", objects=names[0])
    assert only[5] == [names[0]]
    with pytest.raises(SceneError, match="no object is called 'Cat'"):
        engine.call("GenRenderRenderPasses", shot=load(), control="depth", objects="Cat")


def test_noise_is_ours_and_fits_its_clip(clip_and_depth: Any) -> None:
    clip, _ = clip_and_depth
    noise, empty, latent = engine.call("GenRenderSurfaceNoise", clip=clip, seed=11, mode="partition")
    ours = surface_noise(clip.clip.gbuffers, 4, 8, 11, NoiseConfig(mode="partition"))
    assert torch.equal(noise.generate_noise(empty), ours)
    assert torch.equal(latent["samples"], ours)
    assert empty["samples"].count_nonzero() == 0
    with pytest.raises(ConfigError, match="connect `latent`"):
        noise.generate_noise({"samples": empty["samples"][:2]})


def test_lock_and_metrics_are_ours(clip_and_depth: Any) -> None:
    clip, _ = clip_and_depth
    images = torch.rand(N_FRAMES, SIDE, SIDE, 3, generator=torch.Generator().manual_seed(1))
    frames, shown = list(images.numpy()), clip.clip
    (locked,) = engine.call("GenRenderSurfaceLock", images=images, clip=clip, strength=1.0, seed=0)
    views = {frame: frames[frame] for frame in covering_frames(shown.gbuffers, 8, 0)}
    ours = locked_frames(frames, SurfaceLock(GeometrySightings(shown.tracker), views))
    assert np.array_equal(locked.numpy(), np.stack(list(ours)))
    text, error, sharpness = engine.call("GenRenderSurfaceMetrics", images=images, clip=clip)
    figures = measure(Subject(frames, shown))
    assert error == figures["surface_error"]["1"]
    assert sharpness == figures["sharpness"]
    assert "texel_std" in text
    _, after, _ = engine.call("GenRenderSurfaceMetrics", images=locked, clip=clip)
    assert after < 0.75 * error  # 0.65: neighbours in a circle of five share half of what they show
    with pytest.raises(ConfigError, match="before they are enlarged"):
        engine.call("GenRenderSurfaceMetrics", images=images[:, ::2], clip=clip)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("latents.normalise=background", "samplers of ComfyUI do not hand out these"),
        ("injection.no_such=1", "no setting 'injection.no_such'"),
        ("injection.alpha=7", "expected a number in 0..1"),
        ("injection.layers=^nothing", "matches none of"),
    ],
)
def test_settings_that_cannot_be(sd15: Family, clip_and_depth: Any, settings: str, words: str) -> None:
    with pytest.raises(GenRenderError, match=words):
        injected(sd15.model, clip_and_depth[0], settings=settings)


def test_what_does_not_fit_is_said(sd15: Family, clip_and_depth: Any) -> None:
    clip, _ = clip_and_depth
    model = injected(sd15.model, clip)
    with pytest.raises(ConfigError, match="already"):
        injected(model, clip)
    other, _ = rendered(3)
    with pytest.raises(ConfigError, match="connect `latent` of Surface Noise"):
        sampled(sd15, model, other)


@pytest.mark.parametrize("family", [SD1, SDXL])
def test_layers_of_the_real_models_have_diffusers_names(family: Any) -> None:
    """At their full size, as ComfyUI tells it by shapes; without numbers in them."""
    with torch.device("meta"):
        ours = UNet2DConditionModel.from_config(packaged_settings(family, "unet"))
        told = model_detection.unet_config_from_diffusers_unet(ours.state_dict())
        settings = model_detection.model_config_from_unet_config(told).unet_config
        theirs = UNetModel(**settings, operations=comfy.ops.disable_weight_init)
    layers = module("patches").self_attention_layers(SimpleNamespace(get_model_object=lambda _: theirs))
    assert sorted(layers.values()) == sorted(self_attention_layers(ours))
    assert len(layers) == {"SD1": 16, "SDXL": 70}[family.name]


def test_a_cancelled_run_ends_and_the_next_one_goes_on(sd15: Family, clip_and_depth: Any) -> None:
    clip, _ = clip_and_depth
    model, asked = injected(sd15.model, clip), []

    def cancel(run: Any, *args: Any, **options: Any) -> Any:
        asked.append(1)
        nodes.interrupt_processing(len(asked) == 3)
        return run(*args, **options)

    cancelled = model.clone()
    cancelled.add_wrapper(WrappersMP.APPLY_MODEL, cancel)
    with pytest.raises(InterruptProcessingException):
        sampled(sd15, cancelled, clip)
    assert len(asked) == 3
    assert sampled(sd15, model, clip).isfinite().all()


def test_settings_by_name_reach_the_method() -> None:
    method_of = module("injection").method_of
    numbers = {"alpha": 0.4, "synchronise": 0.1, "keyframes": 5}
    method = method_of(numbers, "injection.unify=rising\n\n noise.every_step=false \n")
    assert (method.injection.alpha, method.injection.n_keyframes) == (0.4, 5)
    assert method.latents.synchronise == 0.1
    assert method.injection.unify == "rising"
    assert not method.noise.every_step
