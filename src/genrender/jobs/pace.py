"""How fast the networks are here: timed before a run, so that its user knows what is ahead."""

import time
from dataclasses import dataclass
from typing import Any

import torch

from genrender.backbones.protocol import Backbone, Conditions, Step
from genrender.storage.limits import bytes_as_text, duration_as_text

# What a step takes, keyframes' passes and surface features included, as a multiple of the networks' plain
# passes for all frames (measured with pocket: 2.0 with 8 frames; keyframes are fewer among more).
STEP_OVERHEAD = 2.0
# A second pass is timed, since the first one pays for what is made once; not where the first was slow anyway.
SLOW_S = 2.0


@dataclass(frozen=True)
class Estimate:
    """What is ahead of a run, within a factor of two.

    Attributes:
        frame_s: see `seconds_per_frame`.
        n_frames: of the clip.
        n_steps: diffusion steps.
        memory_bytes: of the device.
        disk_bytes: while it goes on.
    """

    frame_s: float
    n_frames: int
    n_steps: int
    memory_bytes: float
    disk_bytes: float

    @property
    def seconds(self) -> float:
        return self.frame_s * self.n_frames * self.n_steps * STEP_OVERHEAD

    def words(self, size: tuple[int, int], device: str) -> str:
        """In a line, for people."""
        return (
            f"about {duration_as_text(self.seconds)} for {self.n_steps} steps of {self.n_frames} frames of "
            f"{size[0]}x{size[1]} on {device}, {bytes_as_text(round(self.memory_bytes))} of memory, and "
            f"{bytes_as_text(round(self.disk_bytes))} on the disk meanwhile"
        )


@torch.no_grad()
def seconds_per_frame(backbone: Backbone, conditions: Conditions, latent_size: tuple[int, int]) -> float:
    """Seconds that the networks take for one frame, timed on numbers without meaning.

    Args:
        backbone: the image model.
        conditions: what the clip shows; single objects do not count.
        latent_size: rows and columns of the latents.
    """
    rows, columns = latent_size
    everywhere = torch.zeros(1, *latent_size, dtype=torch.int64, device=backbone.device)
    denoiser = backbone.conditioned(conditions, lambda _frames, _size: everywhere, latent_size)
    latents = torch.zeros(1, backbone.n_channels, rows, columns, device=backbone.device)
    side = backbone.vae_factor
    picture = torch.zeros(1, 3, rows * side, columns * side, device=backbone.device)
    pictures = dict.fromkeys(denoiser.control_kinds, picture)
    # Early in a run, where also those controls steer that cease to later.
    step = Step(0, 1000, torch.tensor(500, device=backbone.device))

    def run() -> float:
        started_s = time.perf_counter()
        predicted = denoiser.predict(latents, step, pictures, [0])
        predicted.flatten()[0].item()  # a graphics card goes on by itself until a value is asked for
        return time.perf_counter() - started_s

    first_s = run()
    return first_s if first_s > SLOW_S else min(first_s, run())


def frames_at_once(unet: Any, chunk_size: int) -> int:
    """How many frames a UNet sees at once: a chunk, or as many as its motion modules see together."""
    return unet.config.get("motion_max_seq_length") or chunk_size
