"""The words that the pocket model learns, and the sentences it learns them from.

A caption names what is in a picture: look, colours, object, count and background. Part of the captions leave
colours or the look out, use synonyms or another word order, so that prompts need not follow one template.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# sRGB in [0, 1].
COLORS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.13, 0.13),
    "orange": (0.95, 0.55, 0.10),
    "yellow": (0.96, 0.86, 0.18),
    "green": (0.18, 0.62, 0.22),
    "turquoise": (0.18, 0.78, 0.76),
    "blue": (0.14, 0.30, 0.82),
    "purple": (0.50, 0.18, 0.66),
    "pink": (0.96, 0.56, 0.72),
    "brown": (0.47, 0.28, 0.14),
    "beige": (0.88, 0.80, 0.64),
    "white": (0.96, 0.96, 0.96),
    "gray": (0.50, 0.50, 0.50),
    "black": (0.09, 0.09, 0.09),
}
COLOR_SYNONYMS = {
    "gray": ("gray", "grey"),
    "turquoise": ("turquoise", "cyan"),
    "purple": ("purple", "violet"),
}

# Adjectives of each look; the second tuple completes "a cube with red and white ...".
LOOKS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "plain": (("plain",), ()),
    "striped": (("striped", "stripy"), ("stripes",)),
    "checkered": (("checkered", "checked"), ("checks", "squares")),
    "spotted": (("spotted", "dotted"), ("spots", "dots")),
    "marble": (("marble",), ()),
    "wooden": (("wooden", "wood"), ()),
    "brick": (("brick",), ("bricks",)),
    "scaly": (("scaly",), ("scales",)),
    "furry": (("furry",), ("fur",)),
}
# Words that came later: they follow the others in the vocabulary, whose order stays what models learned.
LATER_WORDS = ("scaly", "scales", "furry", "fur")

# Object classes with their names, singular and plural.
OBJECTS: dict[str, tuple[tuple[str, str], ...]] = {
    "biped": (("biped", "bipeds"), ("person", "people"), ("robot", "robots"), ("character", "characters")),
    "quadruped": (("quadruped", "quadrupeds"), ("animal", "animals")),
    "fox": (("fox", "foxes"),),
    "dog": (("dog", "dogs"),),
    "horse": (("horse", "horses"),),
    "cat": (("cat", "cats"),),
    "bird": (("bird", "birds"), ("duck", "ducks")),
    "spider": (("spider", "spiders"),),
    "fish": (("fish", "fish"),),
    "snake": (("snake", "snakes"),),
    "ball": (("ball", "balls"), ("sphere", "spheres")),
    "cube": (("cube", "cubes"), ("box", "boxes")),
    "cylinder": (("cylinder", "cylinders"),),
    "cone": (("cone", "cones"),),
    "donut": (("donut", "donuts"), ("ring", "rings")),
    "pyramid": (("pyramid", "pyramids"),),
    "capsule": (("capsule", "capsules"),),
    "vase": (("vase", "vases"),),
    "bottle": (("bottle", "bottles"),),
    "cup": (("cup", "cups"),),
    "bowl": (("bowl", "bowls"),),
    "mushroom": (("mushroom", "mushrooms"),),
    "tree": (("tree", "trees"),),
    "table": (("table", "tables"),),
    "chair": (("chair", "chairs"),),
    "house": (("house", "houses"),),
    "rocket": (("rocket", "rockets"),),
    "snowman": (("snowman", "snowmen"),),
    "truck": (("truck", "trucks"), ("car", "cars")),
}
NUMBERS = {2: "two", 3: "three", 4: "four"}
FUNCTION_WORDS = ("a", "an", "and", "on", "in", "with", "against", "under", "front", "of", ",")
# The tokenizer's 32 tokens without its start and end.
MAX_WORDS = 30
PLACES = (
    "background",
    "backdrop",
    "wall",
    "floor",
    "ground",
    "sky",
    "gradient",
)


@dataclass(frozen=True)
class Described:
    """What the caption may say of one group of equal objects; None: the caption must not name it."""

    kind: str
    count: int
    look: str | None
    colors: tuple[str, ...]


@dataclass(frozen=True)
class Surroundings:
    """What the caption may say of what is below and behind the objects.

    Attributes:
        has_ground: whether there is a ground to be named.
        colors: of the ground, main colour first; empty: the caption must not name them.
        look: of the ground, as in `LOOKS`; None: the caption must not name it.
        behind: plain, gradient, wall or sky.
        behind_color: of what is behind; None: the caption must not name it.
    """

    has_ground: bool
    colors: tuple[str, ...]
    look: str | None
    behind: str
    behind_color: str | None


def _pick(rng: np.random.Generator, options: Sequence):
    return options[int(rng.integers(len(options)))]


def _color(rng: np.random.Generator, name: str) -> str:
    return _pick(rng, COLOR_SYNONYMS.get(name, (name,)))


def _article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def _noun_phrase(rng: np.random.Generator, group: Described) -> str:
    singular, plural = _pick(rng, OBJECTS[group.kind])
    noun = singular if group.count == 1 else plural
    colors = " and ".join(_color(rng, c) for c in group.colors)
    adjectives, nouns = LOOKS[group.look] if group.look else (("",), ())
    if group.look == "plain" and rng.random() < 0.8:
        adjectives = ("",)
    if colors and nouns and rng.random() < 0.2:
        phrase = f"{noun} with {colors} {_pick(rng, nouns)}"
    else:
        words = [colors, _pick(rng, adjectives), noun]
        if rng.random() < 0.1:
            words = [words[1], words[0], words[2]]
        phrase = " ".join(w for w in words if w)
    if group.count == 1:
        return _article(phrase) if rng.random() < 0.92 else phrase
    return f"{NUMBERS[group.count]} {phrase}"


def _ground_phrase(rng: np.random.Generator, around: Surroundings) -> str:
    words = [" and ".join(_color(rng, c) for c in around.colors)]
    if around.look not in (None, "plain"):
        words.append(_pick(rng, LOOKS[around.look][0]))
    return f"on {_article(' '.join([*filter(None, words), _pick(rng, ('floor', 'ground'))]))}"


def _behind_phrase(rng: np.random.Generator, kind: str, color: str | None) -> str:
    name = _color(rng, color) + " " if color else ""
    if kind == "sky":
        return _pick(rng, ("under a blue sky", "in front of a blue sky"))
    if kind == "gradient" and rng.random() < 0.5:
        return f"on {_article(name + 'gradient background')}"
    noun = "wall" if kind == "wall" else _pick(rng, ("background", "background", "backdrop", "wall"))
    preposition = {"background": ("on", "against"), "backdrop": ("on", "with"), "wall": ("in front of",)}[
        noun
    ]
    return f"{_pick(rng, preposition)} {_article(name + noun)}"


def caption(rng: np.random.Generator, groups: Sequence[Described], around: Surroundings) -> str:
    """One sentence about a picture, of at most `MAX_WORDS` words where the ground is not named too long."""
    things = " and ".join(_noun_phrase(rng, group) for group in groups)
    where = []
    if around.has_ground:
        where.append(_ground_phrase(rng, around))
    if around.behind_color is not None or around.behind == "sky" or (around.behind == "wall" and where):
        where.append(_behind_phrase(rng, around.behind, around.behind_color))
    while where and len(" ".join([things, *where]).split()) > MAX_WORDS - 1:
        where.pop()
    if not where:
        return things
    place = " ".join(where)
    return f"{place} , {things}" if rng.random() < 0.12 else f"{things} {place}"


def _rivals() -> dict[str, tuple[str, ...]]:
    """For each word of a look, colour or object the words that could stand in its place and mean another."""
    roles: list[list[tuple[str, ...]]] = [
        [adjectives for adjectives, _ in LOOKS.values()],
        [nouns for _, nouns in LOOKS.values() if nouns],
        [COLOR_SYNONYMS.get(name, (name,)) for name in COLORS],
        [tuple(singular for singular, _ in names) for names in OBJECTS.values()],
        [tuple(plural for _, plural in names) for names in OBJECTS.values()],
    ]
    rivals: dict[str, tuple[str, ...]] = {}
    for role in roles:
        for own in role:
            others = tuple(word for meaning in role if meaning is not own for word in meaning)
            rivals |= {word: others for word in own if word not in rivals}
    # A fox is an animal, so neither word contradicts the other.
    animals = {word for pair in OBJECTS["quadruped"] for word in pair}
    kinds = {word for kind in ("fox", "dog", "horse", "cat") for pair in OBJECTS[kind] for word in pair}
    for some, others in ((animals, kinds), (kinds, animals)):
        rivals |= {word: tuple(r for r in rivals[word] if r not in others) for word in some}
    return rivals


RIVALS = _rivals()
_LOOK_WORDS = frozenset(word for adjectives, nouns in LOOKS.values() for word in (*adjectives, *nouns))


def _with_word(words: Sequence[str], place: int, word: str) -> str:
    """The sentence with another word in a place, and the article before it that goes with that."""
    changed = [*words[:place], word, *words[place + 1 :]]
    if place and words[place - 1] in ("a", "an"):
        changed[place - 1 : place + 1] = _article(word).split()
    return " ".join(changed)


def contrast(rng: np.random.Generator, text: str) -> str:
    """The caption with one word replaced, so that it says something else: a look where one is named, in
    three of five cases, otherwise any of its looks, colours and objects.
    """
    words = text.split()
    places = [i for i, word in enumerate(words) if word in RIVALS]
    of_looks = [i for i in places if words[i] in _LOOK_WORDS]
    place = _pick(rng, of_looks if of_looks and rng.random() < 0.6 else places)
    return _with_word(words, place, _pick(rng, RIVALS[words[place]]))


def other_looks(text: str) -> list[str]:
    """The caption with each of the other looks in place of its own; none where it names no look or several.

    Example:
        >>> other_looks("a dog with red and white stripes")[0]
        'a dog with red and white checks'
    """
    words = text.split()
    places = [i for i, word in enumerate(words) if word in _LOOK_WORDS]
    if len(places) != 1:
        return []
    place = places[0]
    own = words[place]
    # Adjectives give way to adjectives, nouns to nouns.
    role = 0 if any(own in adjectives for adjectives, _ in LOOKS.values()) else 1
    rivals = (forms[role] for forms in LOOKS.values() if own not in forms[role])
    return [_with_word(words, place, forms[0]) for forms in rivals if forms]


def vocabulary_groups() -> dict[str, list[str]]:
    """The words by what they are, in the order in which a reader would look for them."""
    synonyms = {name: COLOR_SYNONYMS.get(name, (name,)) for name in COLORS}
    return {
        "colours": [word for words in synonyms.values() for word in words],
        "looks": [word for adjectives, nouns in LOOKS.values() for word in (*adjectives, *nouns)],
        "objects": list(dict.fromkeys(word for names in OBJECTS.values() for pair in names for word in pair)),
        "numbers": list(NUMBERS.values()),
        "places": list(PLACES),
        "function words": list(FUNCTION_WORDS),
    }


def vocabulary() -> list[str]:
    """Every word that a caption can hold: sorted, then those that came later."""
    words = {word for words in vocabulary_groups().values() for word in words}
    return [*sorted(words - set(LATER_WORDS)), *LATER_WORDS]
