"""The weights that ship: they paint what the prompt names, where the depth picture says."""

from itertools import islice
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionControlNetPipeline
from scenes import rotating_sphere
from transformers import CLIPModel, CLIPTextModel

from genrender.backbones.sources import POCKET_FOLDER
from genrender.config import PER_FRAME
from genrender.gbuffer.control import depth_control
from genrender.metrics.clip_score import POCKET_CLIP
from genrender.pipeline import GenerativeRenderingPipeline, load_pipeline
from genrender.train.appearance import paint_seeds
from genrender.train.report import nearest_color, silhouette_iou
from genrender.train.subjects import world_subjects

N_PICTURES = 8
PICTURE_SIDE = 128


@pytest.mark.slow
def test_the_shipped_model_obeys_background_colours_and_silhouettes():
    pipeline = load_pipeline("pocket", device="cpu", dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    obeyed, overlaps = [], []
    for index, subject in enumerate(islice(world_subjects(PICTURE_SIDE), N_PICTURES)):
        picture = paint_seeds(pipeline, subject.depth, subject.prompt(), 5.0, [index], 12)[0]
        mask = subject.depth > 0
        obeyed.append(nearest_color(picture[~mask]) == subject.background)
        overlaps.append(silhouette_iou(picture, mask))
    # Of thirteen colours chance would find one in eight pictures with probability 0.35, five with 1e-4.
    assert sum(obeyed) >= 5, obeyed
    assert sum(overlaps) / N_PICTURES > 0.6, overlaps


def test_both_pipelines_load_the_folder_and_agree():
    """Ours with all mechanisms off, and diffusers' own, from the same noise."""
    subject = next(world_subjects(PICTURE_SIDE))
    theirs: Any = StableDiffusionControlNetPipeline.from_pretrained(POCKET_FOLDER, local_files_only=True)
    ours = GenerativeRenderingPipeline.from_pretrained(POCKET_FOLDER, local_files_only=True)
    side, n_channels = ours.unet.config.sample_size, ours.unet.config.in_channels
    latents = torch.randn(1, n_channels, side, side, generator=torch.Generator().manual_seed(0))
    gbuffer = rotating_sphere(PICTURE_SIDE)
    control = torch.from_numpy(depth_control([gbuffer]))[:, None].expand(-1, 3, -1, -1)
    arguments = {"num_inference_steps": 3, "guidance_scale": 4.0, "latents": latents, "output_type": "latent"}
    for pipeline in (ours, theirs):
        pipeline.set_progress_bar_config(disable=True)
        pipeline.to(torch.float32)
    expected = theirs(subject.prompt(), control, **arguments).images
    found = ours(subject.prompt(), [gbuffer], config=PER_FRAME, **arguments).latents
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_the_clip_reads_with_the_diffusion_models_text_encoder():
    clip = CLIPModel.from_pretrained(POCKET_CLIP)
    text_encoder = CLIPTextModel.from_pretrained(POCKET_FOLDER / "text_encoder")
    for name, value in text_encoder.state_dict().items():
        assert torch.equal(value, clip.text_model.state_dict()[name]), name


def test_the_bundle_is_small_and_holds_no_pickle():
    files = [path for path in POCKET_FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 60e6
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".txt", ".md"}
