"""For words that a model does not know: the nearest that it does."""

from collections.abc import Collection
from difflib import get_close_matches

# Words of everyday descriptions by what comes nearest to them.
_ALIKE = {
    "red": "crimson scarlet ruby maroon burgundy cherry rusty",
    "orange": "amber copper tangerine apricot",
    "yellow": "golden gold lemon blond blonde mustard",
    "green": "emerald olive lime jade mint",
    "turquoise": "teal aqua aquamarine",
    "blue": "navy azure indigo sapphire cobalt",
    "purple": "magenta lilac lavender plum mauve",
    "pink": "rose rosy salmon fuchsia",
    "brown": "chestnut bronze tan chocolate",
    "beige": "cream ivory sandy khaki",
    "white": "snowy pale",
    "gray": "silver silvery metallic metal steel ashen",
    "black": "ebony dark jet coal",
    "plain": "solid uniform simple smooth",
    "striped": "banded zebra lined",
    "checkered": "chequered plaid tartan checkerboard chessboard",
    "spotted": "polka speckled dappled leopard freckled",
    "wooden": "timber oak pine oaken",
    "marble": "marbled stone granite",
    "person": "man woman human girl boy child figure dancer",
    "robot": "android mech machine",
    "quadruped": "beast cow sheep deer",
    "dog": "puppy hound wolf",
    "cat": "kitten lion tiger panther",
    "horse": "pony donkey mule",
    "bird": "eagle parrot crow sparrow",
    "ball": "orb globe",
    "cube": "block",
    "house": "building cabin hut cottage castle",
    "car": "vehicle automobile",
    "truck": "lorry van bus",
    "cup": "mug",
    "rocket": "spaceship missile",
    "ground": "grass field lawn meadow",
    "background": "scenery surroundings",
}
_NEAREST = {word: known for known, words in _ALIKE.items() for word in words.split()}
# How alike two spellings are, from 0 to 1, to be taken for one word.
_CLOSE = 0.75


def nearest_word(word: str, vocabulary: Collection[str]) -> str | None:
    """A word of the vocabulary that means, or is spelled, nearly the same; None: there is none.

    Example:
        >>> nearest_word("golden", {"yellow", "green"})
        'yellow'
        >>> nearest_word("strippd", {"striped", "green"})
        'striped'
    """
    if (known := _NEAREST.get(word)) in vocabulary:
        return known
    return next(iter(get_close_matches(word, sorted(vocabulary), 1, _CLOSE)), None)
