"""AnimateDiff's classes at toy sizes, with random weights."""

import torch
from diffusers import AnimateDiffControlNetPipeline, MotionAdapter
from tiny_models import tiny_components

WINDOW = 8  # the longest clip that the modules see at once


def tiny_adapter() -> MotionAdapter:
    """Motion modules for the tiny UNet, whose effect can be seen."""
    torch.manual_seed(7)
    adapter = MotionAdapter(
        block_out_channels=(8, 16),
        motion_layers_per_block=1,
        motion_num_attention_heads=2,
        motion_norm_num_groups=4,
        motion_max_seq_length=WINDOW,
    )
    return adapter.eval()


def motion_pipeline() -> AnimateDiffControlNetPipeline:
    pipeline = AnimateDiffControlNetPipeline(**tiny_components(), motion_adapter=tiny_adapter())
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
