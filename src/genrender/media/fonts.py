"""A font that has the letters of a text.

Pillow's own font, the only one that is there on every machine, has those of English alone.
"""

import unicodedata
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Where the system has them, by file name: Linux, macOS, Windows; then those of Chinese, Japanese and Korean.
_FILES = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "LiberationSans-Regular.ttf",
    "Arial Unicode.ttf",
    "arial.ttf",
    "NotoSansCJK-Regular.ttc",
    "Hiragino Sans GB.ttc",
    "msyh.ttc",
)
# A character that no font has: it is drawn as what stands for missing ones.
_NOBODYS = "\U0010fffe"


def lettering(text: str, size: int) -> tuple[str, Font]:
    """A text as it can be drawn, and the font to draw it with.

    Where no font has all its letters, accents are left out and a question mark stands for every other one.

    Args:
        text: one line.
        size: of the letters, in pixels.
    """
    own = ImageFont.load_default(size=size)
    if text.isascii():
        return text, own
    for font in _system_fonts(size):
        if _has_all(font, text):
            return text, font
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return plain.encode("ascii", "replace").decode("ascii"), own


@lru_cache(maxsize=8)
def _system_fonts(size: int) -> tuple[ImageFont.FreeTypeFont, ...]:
    fonts = []
    for file in _FILES:
        try:
            fonts.append(ImageFont.truetype(file, size))
        except OSError:
            continue  # this machine does not have it
    return tuple(fonts)


def _has_all(font: ImageFont.FreeTypeFont, text: str) -> bool:
    missing = _drawn(font, _NOBODYS)
    return all(_drawn(font, letter) != missing for letter in set(text) if not letter.isspace())


def _drawn(font: ImageFont.FreeTypeFont, letter: str) -> bytes:
    image = Image.new("L", (64, 64))
    ImageDraw.Draw(image).text((8, 8), letter, 255, font)
    return image.tobytes()
