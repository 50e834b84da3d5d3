"""Loading the networks that judge frames, from a folder or from the hub, with the library transformers."""

from pathlib import Path
from typing import Any

import torch
import transformers.utils.logging

from genrender.errors import ModelError


def load_pretrained(what: str, source: str | Path, model: Any, *companions: Any) -> tuple[Any, ...]:
    """A network in float32, and its tokenizer, picture processor or the like.

    Args:
        what: what it is called where there is none.
        source: folder or hub id.
        model: class of the network.
        companions: classes of what else lies there.

    Raises:
        ModelError: there is no such network.
    """
    is_folder = Path(source).exists()
    if is_folder and not Path(source).is_dir():  # transformers would take it for weights, of an older format
        raise ModelError(f"no {what} {source}: it is a file; give a folder or a hub id that holds one")
    if is_folder:  # only downloads are worth a progress bar
        transformers.utils.logging.disable_progress_bar()
    try:
        network = model.from_pretrained(
            source, torch_dtype=torch.float32, local_files_only=is_folder, use_safetensors=True
        )
        return network, *(each.from_pretrained(source, local_files_only=is_folder) for each in companions)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"no {what} {source} ({reason}); give a folder or a hub id that holds one"
        ) from error
    finally:
        if is_folder:
            transformers.utils.logging.enable_progress_bar()
