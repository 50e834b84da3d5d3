"""Names of objects, animations and cameras."""

from genrender.untrusted import valid_name


class UniqueNames:
    """Gives every thing a name of its own: the second "wheel" becomes "wheel_2"."""

    def __init__(self):
        self._next: dict[str, int] = {}

    def __call__(self, name: object) -> str:
        unique = base = valid_name(name)
        while unique in self._next:
            self._next[base] += 1
            unique = f"{base}_{self._next[base]}"
        self._next[unique] = 1
        return unique
