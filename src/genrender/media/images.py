"""PNG files, and the contact sheet: a clip at a glance."""

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from genrender.errors import MediaError
from genrender.storage.atomic import atomic_write
from genrender.storage.untrusted import library_errors

PAPER = (250, 250, 248)
INK = (70, 70, 68)
FAINT = (150, 150, 146)
# Behind a PNG's signature and its IHDR.
_AFTER_HEADER = 33


def write_png(
    path: str | os.PathLike[str],
    picture: UInt8[np.ndarray, "H W 3"],
    texts: Mapping[str, str] | None = None,
) -> None:
    """Writes an RGB picture.

    Args:
        texts: are kept in the file by their keys, for `read_texts`.

    Raises:
        MediaError: the file cannot be written. Nothing half-written stays behind.
    """
    _write(path, picture, texts or {})


def write_rgba(path: str | os.PathLike[str], picture: UInt8[np.ndarray, "H W 4"]) -> None:
    """Writes an RGB picture with straight alpha; raises as `write_png`."""
    _write(path, picture)


def _write(path: str | os.PathLike[str], picture: np.ndarray, texts: Mapping[str, str] = {}) -> None:
    with atomic_write(path) as part:
        Image.fromarray(picture).save(part, format="PNG", pnginfo=_info(texts))


def with_texts(data: bytes, texts: Mapping[str, str]) -> bytes:
    """A PNG file's bytes with texts in it; the pixels stay as they are.

    Source: PNG specification, section 5.3: chunks of a length, a name, data and their CRC, IHDR the first.
    """
    made = io.BytesIO()
    # What Pillow writes of a single pixel holds the chunks between IHDR and IDAT.
    Image.new("L", (1, 1)).save(made, format="PNG", pnginfo=_info(texts))
    small = made.getvalue()
    chunks = small[_AFTER_HEADER : small.index(b"IDAT") - 4]
    return data[:_AFTER_HEADER] + chunks + data[_AFTER_HEADER:]


def read_texts(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts in a PNG file, by their keys.

    Raises:
        MediaError: it is no PNG.
    """
    remedy = "it is no PNG, or it is damaged"
    with (
        library_errors(str(path), MediaError, remedy, Exception),
        Image.open(path, formats=("PNG",)) as image,
    ):
        image.load()  # texts may stand behind the pixels
        return {str(key): text for key, text in image.info.items() if isinstance(text, str)}


def _info(texts: Mapping[str, str]) -> PngInfo:
    info = PngInfo()
    for key, text in texts.items():
        info.add_itxt(key, text)
    return info


def read_png(path: str | os.PathLike[str]) -> UInt8[np.ndarray, "H W 3"]:
    """Reads a picture as RGB.

    Raises:
        MediaError: the file is missing, or it is no picture.
    """
    if not Path(path).is_file():
        raise MediaError(f"cannot read {path}: there is no such file, expected a picture")
    remedy = "it is no picture, or it is damaged: save or render it again"
    with library_errors(str(path), MediaError, remedy, Exception), Image.open(path) as image:
        return np.array(image.convert("RGB"))


def spread(n_frames: int, n_columns: int) -> list[int]:
    """At most `n_columns` frame numbers, evenly over the clip, the first and the last among them."""
    n_columns = min(n_frames, n_columns)
    return np.linspace(0, n_frames - 1, n_columns).round().astype(int).tolist() if n_columns > 1 else [0]


def contact_sheet(
    rows: Mapping[str, Sequence[np.ndarray] | UInt8[np.ndarray, "F H W 3"]],
    max_columns: int = 8,
    cell_px: int = 192,
    numbers: Sequence[int] | None = None,
) -> UInt8[np.ndarray, "sheet_height sheet_width 3"]:
    """The same frames of several pictures of a clip below each other, with labels.

    Args:
        rows: what the rows are called, and their uint8 RGB frames; all rows have as many frames. Only frames
            that are shown are looked at, so a sequence may load them lazily.
        max_columns: frames shown at most.
        cell_px: longer side of each picture on the sheet.
        numbers: what the frames are called; None: counted from 0.

    Raises:
        MediaError: there is no row, a row has no frames, or rows differ in the number of frames.
    """
    counts = {label: len(frames) for label, frames in rows.items()}
    if len(set(counts.values())) != 1 or 0 in counts.values():
        got = ", ".join(f"{label} {count}" for label, count in counts.items()) or "no rows"
        raise MediaError(f"rows of a contact sheet are {got} long, expected one length, at least 1")
    columns = spread(next(iter(counts.values())), max_columns)
    height, width = np.shape(next(iter(rows.values()))[columns[0]])[:2]
    scale = cell_px / max(height, width)
    cell_width, cell_height = max(1, round(width * scale)), max(1, round(height * scale))

    margin, gap = cell_px // 12, max(2, cell_px // 48)
    font_px = max(10, cell_px // 14)
    font = ImageFont.load_default(size=font_px)
    text_height = round(font_px * 1.8)
    label_width = round(max(font.getlength(label) for label in rows)) + margin
    left, top = margin + label_width, margin + text_height
    sheet_width = left + len(columns) * (cell_width + gap) - gap + margin
    sheet_height = top + len(rows) * (cell_height + gap) - gap + margin
    sheet = Image.new("RGB", (sheet_width, sheet_height), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, frame in enumerate(columns):
        x = left + column * (cell_width + gap)
        name = str(numbers[frame] if numbers else frame)
        draw.text((x + cell_width / 2, top - text_height / 2), name, FAINT, font, anchor="mm")
        for row, (label, frames) in enumerate(rows.items()):
            y = top + row * (cell_height + gap)
            if column == 0:
                draw.text((left - margin / 2, y + cell_height / 2), label, INK, font, anchor="rm")
            sheet.paste(_fit(frames[frame], cell_width, cell_height), (x, y))
    return np.array(sheet)


def _fit(picture: UInt8[np.ndarray, "H W 3"], width: int, height: int) -> Image.Image:
    # Small pictures are enlarged pixel by pixel: a sheet should show what is there.
    is_larger = picture.shape[1] > width
    return Image.fromarray(picture).resize(
        (width, height), Image.Resampling.LANCZOS if is_larger else Image.Resampling.NEAREST
    )


def enlarged(picture: UInt8[np.ndarray, "H W 3"], scale: int) -> UInt8[np.ndarray, "rows columns 3"]:
    """The picture `scale` times as wide and high, without blocks (Lanczos)."""
    if scale == 1:
        return picture
    height, width = picture.shape[:2]
    size = (width * scale, height * scale)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))
