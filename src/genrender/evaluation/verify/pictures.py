"""Pictures of the checks: what a figure says in a number, seen."""

import textwrap

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from PIL import Image, ImageDraw, ImageFont

from genrender.config import CorrespondenceConfig, Engine, InjectionConfig, NoiseMode
from genrender.correspondence.engines import make_engine
from genrender.evaluation.verify.checks import MODES, Verification
from genrender.evaluation.verify.features import SurfaceFeatures, blend_fully, token_differences
from genrender.evaluation.verify.matches import match_pixels
from genrender.evaluation.verify.noise import clip_noise
from genrender.gbuffer.preview import to_picture
from genrender.media.images import INK, PAPER, contact_sheet
from genrender.shots.clip import Clip
from genrender.storage.lazy_frames import PerFrame
from genrender.surface.texels import pixel_centres
from genrender.surface.tracking import SurfaceTracker

# Few columns: a latent pixel must be large enough to be recognised from one picture to the next.
_COLUMNS, _CELL_PX = 4, 320
_FONT_PX = 18
_UNSEEN = 0.85
# Errors from 0 to `_WORST_ERROR` standard deviations run through these colours.
_RAMP = np.array([(12, 10, 30), (90, 20, 110), (200, 60, 70), (250, 160, 40), (255, 250, 180)]) / 255
_WORST_ERROR = 2.0


def noise_picture(clip: Clip, verification: Verification, seed: int) -> UInt8[np.ndarray, "H W 3"]:
    """The noise of several frames, moved to where one frame shows the same surface points.

    Args:
        clip: what was verified.
        verification: its result.
        seed: that it was verified with.
    """
    shape, anchor = verification.latent_shape, verification.pair[0]
    tracker = clip.tracker
    box = _bounding_box(clip, anchor, shape)

    def row(mode: NoiseMode) -> PerFrame[UInt8[np.ndarray, "h w 3"]]:
        noise = clip_noise(clip, mode, seed)

        def moved(frame: int) -> UInt8[np.ndarray, "h w 3"]:
            colours = 0.5 + noise[frame][:3].reshape(3, -1).T / 4
            return _seen_from(tracker, anchor, frame, shape, colours)[box]

        return PerFrame(moved, len(clip.gbuffers))

    return _captioned(
        contact_sheet({mode: row(mode) for mode in MODES}, _COLUMNS, _CELL_PX),
        f"The initial noise of each frame, moved to where frame {anchor} shows the same surface points. "
        "A row that keeps its pattern sticks to the surface. Grey: not seen by both frames.",
    )


def feature_picture(clip: Clip, verification: Verification, seed: int) -> UInt8[np.ndarray, "H W 3"]:
    """How much the features of several frames differ from one frame's at the same surface points.

    Args:
        clip: what was verified.
        verification: its result.
        seed: that it was verified with.
    """
    shape, pair = verification.latent_shape, verification.pair
    anchor, rule = pair[0], InjectionConfig().unify
    tracker = clip.tracker
    features = SurfaceFeatures(tracker, shape, pair, seed)
    box = _bounding_box(clip, anchor, shape)

    def row(name: Engine | None) -> PerFrame[UInt8[np.ndarray, "h w 3"]]:
        engine = None
        if name is not None:
            engine = make_engine(
                clip.gbuffers, CorrespondenceConfig(engine=name), torch.device("cpu"), tracker
            )

        def error(frame: int) -> UInt8[np.ndarray, "h w 3"]:
            if engine is None:
                there, here = (features.disagreeing(f).flatten(1).T for f in (frame, anchor))
            else:
                there, here = blend_fully(engine, features, pair, (frame, anchor), shape, rule)
            matches = match_pixels(tracker, anchor, frame, shape)
            picture = np.full((shape[0] * shape[1], 3), _UNSEEN)
            picture[matches.here] = _ramp(token_differences(here, there, matches).numpy() / _WORST_ERROR)
            return to_picture(picture.reshape(*shape, 3).astype(np.float32))[box]

        return PerFrame(error, len(clip.gbuffers))

    rows = {"unblended": row(None)} | {name: row(name) for name in verification.engines}
    return _captioned(
        contact_sheet(rows, _COLUMNS, _CELL_PX),
        f"How much the features of each frame differ from those of frame {anchor} at the same surface "
        f"points: unblended, and blended on the surface by each engine, with frames {pair[0]} and {pair[1]} "
        "as keyframes. Grey: not seen by both frames.",
        has_scale=True,
    )


def _seen_from(
    tracker: SurfaceTracker,
    anchor: int,
    frame: int,
    shape: tuple[int, int],
    colours: Float32[np.ndarray, "P 3"],
) -> UInt8[np.ndarray, "h w 3"]:
    """Colours of a frame's pixels, moved to the pixels of `anchor` that show the same surface points."""
    matches = match_pixels(tracker, anchor, frame, shape)
    picture = np.full((shape[0] * shape[1], 3), _UNSEEN, np.float32)
    picture[matches.here] = colours[matches.there]
    return to_picture(picture.reshape(*shape, 3))


def _bounding_box(clip: Clip, frame: int, shape: tuple[int, int]) -> tuple[slice, slice]:
    """The part of the picture that shows a surface, with a margin of one pixel."""
    shown: Bool[np.ndarray, "h w"] = pixel_centres(clip.gbuffers[frame], shape).object_id.reshape(shape) > 0
    rows, cols = (np.flatnonzero(shown.any(axis)) for axis in (1, 0))
    return slice(max(0, rows[0] - 1), rows[-1] + 2), slice(max(0, cols[0] - 1), cols[-1] + 2)


def _ramp(share: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N 3"]:
    position = np.clip(share, 0, 1) * (len(_RAMP) - 1)
    return np.stack([np.interp(position, np.arange(len(_RAMP)), channel) for channel in _RAMP.T], axis=1)


def _captioned(
    sheet: UInt8[np.ndarray, "H W 3"], text: str, has_scale: bool = False
) -> UInt8[np.ndarray, "taller W 3"]:
    """The sheet below what it shows, and below the scale of its colours."""
    font = ImageFont.load_default(size=_FONT_PX)
    margin, line_px = _CELL_PX // 12, round(1.5 * _FONT_PX)
    width = sheet.shape[1]
    lines = textwrap.wrap(
        text, max(20, int((width - 2 * margin) / (font.getlength(text) / len(text)) * 0.96))
    )
    head = Image.new("RGB", (width, margin + line_px * (len(lines) + has_scale) + margin // 2), PAPER)
    draw = ImageDraw.Draw(head)
    for i, line in enumerate(lines):
        draw.text((margin, margin + i * line_px), line, INK, font)
    if has_scale:
        x, y = margin, margin + len(lines) * line_px
        bar = to_picture(_ramp(np.linspace(0, 1, 160)).astype(np.float32)[None].repeat(line_px // 2, axis=0))
        words = "0", f"{_WORST_ERROR:g} standard deviations"
        draw.text((x, y), words[0], INK, font)
        x += round(font.getlength(words[0])) + margin // 2
        head.paste(Image.fromarray(bar), (x, y + line_px // 5))
        draw.text((x + 160 + margin // 2, y), words[1], INK, font)
    return np.concatenate([np.array(head), sheet])
