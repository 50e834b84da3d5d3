"""Makes the moving pictures of docs/gallery.md: runs its commands, and each once more without consistency.

    python tools/gallery.py                  # all rows
    python tools/gallery.py walk pair        # these
    python tools/gallery.py --again          # runs them anew instead of taking what lies in runs/gallery

Each row becomes docs/pictures/clips/NAME.webp, a loop of depth, per frame and ours side by side.
"""

import sys
from pathlib import Path

import numpy as np
import tyro
from commands import ROOT, Command, commands
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from genrender.cli import main as genrender
from genrender.gbuffer.control import inverse_depth_range
from genrender.gbuffer.preview import depth_picture
from genrender.media.fonts import lettering
from genrender.runs.finished import open_run
from genrender.runs.folder import RunFolder
from genrender.storage.atomic import atomic_write

PAGE = ROOT / "docs" / "gallery.md"
CLIPS = ROOT / "docs" / "pictures" / "clips"
TITLES = ("depth", "per frame", "ours")
PANE_PX, GAP_PX, TITLE_PX = 192, 4, 22
INK, PAPER = (235, 238, 242), (28, 31, 36)
MOST_BYTES = 1_000_000
Rgb = NDArray[np.uint8]


def main(names: tyro.conf.Positional[tuple[str, ...]] = (), again: bool = False) -> None:
    rows = {
        Path(_run_dir(command)).name: command for command in commands(PAGE) if "--run-dir" in command.words
    }
    for name in names or rows:
        words = list(rows[name].words[1:])
        ours = Path(_run_dir(rows[name]))
        plain = ours.with_name(f"{name}-per-frame")
        _run(words, ours, again)
        _run([*words[:-1], str(plain), "--method", "per-frame"], plain, again)
        run = open_run(ours)
        inverse_range = inverse_depth_range(run.clip.gbuffers)
        depth = [depth_picture(gbuffer, inverse_range) for gbuffer in run.clip.gbuffers]
        columns = (depth, RunFolder(plain).frames(), RunFolder(ours).frames())
        pictures = [_beside(parts) for parts in zip(*columns, strict=True)]
        size = write_loop(CLIPS / f"{name}.webp", pictures, round(1000 / run.clip.fps))
        print(f"{name}: {len(pictures)} frames, {size / 1e3:.0f} kB")


def write_loop(file: Path, pictures: list[Image.Image], durations_ms: int | list[int]) -> int:
    """A looping WebP of less than a megabyte; its size in bytes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    first, *others = pictures
    for quality in (80, 70, 60, 50, 40, 30):
        with atomic_write(file) as part:
            first.save(
                part, "WEBP", save_all=True, append_images=others, duration=durations_ms, loop=0,
                quality=quality, method=4, minimize_size=True,
            )  # fmt: skip
        if file.stat().st_size < MOST_BYTES:
            return file.stat().st_size
    sys.exit(f"error: {file} has {file.stat().st_size} bytes, expected less than {MOST_BYTES}")


def _run_dir(command: Command) -> str:
    return command.words[command.words.index("--run-dir") + 1]


def _run(words: list[str], run_dir: Path, again: bool) -> None:
    if (again or not (run_dir / "video.mp4").exists()) and genrender(words):
        sys.exit(f"error: genrender {' '.join(words)} failed")


def _beside(pictures: tuple[Rgb, ...]) -> Image.Image:
    """Titled pictures beside each other, enlarged."""
    enlarged = [_enlarged(picture) for picture in pictures]
    width = sum(picture.width for picture in enlarged) + GAP_PX * (len(enlarged) - 1)
    sheet = Image.new("RGB", (width, TITLE_PX + enlarged[0].height), PAPER)
    draw, x = ImageDraw.Draw(sheet), 0
    for title, picture in zip(TITLES, enlarged, strict=True):
        draw.text((x + picture.width / 2, TITLE_PX / 2), title, INK, lettering(title, 13)[1], anchor="mm")
        sheet.paste(picture, (x, TITLE_PX))
        x += picture.width + GAP_PX
    return sheet


def _enlarged(picture: Rgb) -> Image.Image:
    image = Image.fromarray(picture)
    return image.resize((PANE_PX, round(PANE_PX * image.height / image.width)), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
