"""Prompts of single objects: who reads what, and that nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scene.gltf_builder import SQUARE, GltfBuilder
from tiny_models import tiny_pipeline

from genrender.backbones.object_prompts import (
    OWN_WEIGHT,
    ObjectPrompts,
    RegionalCrossAttention,
    cross_attention_layers,
)
from genrender.config import PER_FRAME, RunConfig
from genrender.errors import ConfigError, SceneError
from genrender.pipeline import GenerativeRenderingPipeline
from genrender.runs.folder import RunFolder
from genrender.runs.make import make_video
from genrender.scene.load import load_scene
from genrender.shots.clip import Clip, ShotConfig, render_clip
from genrender.shots.objects import prompts_by_id

PROMPT = "a fox"


@pytest.fixture(scope="module")
def pipe() -> GenerativeRenderingPipeline:
    return tiny_pipeline()


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Clip:
    builder = GltfBuilder()
    for index, name in enumerate(("Left", "Right")):
        uvs = builder.accessor([[0, 1], [1, 1], [0, 0], [1, 0]])
        mesh = builder.mesh(SQUARE, [0, 1, 2, 2, 1, 3], name=name, attributes={"TEXCOORD_0": uvs})
        builder.node(mesh=mesh, name=name, translation=[1.5 * index, 0, 0])
    scene = load_scene(builder.save(tmp_path_factory.mktemp("scene") / "cards.glb"))
    return render_clip(scene, ShotConfig(size=(64, 32), n_frames=3, camera="orbit"))


def latents(pipe, clip, prompt=PROMPT, **options):
    options = {"config": PER_FRAME, "num_inference_steps": 2, "guidance_scale": 2.0, **options}
    return pipe(prompt, clip.gbuffers, output_type="latent", seed=3, **options).latents


def test_an_objects_pixels_read_its_own_text_and_no_other_pixels_do(pipe):
    """One layer alone: nothing but the region of the conditional branch changes, and there by the weight."""
    layer = cross_attention_layers(pipe.unet)[0]
    attn = pipe.unet.get_submodule(layer)
    generator = torch.Generator().manual_seed(0)
    n_channels = attn.to_q.in_features
    hidden = torch.randn(2 * 3, 32, n_channels, generator=generator)  # two branches of three frames, 4 x 8
    common, own = torch.randn(2, 1, 5, attn.to_k.in_features, generator=generator)
    shown = torch.zeros(3, 4, 8, dtype=torch.int64)
    shown[:, :, :3], shown[1, 2, 5] = 9, 4
    prompts = ObjectPrompts(own, [9], lambda frames, _: shown[list(frames)], (4, 8))
    prompts.start([0, 1, 2])
    text = common.expand(6, -1, -1)
    with torch.no_grad():
        before = attn.processor(attn, hidden, text)
        with_own = attn.processor(attn, hidden, own.expand(6, -1, -1))
        after = RegionalCrossAttention(attn.processor, prompts)(attn, hidden, text)
    assert torch.equal(after[:3], before[:3])
    region = (shown == 9).flatten(1)
    assert torch.equal(after[3:][~region], before[3:][~region])
    expected = before[3:].lerp(with_own[3:], OWN_WEIGHT)[region]
    torch.testing.assert_close(after[3:][region], expected)
    assert (after[3:][region] - before[3:][region]).abs().max() > 1e-3


def test_an_object_that_reads_the_clips_prompt_changes_nothing(pipe, clip):
    same = latents(pipe, clip, object_prompts={1: PROMPT, 2: PROMPT})
    torch.testing.assert_close(same, latents(pipe, clip), atol=1e-5, rtol=0)


def test_a_text_changes_its_object_most(pipe, clip):
    changed = latents(pipe, clip, object_prompts={2: "a red red dog"})
    difference = (changed - latents(pipe, clip)).abs().mean(1)
    on = [
        np.stack([gbuffer.object_id[4::8, 4::8] == object_id for gbuffer in clip.gbuffers])
        for object_id in (1, 2)
    ]
    other, own = (float(difference[torch.from_numpy(mask)].mean()) for mask in on)
    # Normalisation and self-attention carry some of it to the rest of so small a picture.
    assert own > other


def test_chunks_change_nothing(pipe, clip):
    runs = [
        latents(pipe, clip, object_prompts={1: "a red dog"}, config=RunConfig().method, chunk_size=size)
        for size in (1, 3)
    ]
    torch.testing.assert_close(runs[0], runs[1], atol=1e-4, rtol=0)


def test_without_guidance_there_is_one_branch(pipe, clip):
    plain, other = (
        latents(pipe, clip, guidance_scale=1.0, object_prompts=texts) for texts in (None, {1: "a dog"})
    )
    assert (plain - other).abs().max() > 1e-4


def test_the_networks_get_their_processors_back(pipe, clip):
    before = [dict(network.attn_processors) for network in (pipe.unet, pipe.controlnet)]
    latents(pipe, clip, object_prompts={1: "a dog"})
    after = [dict(network.attn_processors) for network in (pipe.unet, pipe.controlnet)]
    assert after == before


def test_objects_go_by_name_or_pattern_whatever_the_case(clip):
    scene = clip.shot.scene
    assert (scene.find_objects("left"), scene.find_objects("RIGHT"), scene.find_objects("*")) == (
        [1],
        [2],
        [1, 2],
    )
    with pytest.raises(SceneError, match=r"cards.glb: no object is called 'wheel'; it has: Left, Right"):
        scene.find_objects("wheel")
    texts = RunConfig(object_prompts=(("*", "a stone"), ("left", "a fox")))
    assert prompts_by_id(clip, texts) == {1: "a fox", 2: "a stone"}


def test_a_backdrops_parts_go_by_their_names(clip):
    scene = clip.shot.scene
    shot = ShotConfig(size=(64, 32), n_frames=2, camera="orbit", backdrop="both")
    scene = render_clip(scene, shot).shot.scene
    assert (scene.find_objects("Ground"), scene.find_objects("dome")) == ([16382], [16383])


def test_a_run_tells_its_texts_and_follows_them(pipe, clip, tmp_path):
    config = RunConfig(prompt=PROMPT, n_steps=2, object_prompts=(("Right", "a red dog"),))
    folders = [RunFolder(tmp_path / name) for name in ("with", "without")]
    for folder, wanted in zip(folders, (config, replace(config, object_prompts=())), strict=True):
        make_video(pipe, clip, wanted, folder)
    assert folders[0].read_record().to_json()["config"]["object_prompts"] == [["Right", "a red dog"]]
    pictures = [np.stack(list(folder.frames())).astype(int) for folder in folders]
    assert abs(pictures[0] - pictures[1]).max() > 2


def test_an_empty_text_is_refused():
    with pytest.raises(ConfigError, match="the prompt for 'Right' is empty"):
        RunConfig(prompt=PROMPT, object_prompts=(("Right", " "),)).check()
