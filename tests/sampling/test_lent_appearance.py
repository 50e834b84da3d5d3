"""A look that is carried into another shot: what is kept, how scenes are matched, and what it changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scene.gltf_builder import SQUARE, GltfBuilder
from tiny_models import tiny_pipeline

from genrender.config import ControlKind, CorrespondenceConfig, InjectionConfig, MethodConfig, RunConfig
from genrender.errors import ConfigError, MediaError
from genrender.gbuffer.control_pictures import ControlPictures
from genrender.gbuffer.gbuffer import PIXEL_FIELDS
from genrender.pipeline import GenerativeRenderingPipeline
from genrender.runs.folder import RunFolder
from genrender.runs.make import make_video
from genrender.runs.unfinished import UnfinishedRun
from genrender.sampling.appearance import Appearance, AppearanceRecorder, read_appearance
from genrender.sampling.surface import ClipSurface
from genrender.scene.load import load_scene
from genrender.shots.clip import Clip, ShotConfig, render_clip
from genrender.shots.objects import atlas_ids_by_name

CONFIG = RunConfig(prompt="a fox", n_steps=3, guidance_scale=2.0)


def cards(folder, names: tuple[str, ...]) -> Clip:
    builder = GltfBuilder()
    for index, name in enumerate(names):
        uvs = builder.accessor([[0, 1], [1, 1], [0, 0], [1, 0]])
        mesh = builder.mesh(SQUARE, [0, 1, 2, 2, 1, 3], name=name, attributes={"TEXCOORD_0": uvs})
        builder.node(mesh=mesh, name=name, translation=[1.2 * index, 0, 0])
    scene = load_scene(builder.save(folder / f"{'-'.join(names)}.glb"))
    return render_clip(scene, ShotConfig(size=(64, 32), n_frames=4, camera="orbit"))


@pytest.fixture(scope="module")
def pipe() -> GenerativeRenderingPipeline:
    return tiny_pipeline()


@pytest.fixture(scope="module")
def first(pipe, tmp_path_factory) -> tuple[Clip, Appearance]:
    folder = tmp_path_factory.mktemp("first")
    clip, run = cards(folder, ("left", "right")), RunFolder(folder / "run")
    with UnfinishedRun(run, ["render"]) as unfinished:
        make_video(pipe, clip, CONFIG, run, unfinished=unfinished)
    return clip, read_appearance(run.appearance_file)


def latents(pipe, clip, appearance=None, **injection):
    method = MethodConfig(injection=InjectionConfig(n_keyframes=2, **injection))
    arguments = {"num_inference_steps": 3, "guidance_scale": 2.0, "output_type": "latent", "seed": 7}
    return pipe("a fox", clip.gbuffers, config=method, appearance=appearance, **arguments).latents


def test_the_kept_latents_are_those_of_every_step(pipe, first):
    clip, appearance = first
    n_steps, n_kept, *shape = appearance.latents.shape
    assert (n_steps, shape) == (3, [4, 4, 8])
    assert n_kept == len(appearance.gbuffers) == 3
    seen = []
    pipe(
        CONFIG.prompt,
        clip.gbuffers,
        config=MethodConfig(injection=InjectionConfig(n_keyframes=3)),
        num_inference_steps=3,
        guidance_scale=2.0,
        output_type="latent",
        callback_on_step_end=lambda *told: seen.append(told[3]["latents"]),
    )
    shown = [
        next(f for f, g in enumerate(clip.gbuffers) if np.array_equal(g.uv, kept.uv))
        for kept in appearance.gbuffers
    ]
    for step in (1, 2):
        difference = (appearance.latents[step] - seen[step - 1][shown]).abs().max()
        assert difference <= 1e-3 * seen[step - 1].abs().max()  # kept in half precision


def test_objects_are_matched_by_name(first, tmp_path):
    clip, appearance = first
    other = cards(tmp_path, ("right", "new"))
    theirs, ours = (atlas_ids_by_name(c.shot.scene) for c in (clip, other))
    assert (theirs, ours) == ({"left": [1], "right": [2]}, {"right": [1], "new": [2]})
    matched = appearance.matched(theirs, ours, {1: 7, 2: 8})
    for before, after in zip(appearance.gbuffers, matched.gbuffers, strict=True):
        np.testing.assert_array_equal(after.atlas_id, np.where(before.object_id == 2, 1, 0))
        np.testing.assert_array_equal(after.object_id, np.where(before.object_id == 2, 7, 0))


def test_features_come_from_matched_objects_alone(pipe, first, tmp_path):
    clip, appearance = first
    stranger = cards(tmp_path, ("other", "another"))
    ids = atlas_ids_by_name(clip.shot.scene)
    unknown = appearance.matched(ids, atlas_ids_by_name(stranger.shot.scene), {1: 1, 2: 2})
    alone = latents(pipe, clip, pre_attn=False, unify="fill")
    unmatched = latents(pipe, clip, unknown, pre_attn=False, unify="fill")
    torch.testing.assert_close(unmatched, alone, atol=1e-4, rtol=0)
    matched = latents(pipe, clip, appearance.matched(ids, ids, {1: 1, 2: 2}), pre_attn=False, unify="fill")
    assert (matched - alone).abs().max() > 0.01
    # Keys and values need no surface.
    assert (latents(pipe, clip, unknown, alpha=0.0) - latents(pipe, clip, alpha=0.0)).abs().max() > 0.01


def test_lent_frames_bring_every_kind_of_control_picture(pipe, first, tmp_path):
    clip, appearance = first
    kinds: list[ControlKind] = ["depth", "normal", "lineart", "segmentation"]
    frames = [
        next(f for f, g in enumerate(clip.gbuffers) if np.array_equal(g.uv, kept.uv))
        for kept in appearance.gbuffers
    ]
    pictures = ControlPictures(clip.gbuffers)
    recorder = AppearanceRecorder(frames, 3, (4, 4, 8), tmp_path / "kept.bin")
    for step in range(3):
        recorder.keep(step, appearance.latents[step])
    recorder.keep(3, appearance.final)
    control = {kind: np.stack([pictures.of(kind, frame) for frame in frames]) for kind in kinds}
    recorder.write(tmp_path / "appearance.npz", appearance.gbuffers, control, appearance.inverse_range)
    stored = read_appearance(tmp_path / "appearance.npz")
    surface = ClipSurface(clip.gbuffers, 8, MethodConfig(), 0, pipe.device, appearance=stored)
    shown = surface.control_images([*surface.lent, *frames], kinds)
    for kind in kinds:
        lent, own = shown[kind].chunk(2)
        torch.testing.assert_close(lent, own, atol=5e-4, rtol=0)  # depth is kept in half precision
        assert own.std() > 0.05


def test_what_does_not_fit_is_said(pipe, first, tmp_path):
    clip, appearance = first
    arguments = {"gbuffers": clip.gbuffers, "appearance": appearance, "output_type": "latent"}
    with pytest.raises(ConfigError, match=r"steps and channels \(32, 64, 3, 4\), expected \(32, 64, 5, 4\)"):
        pipe("a fox", num_inference_steps=5, **arguments)
    method = MethodConfig(injection=InjectionConfig(pre_attn=False, alpha=0.0))
    with pytest.raises(ConfigError, match="all are off"):
        pipe("a fox", num_inference_steps=3, config=method, **arguments)
    method = MethodConfig(correspondence=CorrespondenceConfig("reproject"))
    with pytest.raises(ConfigError, match="texture engine alone"):
        pipe("a fox", num_inference_steps=3, config=method, **arguments)
    lacking = replace(appearance, control={})
    with pytest.raises(ConfigError, match="control networks want depth, too: render that run with the same"):
        pipe("a fox", num_inference_steps=3, **(arguments | {"appearance": lacking}))
    with pytest.raises(MediaError, match="keeps no appearance"):
        read_appearance(tmp_path / "appearance.npz")
    kept = {
        "latents": np.zeros((3, 2, 4, 4, 8), np.float16),
        "control_depth": np.zeros((2, 32, 64, 1), np.float16),
        "final": np.zeros((2, 4, 4, 8), np.float32),
        "frames": np.arange(2),
        "inverse_range": np.zeros(2),
    }
    pixels = {name: np.stack([getattr(g, name) for g in clip.gbuffers[:2]]) for name in PIXEL_FIELDS}
    whole = {**kept, **pixels}
    np.savez_compressed(tmp_path / "appearance.npz", **whole)
    assert len(read_appearance(tmp_path / "appearance.npz").gbuffers) == 2
    np.savez_compressed(tmp_path / "appearance.npz", **{**whole, "uv": whole["uv"][:1]})
    with pytest.raises(MediaError, match=r"uv in it is of shape \(1, 32, 64, 2\); render it again"):
        read_appearance(tmp_path / "appearance.npz")
    del whole["depth"]
    np.savez_compressed(tmp_path / "appearance.npz", **whole)
    with pytest.raises(MediaError, match="it is damaged"):
        read_appearance(tmp_path / "appearance.npz")
    (tmp_path / "appearance.npz").write_bytes(b"nonsense")
    with pytest.raises(MediaError, match="it is damaged"):
        read_appearance(tmp_path / "appearance.npz")
