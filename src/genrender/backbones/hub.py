"""Files of hub models: what was fetched before is used as it is, and a hub out of reach is told at once."""

import http.client
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import huggingface_hub.constants
from huggingface_hub import HfApi, hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from genrender.backbones.sources import WEIGHT_SUFFIXES
from genrender.errors import ModelError

# The hub's own client tries again and again, for half a minute.
PATIENCE_S = 2.0
# What is fetched by hand of a model whose files cannot be listed.
FETCHED_BY_HAND = ("*.json", "*.txt", "*.fp16.safetensors")

# Of all files of a repository, by their names, those that are needed; raises ModelError where some lack.
Choice = Callable[[Collection[str]], Sequence[str]]


def hub_file(location: str, name: str, revision: str | None = None) -> Path:
    """A file of a hub model, from this machine's cache where it is there, else fetched.

    Raises:
        ModelError: it is not there, and the hub cannot be reached or does not give it.
    """
    try:
        return Path(hf_hub_download(location, name, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        _check_reachable(location, revision, name)
    with _told(location, revision, name):
        return Path(hf_hub_download(location, name, revision=revision))


def hub_folder(
    location: str,
    choice: Choice,
    revision: str | None = None,
    by_hand: Sequence[str] = FETCHED_BY_HAND,
) -> Path:
    """A folder of this machine's cache with the needed files of a hub model; what lacks is fetched.

    Args:
        by_hand: patterns of what to fetch on another machine where the hub cannot be reached from this one.

    Raises:
        ModelError: some are not there, and the hub cannot be reached or does not give them.
    """
    try:
        validate_repo_id(location)
    except HFValidationError:
        raise ModelError(
            f"{location!r} is no folder here, and no model of a hub is called so: expected OWNER/NAME"
        ) from None
    folder = cached_folder(location, revision)
    if folder is not None and _holds(folder, choice):
        return folder
    _check_reachable(location, revision, by_hand=by_hand)
    names = hub_names(location, revision)
    with _told(location, revision):
        return Path(snapshot_download(location, revision=revision, allow_patterns=list(choice(names))))


def hub_names(location: str, revision: str | None = None) -> list[str]:
    """All files of a hub model, as the hub lists them.

    Raises:
        ModelError: the hub cannot be reached or does not tell.
    """
    _check_reachable(location, revision)
    with _told(location, revision):
        return HfApi().list_repo_files(location, revision=revision)


def cached_folder(location: str, revision: str | None = None) -> Path | None:
    """Where files of a hub model are that were fetched before; None: there are none."""
    # Of a whole snapshot the hub's client says that it lacks files, for we do not fetch all.
    for name in ("model_index.json", "config.json"):
        found = try_to_load_from_cache(location, name, revision=revision)
        if isinstance(found, str):
            return Path(found).parent
    return None


def files_under(folder: Path) -> list[str]:
    """All files of a folder, relative to it, with slashes."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _holds(folder: Path, choice: Choice) -> bool:
    try:
        choice(files_under(folder))
    except ModelError:
        return False
    return True


def _check_reachable(
    location: str, revision: str | None, name: str = "", by_hand: Sequence[str] = FETCHED_BY_HAND
) -> None:
    """Raises ModelError where the hub cannot be reached: what to fetch, a file of weights or a model."""
    if is_reachable():
        return
    what, files, given = f"model {location}", f"'{name}'", f"FOLDER/{name}"
    if not name.endswith(WEIGHT_SUFFIXES):
        files, given = "--include " + " ".join(f"'{pattern}'" for pattern in by_hand), "FOLDER"
    else:
        what = f"{name} of {what}"
    of = f" --revision {revision}" if revision else ""
    raise ModelError(
        f"{what}: it is not on this machine, and {huggingface_hub.constants.ENDPOINT} cannot be "
        f"reached: where there is a network run `hf download {location}{of} {files} --local-dir "
        f"FOLDER`, and give {given} instead of the name"
    )


@contextmanager
def _told(location: str, revision: str | None, name: str | None = None) -> Iterator[None]:
    """What the hub answers, in one line with its reason."""
    page = f"{huggingface_hub.constants.ENDPOINT}/{location}"
    try:
        yield
    except GatedRepoError as error:
        raise ModelError(
            f"model {location}: the hub gives it only to who has accepted its licence: accept it at {page}, "
            "then log in with `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(
            f"model {location}: the hub has no revision {revision!r} of it: see {page}/tree/main"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"model {location}: the hub has no model of that name, or only for who is logged in (404): check "
            "the name, or log in with `hf auth login`"
        ) from error
    except EntryNotFoundError as error:
        if isinstance(error, LocalEntryNotFoundError):  # what stands for every other answer of the hub
            raise _refused(location, error.__cause__ or error) from error
        remedy = "choose a model in diffusers' layout"
        if name is not None and name.endswith(WEIGHT_SUFFIXES):
            remedy = f"give the name of the file as {location}/FILE, see {page}/tree/main"
        raise ModelError(
            f"model {location}: the hub has no {name or 'such file'} of it (404): {remedy}"
        ) from error
    except HfHubHTTPError as error:
        raise _refused(location, error) from error


def _refused(location: str, error: BaseException) -> ModelError:
    """For an answer of the hub that has no kind of its own: its number and its words."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    words = getattr(error, "server_message", None) or str(error)
    reason = next((line.strip() for line in words.splitlines() if line.strip()), type(error).__name__)
    remedy = "log in with `hf auth login`" if status in (401, 403) else "try again later"
    return ModelError(f"model {location}: the hub refuses it ({status}: {reason}): {remedy}")


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
