"""The weights that ship: they paint what the prompt names, where the depth picture says."""

from itertools import islice

import pytest
import torch

from genrender.pipeline import load_pipeline
from genrender.train.appearance import paint_seeds
from genrender.train.report import nearest_color, silhouette_iou
from genrender.train.subjects import world_subjects

N_PICTURES = 8


@pytest.mark.slow
def test_the_shipped_model_obeys_background_colours_and_silhouettes():
    pipeline = load_pipeline("pocket", device="cpu", dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    obeyed, overlaps = [], []
    for index, subject in enumerate(islice(world_subjects(128), N_PICTURES)):
        picture = paint_seeds(pipeline, subject.depth, subject.prompt(), 5.0, [index], 12)[0]
        mask = subject.depth > 0
        obeyed.append(nearest_color(picture[~mask]) == subject.background)
        overlaps.append(silhouette_iou(picture, mask))
    # Of thirteen colours chance would find one in eight pictures with probability 0.35, five with 1e-4.
    assert sum(obeyed) >= 5, obeyed
    assert sum(overlaps) / N_PICTURES > 0.6, overlaps
