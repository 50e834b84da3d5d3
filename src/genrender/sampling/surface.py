"""What the diffusion stage knows of a clip. G-buffers enter here, and stay here."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64
from torch import Tensor

from genrender.config import ControlKind, MethodConfig
from genrender.correspondence.engines import SurfaceEngine, make_engine
from genrender.errors import ConfigError
from genrender.gbuffer.control_pictures import ControlPictures, as_channels
from genrender.gbuffer.gbuffer import GBuffer
from genrender.injection.keyframes import seen_surface
from genrender.noise.hashing import hash_key
from genrender.noise.initial import surface_noise
from genrender.sampling.appearance import Appearance, with_lent
from genrender.surface.texels import samples_under_pixels
from genrender.surface.tracking import SurfaceTracker


class ClipSurface:
    """Pictures to show the model, objects, noise and correspondence of a clip.

    Frames from `n_frames` on are those that a run of another clip lends.

    Attributes:
        n_frames: of the clip.
        latent_size: height and width of the latents.
        lent: the frames that another run lends, see `Appearance.numbers`.
        n_foreign: how many of these are another clip's.
        engine: carries features on the surface; None where the method does without.
        appearance: the lent frames; None: none.

    Args:
        gbuffers: one per frame, all of one size, a multiple of the VAE factor. Only those of frames that are
            made or lent are looked at, where the lent ones are this clip's.
        vae_factor: image pixels along one side of a latent pixel.
        method: which noise, which correspondence.
        seed: of everything that is drawn by chance.
        device: where latents live.
        tracker: the clip's geometry; only the `reproject` engine needs it.
        appearance: frames of another run whose look this clip takes over.
        folder: for what is found in the frames, so that memory does not grow with them; None: in memory.

    Raises:
        ConfigError: the G-buffers' size or a setting of the method does not fit.
    """

    def __init__(
        self,
        gbuffers: Sequence[GBuffer],
        vae_factor: int,
        method: MethodConfig,
        seed: int,
        device: torch.device,
        tracker: SurfaceTracker | None = None,
        appearance: Appearance | None = None,
        folder: Path | None = None,
    ) -> None:
        method.check()
        if appearance is None or not appearance.is_of_this_clip:
            _check_sizes(gbuffers, vae_factor)
        if appearance is not None and not appearance.is_of_this_clip:
            method.check_can_carry_appearance()
        self._gbuffers, self._vae_factor, self._seed = gbuffers, vae_factor, seed
        self._noise, self._device = method.noise, device
        self._shown = with_lent(gbuffers, appearance)
        self.n_frames = len(gbuffers)
        self.lent = () if appearance is None else appearance.numbers(self.n_frames)
        self.n_foreign = len(self._shown) - self.n_frames
        self.appearance = appearance
        first = gbuffers[next(iter(self.lent)) if self.is_part else 0]
        self._size = first.height, first.width
        self.latent_size = (first.height // vae_factor, first.width // vae_factor)
        inverse_range = appearance.inverse_range if appearance is not None and self.is_part else None
        self._pictures = ControlPictures(gbuffers, folder, inverse_range)
        self.engine: SurfaceEngine | None = None
        if method.needs_correspondence:
            self.engine = make_engine(self._shown, method.correspondence, device, tracker, folder)

    @property
    def is_part(self) -> bool:
        """Whether what all frames have in common was found before, in frames of this clip that are lent."""
        return self.appearance is not None and self.appearance.is_of_this_clip

    def control_images(
        self, frames: Sequence[int], kinds: Sequence[ControlKind]
    ) -> dict[ControlKind, Float32[Tensor, "n 3 H W"]]:
        """Control pictures in [0, 1], see the files `gbuffer.control*`; another clip's frames come first.

        Raises:
            ConfigError: the G-buffers do not tell what is needed for a kind.
        """
        return {kind: self._control_images(frames, kind) for kind in kinds}

    def _control_images(self, frames: Sequence[int], kind: ControlKind) -> Float32[Tensor, "n 3 H W"]:
        own = [self._pictures.of(kind, f) for f in frames if f < self.n_frames]
        lent = []
        if self.appearance is not None:
            control = self.appearance.control
            lent = [control[kind][f - self.n_frames] for f in frames if f >= self.n_frames]
        pictures = torch.from_numpy(as_channels([*lent, *own]))
        return pictures.to(self._device).expand(-1, 3, -1, -1)

    def objects(self, frames: Sequence[int], size: tuple[int, int]) -> Int64[Tensor, "n h w"]:
        """The object under the centre of every pixel of feature maps of a size; 0 is background."""
        shown = [self._shown[frame] for frame in frames]
        ids = np.stack([gbuffer.object_id[samples_under_pixels(gbuffer, size)] for gbuffer in shown])
        return torch.from_numpy(ids.astype(np.int64)).to(self._device)

    def initial_noise(self, frames: Sequence[int], n_channels: int) -> Float32[Tensor, "n C h w"]:
        """Mechanism 1."""
        return self._surface_noise(frames, n_channels, self._seed)

    def step_noise(
        self, n_channels: int, frames: Sequence[int], step: int, draw: int
    ) -> Float32[Tensor, "n C h w"]:
        """What a scheduler draws for frames at a step, on a texture of its own."""
        # Mode `independent` draws anew at every step as well: the seed changes with the step.
        return self._surface_noise(frames, n_channels, hash_key(self._seed, "step noise", step, draw))

    def _surface_noise(self, frames: Sequence[int], n_channels: int, seed: int) -> Float[Tensor, "n C h w"]:
        shown = [self._gbuffers[frame] for frame in frames]
        return surface_noise(shown, n_channels, self._vae_factor, seed, self._noise, frames)

    @cached_property
    def seen(self) -> Bool[np.ndarray, "F S"]:
        """Which patches of surface each frame shows, to choose keyframes by."""
        return seen_surface(self._gbuffers)

    def check_appearance(self, n_evaluations: int, n_channels: int, kinds: Sequence[ControlKind]) -> None:
        """Raises ConfigError where the lent frames do not fit this run, or lack a kind of control picture."""
        if self.appearance is not None:
            self.appearance.check_fits(*self._size, n_evaluations, n_channels)
            self.appearance.check_kinds(kinds)


def _check_sizes(gbuffers: Sequence[GBuffer], vae_factor: int) -> None:
    if not gbuffers:
        raise ConfigError("no G-buffers: expected one per frame, at least one")
    sizes = {(gbuffer.height, gbuffer.width) for gbuffer in gbuffers}
    if len(sizes) > 1:
        raise ConfigError(f"G-buffers of several sizes {sorted(sizes)}: render all frames at one size")
    height, width = next(iter(sizes))
    if height % vae_factor or width % vae_factor:
        near = "x".join(str(max(side // vae_factor, 1) * vae_factor) for side in (width, height))
        raise ConfigError(
            f"pictures of {width}x{height} pixels: expected multiples of the VAE factor {vae_factor}, "
            f"for instance {near}"
        )
