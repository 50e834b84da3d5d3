"""What a run may hold beside its video, by name."""

from genrender.errors import ConfigError

KINDS = ("alpha", "exr", "mattes", "prores")


def read_kinds(text: str | None) -> tuple[str, ...]:
    """The names in a text that separates them by commas.

    Raises:
        ConfigError: there is no such kind.
    """
    names = () if text is None else tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in KINDS:
            raise ConfigError(f"--also {text!r}: there is no {name!r}, expected some of {', '.join(KINDS)}")
    return names
