"""Files of hub models: what was fetched before is used as it is, and a hub out of reach is told at once."""

import http.client
import threading
import urllib.error
import urllib.request
from pathlib import Path

import huggingface_hub.constants
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import LocalEntryNotFoundError

from genrender.errors import ModelError

# The hub's own client tries again and again, for half a minute.
PATIENCE_S = 2.0


def hub_file(location: str, name: str) -> Path:
    """A file of a hub model, from this machine's cache where it is there, else fetched.

    Raises:
        ModelError: it is not there, and the hub cannot be reached.
        OSError: the hub does not give it.
    """
    try:
        return Path(hf_hub_download(location, name, local_files_only=True))
    except LocalEntryNotFoundError:
        if not is_reachable():
            raise ModelError(
                f"model {location}: it is not on this machine, and {huggingface_hub.constants.ENDPOINT} "
                "cannot be reached: connect this machine, or give --model a folder or pocket"
            ) from None
        return Path(hf_hub_download(location, name))


def is_reachable() -> bool:
    """Whether the hub answers, whatever it says; False where the environment asks to stay offline."""
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return False
    # Looking up a name has no time limit of its own.
    answers: list[bool] = []
    asking = threading.Thread(target=lambda: answers.append(_answers()), daemon=True)
    asking.start()
    asking.join(PATIENCE_S + 0.5)
    return answers == [True]


def _answers() -> bool:
    try:
        request = urllib.request.Request(huggingface_hub.constants.ENDPOINT, method="HEAD")
        with urllib.request.urlopen(request, timeout=PATIENCE_S):
            return True
    except urllib.error.HTTPError:
        return True  # an answer, if not a kind one
    except (OSError, http.client.HTTPException, ValueError):  # the last: of an address that is none
        return False
