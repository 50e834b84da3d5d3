"""A picture of every object's texture charts, with overlaps and mirrored charts marked."""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw

from genrender.gbuffer.preview import object_colour
from genrender.media.fonts import Font, lettering
from genrender.media.images import FAINT, INK, PAPER
from genrender.scene.scene import Scene
from genrender.scene.uv.charts import charts_of
from genrender.scene.uv.quality import signed_uv_area, texel_coverage
from genrender.scene.uv.unwrap import report_of, spans

CELL_PX = 320
COLUMNS = 4
# A sheet is for looking at; a scene of hundreds of objects would not fit on any screen.
MAX_CELLS = 64
# Tiles along a side that are drawn of coordinates beyond [0, 1].
MAX_TILES = 4

RED = np.array([220, 40, 30], np.float64)
WHITE = (255, 255, 255)


def chart_picture(scene: Scene) -> UInt8[np.ndarray, "sheet_height sheet_width 3"]:
    """The texture of every object, each mesh once, at most 64 of them.

    Every chart has a colour of its own. Red: more than one triangle lies there. Hatched: mirrored against the
    larger part of the object. The frame is [0, 1]; tiles beyond it are drawn up to four in a row.
    """
    meshes: dict[int, tuple[int, slice]] = {}
    for index, span in enumerate(spans(scene.objects)):
        mesh = scene.objects[index].mesh
        meshes.setdefault(mesh if mesh >= 0 else -1 - index, (index, span))
    cells = list(meshes.values())[:MAX_CELLS]
    n_columns = min(COLUMNS, len(cells))
    n_rows = -(-len(cells) // n_columns)
    gap, text_px = 16, 40
    sheet = Image.new(
        "RGB", (gap + n_columns * (CELL_PX + gap), gap + n_rows * (CELL_PX + text_px + gap)), PAPER
    )
    draw = ImageDraw.Draw(sheet)
    for cell, (index, span) in enumerate(cells):
        x = gap + cell % n_columns * (CELL_PX + gap)
        y = gap + cell // n_columns * (CELL_PX + text_px + gap)
        for row, text, size, ink in (
            (0, scene.objects[index].name, 14, INK),
            (1, report_of(scene, span).advice, 12, FAINT),
        ):
            shown, font = lettering(text, size)
            draw.text((x, y + 18 * row), _cut(shown, font, CELL_PX), ink, font)
        sheet.paste(Image.fromarray(_draw(scene, span)), (x, y + text_px))
    return np.array(sheet)


def _cut(text: str, font: Font, width: int) -> str:
    while font.getlength(text) > width:
        text = text.removesuffix("...")[:-1] + "..."
    return text


def _draw(scene: Scene, span: slice) -> UInt8[np.ndarray, "cell cell 3"]:
    has_uvs = scene.has_uvs[span]
    image = Image.new("RGB", (CELL_PX, CELL_PX), WHITE)
    if not has_uvs.any():
        ImageDraw.Draw(image).text((CELL_PX / 2, CELL_PX / 2), "none", FAINT, anchor="mm")
        return np.array(image)
    tris, uvs = scene.tris[span][has_uvs], scene.uvs[span][has_uvs].astype(np.float64)
    low, n_tiles = _tiles(uvs)
    place = (uvs - low) / n_tiles * CELL_PX
    chart = charts_of(tris, uvs, scene.rest_verts)
    draw = ImageDraw.Draw(image)
    for triangle, number in zip(place, chart, strict=True):
        draw.polygon([tuple(corner) for corner in triangle], object_colour(int(number) + 1))
    picture = np.array(image)
    # Triangles that reach beyond the drawn tiles are drawn as far as these go.
    picture[_hatched(place, uvs)] //= 2
    is_shared = _beyond(place, 1)
    picture[is_shared] = (0.3 * picture[is_shared] + 0.7 * RED).astype(np.uint8)
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for tile in range(n_tiles + 1):
        at = min(tile * CELL_PX // n_tiles, CELL_PX - 1)
        draw.line([(at, 0), (at, CELL_PX)], FAINT)
        draw.line([(0, at), (CELL_PX, at)], FAINT)
    corner, side = -low / n_tiles * CELL_PX, CELL_PX / n_tiles - 1
    draw.rectangle([*corner.tolist(), *(corner + side).tolist()], outline=INK, width=2)
    return np.array(image)


def _tiles(uvs: Float[np.ndarray, "T 3 2"]) -> tuple[Float[np.ndarray, "2"], int]:
    """The first tile that is drawn and how many along a side; [0, 1] is always among them."""
    low = np.clip(np.floor(uvs.min(axis=(0, 1)) + 1e-5), 1 - MAX_TILES, 0)
    high = np.maximum(np.ceil(uvs.max(axis=(0, 1)) - 1e-5), 1)
    return low, int(np.clip((high - low).max(), 1, MAX_TILES))


def _hatched(
    place: Float[np.ndarray, "T 3 2"], uvs: Float[np.ndarray, "T 3 2"]
) -> Bool[np.ndarray, "cell cell"]:
    """Stripes where the minority of orientations lies."""
    signed = signed_uv_area(uvs)
    is_negative = signed < 0
    minority = is_negative if -signed[is_negative].sum() < signed[~is_negative].sum() else ~is_negative
    y, x = np.indices((CELL_PX, CELL_PX))
    return _beyond(place[minority], 0) & ((x + y) % 8 < 2)


def _beyond(place: Float[np.ndarray, "T 3 2"], n: int) -> Bool[np.ndarray, "cell cell"]:
    """Pixels that more than `n` triangles cover."""
    is_inside = ((place >= -CELL_PX) & (place <= 2 * CELL_PX)).all(axis=(1, 2))
    # The raster wraps around, so a frame of a whole picture keeps what lies outside apart.
    shifted = (place[is_inside] + CELL_PX) / (3 * CELL_PX)
    coverage = texel_coverage(shifted, 3 * CELL_PX)[CELL_PX : 2 * CELL_PX, CELL_PX : 2 * CELL_PX]
    return coverage > n
