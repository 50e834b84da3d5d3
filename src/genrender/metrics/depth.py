"""Depth agreement: a network estimates the depth of each frame, which is compared with the scene's.

Example:
    >>> estimator = DepthEstimator.load("Intel/dpt-large")
    >>> depth_agreement(estimator.inverse_depth(frames), clip.gbuffers)
    0.93
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from transformers import AutoImageProcessor, AutoModelForDepthEstimation

from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.preview import to_picture
from genrender.metrics.pretrained import load_pretrained
from genrender.scene.backdrop_ids import DOME_ID
from genrender.storage.lazy_frames import Pictures
from genrender.surface.flow import EROSION_PX, erode

BATCH = 8


class DepthEstimator:
    """A network that predicts relative inverse depth from one picture (MiDaS, DPT, Depth Anything)."""

    def __init__(self, model: Any, processor: Any) -> None:
        self.model = model.eval()
        self.processor = processor

    @classmethod
    def load(cls, source: str | Path, device: str = "cpu") -> "DepthEstimator":
        """Load a network with its picture processor.

        Args:
            source: folder or hub id, such as Intel/dpt-large or depth-anything/Depth-Anything-V2-Small-hf.
            device: where it computes.

        Raises:
            ModelError: there is no such network.
        """
        model, processor = load_pretrained(
            "depth model", source, AutoModelForDepthEstimation, AutoImageProcessor
        )
        return cls(model.to(device), processor)

    def inverse_depth(self, frames: Pictures) -> Iterator[Float32[np.ndarray, "H W"]]:
        """Relative inverse depth of pictures with values in [0, 1], at their size, one after the other."""
        for start in range(0, len(frames), BATCH):
            pictures = [to_picture(frame.astype(np.float32)) for frame in frames[start : start + BATCH]]
            pixels = self.processor(images=pictures, return_tensors="pt").pixel_values
            with torch.no_grad():
                estimate = self.model(pixel_values=pixels.to(self.model.device)).predicted_depth.float()
            resized = torch.nn.functional.interpolate(
                estimate[:, None], pictures[0].shape[:2], mode="bicubic", align_corners=False
            )
            yield from resized[:, 0].cpu().numpy()


def depth_agreement(
    estimated: Iterable[Float[np.ndarray, "H W"]], gbuffers: Sequence[GBuffer]
) -> float | None:
    """Mean over the frames of the rank correlation between estimated and true inverse depth, in [-1, 1].

    Ranks, because such networks know depth only up to an unknown scale and shift, and not always these. What
    the depth picture does not show, background and dome, counts as infinitely far; pixels near outlines do
    not count.

    Returns:
        1 where every picture has the depth order of its G-buffer; None where no frame has anything to order.
    """
    correlations = []
    for estimate, gbuffer in zip(estimated, gbuffers, strict=True):
        shown = gbuffer.visible & (gbuffer.object_id != DOME_ID)
        inverse = np.zeros_like(gbuffer.depth)
        inverse[shown] = 1 / gbuffer.depth[shown]
        counts = erode(shown, EROSION_PX) | erode(~shown, EROSION_PX)
        true, guessed = inverse[counts], estimate[counts]
        if true.size and np.ptp(true) > 0:
            correlations.append(rank_correlation(guessed, true))
    return float(np.mean(correlations)) if correlations else None


def rank_correlation(a: Float[np.ndarray, "N"], b: Float[np.ndarray, "N"]) -> float:
    """Spearman's correlation of two series with ties; 0 where one of them has no order."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(_ranks(a), _ranks(b))[0, 1])


def _ranks(values: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    """Ranks from 1; equal values share their mean rank. (torchmetrics' overflow where 65,536 are equal.)"""
    _, index, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[index]
