"""Whether what a command line gives can be meant at all, whichever option it is given to."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from genrender.errors import ConfigError, MediaError
from genrender.storage.untrusted import check_number, check_path, check_text

# Options whose text may be the name of a file or folder.
PERHAPS_PATHS = (
    *("camera", "model", "vae", "clip", "depth_model"),
    *("lora", "embedding", "controlnet", "ip_adapter", "motion_adapter"),
)


def given(options: Any) -> Iterator[tuple[str, Any]]:
    """Every option's name and value, whatever its group."""
    for field in fields(options):
        value = getattr(options, field.name)
        if is_dataclass(value):
            yield from given(value)
        else:
            yield field.name, value


def check_given(command: Any) -> None:
    """Raises ConfigError for texts that are no Unicode or too long, endless numbers, and impossible paths.

    Args:
        command: one of the dataclasses in `genrender.options.commands`.
    """
    for option, value in given(command):
        name = option.replace("_", " ")
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, str):
                check_text(name, one, ConfigError)
            if isinstance(one, Path) or (option in PERHAPS_PATHS and one is not None):
                _check_path(name, Path(one))
            if isinstance(one, int | float):
                check_number(name, one, ConfigError)


def check_run_dir(path: Path) -> None:
    """Raises MediaError where there is no run, which is told before libraries take seconds to load."""
    if not path.is_dir():
        raise MediaError(f"no run folder {path}: expected the folder that `genrender render` printed")


def _check_path(name: str, path: Path) -> None:
    check_path(name, path, ConfigError)
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # perhaps it is to be made; else it is told where it is used
    except OSError as error:  # a link to itself, which `resolve` lets pass since Python 3.13
        raise ConfigError(f"{name} is {path}, which cannot be looked up ({error}); give another") from error
