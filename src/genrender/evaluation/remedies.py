"""What a symptom's remedy means for a run: settings to try, from those that it was made with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genrender.runs.record import RunRecord


@dataclass(frozen=True)
class Remedy:
    """One thing to try.

    Attributes:
        about: what it does, in plain words.
        words: as on the command line.
        settings: options of `genrender render` by name; those of `set` come on top of others.
    """

    about: str
    words: str
    settings: Mapping[str, Any]


def remedies(symptom: str, record: RunRecord) -> list[Remedy]:
    """What to try against a symptom, the likeliest first; nothing that the run has already.

    Args:
        symptom: its name, see `genrender.evaluation.diagnose.symptoms`.
        record: of the run.
    """
    others = record.making.settings.others
    method = others["method"]
    injection, latents, noise = method["injection"], method["latents"], method["noise"]
    alpha, keyframes = injection["alpha"], injection["n_keyframes"]
    more_keyframes = min(2 * keyframes, record.shot.n_frames)
    lock = ("Paint surfaces once, from the frames that see them best", "lock", 1.0, others.get("lock", 0.0))
    surface_noise = ("Begin with noise that lies on the surface", "noise", "bridge", noise["mode"])
    stronger = ("Take more from other frames", "alpha", min(1.0, round(alpha + 0.2, 2)), alpha)
    weaker = ("Take less from other frames", "alpha", max(0.0, round(alpha - 0.2, 2)), alpha)
    wider = ("Look at more frames at once", "keyframes", more_keyframes, keyframes)
    fresh = ("Mix fresh noise in", "noise.degradation", 0.2, noise["degradation"])
    alone = ("Leave each frame's own detail alone", "latents.synchronise", 0.0, latents["synchronise"])
    coarse = ("Share only what is large", "injection.low_band", 0.06, injection["low_band"])
    even = ("Hold each object's colours", "latents.normalise", "objects", latents["normalise"])
    origin = record.making.origin
    name = (origin and origin.method_name) or "generative"
    shared = ("Let frames share what they paint", "method", "generative", name)
    tried = {
        "flicker": (lock, surface_noise, stronger, wider),
        "texture sticking": (surface_noise, stronger, fresh),
        "blur": (lock, alone, coarse, weaker),
        "colour drift": (even, wider),
    }[symptom]
    if name != "generative":  # the others' settings mean something else, or nothing
        tried = (shared, lock)
    return [_remedy(about, setting, value) for about, setting, value, now in tried if value != now]


def _remedy(about: str, name: str, value: Any) -> Remedy:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    if "." in name:
        return Remedy(about, f"--set {name}={text}", {"set": [f"{name}={text}"]})
    return Remedy(about, f"--{name} {text}", {name: value})
