"""What a caption of the training world says, read back: the labels of the pictures on disk."""

from genrender.train.vocabulary import COLOR_SYNONYMS, COLORS, LOOKS, NUMBERS, OBJECTS, PLACES, Described

_COLOR = {word: name for name in COLORS for word in COLOR_SYNONYMS.get(name, (name,))}
_ADJECTIVE = {word: look for look, (adjectives, _) in LOOKS.items() for word in adjectives}
_PATTERN = {word: look for look, (_, nouns) in LOOKS.items() for word in nouns}
_KIND = {word: kind for kind, names in OBJECTS.items() for pair in names for word in pair}
_COUNT = {word: count for count, word in NUMBERS.items()}


def read_caption(text: str) -> tuple[tuple[Described, ...], str | None]:
    """The groups of objects that a caption names, and the colour below or, without a ground, behind them.

    A colour without a look is a plain one; a group without either has look None.

    Example:
        >>> read_caption("a red and white striped fox and a blue box on a green ground")[1]
        'green'
    """
    groups: list[Described] = []
    places: dict[str, str | None] = {}
    colors: list[str] = []
    look, count = None, 1
    for word in text.split():
        if word in _COLOR:
            colors.append(_COLOR[word])
        elif word in _ADJECTIVE:
            look = _ADJECTIVE[word]
        elif word in _COUNT:
            count = _COUNT[word]
        elif word in _PATTERN:  # it ends "a fox with red and white stripes"
            groups[-1] = Described(groups[-1].kind, groups[-1].count, _PATTERN[word], tuple(colors))
            colors, look, count = [], None, 1
        elif word in _KIND:
            groups.append(Described(_KIND[word], count, look or ("plain" if colors else None), tuple(colors)))
            colors, look, count = [], None, 1
        elif word in PLACES and word != "gradient":
            if word in ("floor", "ground"):
                places["below"] = colors[0] if colors else None
            elif word != "sky":
                places["behind"] = colors[0] if colors else None
            colors, look, count = [], None, 1
    return tuple(groups), places["below"] if "below" in places else places.get("behind")
