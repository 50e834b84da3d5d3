"""Finished frames enlarged by a network, each by itself."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from transformers import Swin2SRForImageSuperResolution

from genrender.backbones.loading import check_device, default_device
from genrender.metrics.pretrained import load_pretrained


class Upscaler:
    """A Swin2SR network, which knows itself how many times larger its pictures are.

    Attributes:
        source: where it is from, a whole path or a hub id.
        device: where it was asked to compute; None: where models do.
    """

    def __init__(self, model: Any, source: str, device: str | None = None) -> None:
        self.model = model.eval()
        self.source = source
        self.device = device

    @property
    def digest(self) -> str:
        """A short name for its weights."""
        digest = hashlib.sha256()
        for name, weights in self.model.state_dict().items():
            digest.update(name.encode())
            digest.update(weights.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @classmethod
    def load(cls, source: str, device: str | None = None) -> "Upscaler":
        """Load a network.

        Args:
            source: folder or hub id, such as caidas/swin2SR-classical-sr-x2-64.
            device: where it computes; None: as a model does.

        Raises:
            ModelError: there is no such network.
            ConfigError: this machine does not compute there.
        """
        if device is not None:
            check_device(device)
        (model,) = load_pretrained("upscaler", source, Swin2SRForImageSuperResolution)
        place = str(Path(source).resolve()) if Path(source).exists() else source
        return cls(model.to(default_device() if device is None else device), place, device)

    def __call__(self, picture: Float32[np.ndarray, "H W 3"]) -> Float32[np.ndarray, "rows columns 3"]:
        """One picture with values in [0, 1], enlarged."""
        pixels = torch.from_numpy(np.moveaxis(picture, -1, 0)[None].copy()).to(self.model.device)
        with torch.no_grad():
            larger = self.model(pixel_values=pixels).reconstruction[0].clamp(0, 1)
        return np.moveaxis(larger.float().cpu().numpy(), 0, -1)
