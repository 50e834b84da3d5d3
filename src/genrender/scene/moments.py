"""Frame rates and moments: which rate a file's keys lie on, and what `--start 10` or `--end 0.5s` means."""

import math
import re
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from jaxtyping import Float64

from genrender.errors import ConfigError

# Where neither the file nor the user tells one.
DEFAULT_FPS = 24.0
# Width / height of the pictures of a camera that tells none: what video has.
DEFAULT_ASPECT = 16 / 9
# Rates at which pictures are shown.
STANDARD_RATES = (24.0, 25.0, 30.0, 48.0, 50.0, 60.0, 24000 / 1001, 30000 / 1001, 60000 / 1001)
# Key times come as float32, and exporters round: a key may miss its frame by this much of one.
_FRAME_TOLERANCE = 0.02
# Times that agree to this much of a frame are one moment.
SAME_MOMENT = 1e-3

# More than any clip has; infinity is no whole number.
MAX_COUNT = 10**12

# Frames as whole numbers or not, seconds with an s behind them.
_MOMENT = re.compile(r"(-?\d{1,9}(?:\.\d{1,9})?)(s?)", re.ASCII)

Moment = str | int | float


def rate_of_keys(times_s: Iterable[Float64[np.ndarray, "K"]]) -> float | None:
    """The frame rate that keys were clearly set at, of formats that tell none.

    Args:
        times_s: key times of the tracks.

    Returns:
        The standard rate whose frames hold all keys, with some of them one frame apart; None if there is
        none. Two keys a second apart tell nothing.
    """
    tracks = [np.unique(track) for track in times_s]
    steps = np.concatenate([np.diff(track) for track in tracks]) if tracks else np.empty(0)
    if not steps.size or steps.min() <= 0:
        return None
    keys = np.unique(np.concatenate(tracks))
    misses = {
        rate: max(
            float(np.abs(keys * rate - np.round(keys * rate)).max()), abs(float(steps.min()) * rate - 1)
        )
        for rate in STANDARD_RATES
    }
    # Of 24 and 23.976, which few keys hardly tell apart, the nearer one.
    nearest = min(STANDARD_RATES, key=lambda rate: round(misses[rate], 4))
    return nearest if misses[nearest] < _FRAME_TOLERANCE else None


def tidy_rate(fps: float) -> float:
    """A rate that a file rounded: 23.976 and 1 / 0.0417 become what was meant."""
    near = min(STANDARD_RATES, key=lambda rate: abs(rate - fps))
    if abs(near - fps) < 2e-4 * near:
        return near
    return float(round(fps)) if abs(round(fps) - fps) < 1e-3 * fps else fps


def rate_as_text(fps: float) -> str:
    """A rate as people write it: 24, 29.97."""
    return f"{fps:.5g}"


def seconds_of(moment: Moment, fps: float, name: str) -> float:
    """Seconds on the file's timeline.

    Args:
        moment: a frame number, or seconds with an s behind them: 10, "10", "0.5s".
        fps: frames per second that frames are counted at: frame n is shown at n / fps.
        name: what the message calls it.

    Raises:
        ConfigError: it is neither.
    """
    text = f"{moment:.9g}" if isinstance(moment, int | float) else moment.strip()
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"{name} is {text[:40]!r}, expected a frame number such as 10, or seconds such as 0.5s"
        )
    number = float(match[1])
    return number if match[2] else number / fps


def frames_between(start_s: float, end_s: float, fps: float) -> int:
    """How many frames from one moment to another, both included."""
    return math.floor(min((end_s - start_s) * fps, MAX_COUNT) + SAME_MOMENT) + 1


def shape_as_text(aspect: float) -> str:
    """Width over height in small numbers where there are such: "16:9", "1.85:1"."""
    ratio = Fraction(aspect).limit_denominator(16)
    if abs(ratio / Fraction(aspect) - 1) < 2e-3 and ratio.numerator <= 40:
        return f"{ratio.numerator}:{ratio.denominator}"
    return f"{aspect:.3g}:1"
