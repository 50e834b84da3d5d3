"""Whether what a command line gives can be meant at all, whichever option it is given to."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from genrender.errors import ConfigError, MediaError
from genrender.untrusted import check_number, check_path, check_text


def check_given(command: Any) -> None:
    """Raises ConfigError for texts that are no Unicode or too long, endless numbers, and impossible paths.

    Args:
        command: one of the dataclasses in `genrender.cli.options`.
    """
    for field in fields(command):
        value = getattr(command, field.name)
        name = field.name.replace("_", " ")
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, str):
                check_text(name, one, ConfigError)
            elif isinstance(one, Path):
                check_path(name, one, ConfigError)
            elif isinstance(one, int | float):
                check_number(name, one, ConfigError)


def check_run_dir(path: Path) -> None:
    """Raises MediaError where there is no run, which is told before libraries take seconds to load."""
    if not path.is_dir():
        raise MediaError(f"no run folder {path}: expected the folder that `genrender render` printed")
