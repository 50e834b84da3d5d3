"""Names of objects, animations and cameras."""


class UniqueNames:
    """Gives every thing a name of its own: the second "wheel" becomes "wheel_2"."""

    def __init__(self):
        self._next: dict[str, int] = {}

    def __call__(self, name: object) -> str:
        unique = base = str(name)
        while unique in self._next:
            self._next[base] += 1
            unique = f"{base}_{self._next[base]}"
        self._next[unique] = 1
        return unique
