"""Which sizes of pictures a model makes, told by its configuration files before any weights are loaded."""

from dataclasses import dataclass

from genrender.backbones.model_folder import read_family, read_settings
from genrender.backbones.sources import ModelSource
from genrender.errors import ModelError


@dataclass(frozen=True)
class PictureSize:
    """What a model says about its pictures.

    Attributes:
        native: width and height in pixels of the pictures that it was trained on; None if it does not tell.
        vae_factor: pixels per latent pixel; widths and heights must be multiples of it.
    """

    native: tuple[int, int] | None
    vae_factor: int


def read_picture_size(source: ModelSource) -> PictureSize:
    """Reads the sizes from the configuration of a model's UNet and VAE.

    Raises:
        ModelError: a configuration file is missing or damaged, or the model is none that can be driven.
    """
    read_family(source)
    unet, vae = (read_settings(source, component) for component in ("unet", "vae"))
    try:
        factor = 2 ** (len(vae["block_out_channels"]) - 1)
        sample_size = unet.get("sample_size")
        if sample_size is None:
            return PictureSize(None, factor)
        rows, columns = (sample_size, sample_size) if isinstance(sample_size, int) else sample_size
        return PictureSize((columns * factor, rows * factor), factor)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(
            f"model {source.location}: its configuration does not tell the size of its pictures, expected "
            "block_out_channels of the VAE and sample_size of the UNet: save the model again"
        ) from error
