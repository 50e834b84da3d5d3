"""Does a picture show the depth that it was asked to show? Asked of a network that estimates depth.

Example:
    >>> estimator = DepthEstimator.load("Intel/dpt-large")
    >>> depth_agreement(estimator.inverse_depth(frames), clip.gbuffers)
    0.93
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from transformers import AutoImageProcessor, AutoModelForDepthEstimation

from genrender.errors import ConfigError, ModelError
from genrender.gbuffer.control import shows_own_object
from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.preview import to_picture
from genrender.metrics.surface import EROSION_PX, erode

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
            ConfigError: torchmetrics is not installed.
            ModelError: there is no such network.
        """
        _spearman()
        is_folder = Path(source).exists()
        try:
            model: Any = AutoModelForDepthEstimation.from_pretrained(
                source, torch_dtype=torch.float32, local_files_only=is_folder, use_safetensors=True
            )
            processor = AutoImageProcessor.from_pretrained(source, local_files_only=is_folder)
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(
                f"no depth model {source} ({reason}); give a folder or a hub id that holds one"
            ) from error
        return cls(model.to(device), processor)

    @torch.no_grad()
    def inverse_depth(self, frames: Float[np.ndarray, "F H W 3"]) -> Float32[np.ndarray, "F H W"]:
        """Relative inverse depth of pictures with values in [0, 1], at their size."""
        estimates = []
        for start in range(0, len(frames), BATCH):
            pictures = [to_picture(frame.astype(np.float32)) for frame in frames[start : start + BATCH]]
            pixels = self.processor(images=pictures, return_tensors="pt").pixel_values
            estimate = self.model(pixel_values=pixels.to(self.model.device)).predicted_depth[:, None].float()
            resized = torch.nn.functional.interpolate(
                estimate, frames.shape[1:3], mode="bicubic", align_corners=False
            )
            estimates.append(resized[:, 0].cpu().numpy())
        return np.concatenate(estimates)


def depth_agreement(estimated: Float[np.ndarray, "F H W"], gbuffers: Sequence[GBuffer]) -> float | None:
    """Mean over the frames of the rank correlation between estimated and true inverse depth, in [-1, 1].

    Ranks, because such networks know depth only up to an unknown scale and shift, and not always these. What
    the depth picture does not show, background and dome, counts as infinitely far; pixels near outlines do
    not count.

    Returns:
        1 where every picture has the depth order of its G-buffer; None where no frame has anything to order.
    """
    spearman = _spearman()
    correlations = []
    for estimate, gbuffer in zip(estimated, gbuffers, strict=True):
        own = shows_own_object(gbuffer)
        inverse = np.zeros_like(gbuffer.depth)
        inverse[own] = 1 / gbuffer.depth[own]
        counts = erode(own, EROSION_PX) | erode(~own, EROSION_PX)
        true, guessed = inverse[counts], estimate[counts]
        if true.size and np.ptp(true) > 0:
            # A picture whose estimate is flat orders nothing: no agreement.
            is_flat = np.ptp(guessed) == 0
            pair = (torch.from_numpy(values).double() for values in (guessed, true))
            correlations.append(0.0 if is_flat else float(spearman(*pair)))
    return float(np.mean(correlations)) if correlations else None


def _spearman() -> Any:
    try:
        from torchmetrics.functional.regression import spearman_corrcoef
    except ImportError as error:
        raise ConfigError(
            "depth agreement needs torchmetrics, which is not installed: pip install 'genrender[report]'"
        ) from error
    return spearman_corrcoef
