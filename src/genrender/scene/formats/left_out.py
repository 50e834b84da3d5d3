"""Parts of a file that are not shown: one warning for each reason, with a count, when the scene is read."""

from genrender.errors import SceneError

# What several formats leave out for.
CHANGES_FACES = (
    "changes its faces over time, so that its surface points do not correspond; bake it with one topology, "
    "or render its passes elsewhere and use these"
)
MAX_NAMES = 3
MAX_LINES = 8


class PartError(SceneError):
    """One part of a file cannot be shown. The rest can, so whoever reads the file leaves this part out.

    Its text goes on after the part's name: "has no points; export it again".
    """


class LeftOut:
    """Parts of a file that are not shown, by the reason.

    Example:
        >>> left_out = LeftOut()
        >>> left_out.add("mesh 'Sea'", "changes its faces over time; bake it with one topology")
        >>> left_out.warnings()
        ("left out: mesh 'Sea' changes its faces over time; bake it with one topology",)
    """

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {}

    def add(self, name: str, reason: object) -> None:
        """Notes a part: its kind and name, and what is wrong with it, as in `PartError`."""
        self._names.setdefault(str(reason), []).append(name)

    @property
    def first(self) -> str | None:
        """What was left out first, and why."""
        return next((f"{names[0]} {reason}" for reason, names in self._names.items()), None)

    def warnings(self) -> tuple[str, ...]:
        """A line for each reason, with the number of its parts and the names of some."""
        lines = [_line(reason, names) for reason, names in self._names.items()]
        if len(lines) > MAX_LINES:
            n_more = sum(len(names) for names in list(self._names.values())[MAX_LINES:])
            lines[MAX_LINES:] = [f"left out {n_more:,} more, for {len(lines) - MAX_LINES:,} other reasons"]
        return tuple(lines)


def _line(reason: str, names: list[str]) -> str:
    if len(names) == 1:
        return f"left out: {names[0]} {reason}"
    more = ", ..." if len(names) > MAX_NAMES else ""
    return f"left out {len(names):,} parts ({', '.join(names[:MAX_NAMES])}{more}): each {reason}"
