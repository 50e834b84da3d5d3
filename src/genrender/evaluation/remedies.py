"""What a symptom's remedy means for a run: settings to try, from those that it was made with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genrender.runs.record import RunRecord


@dataclass(frozen=True)
class Remedy:
    """One thing to try.

    Attributes:
        words: as on the command line.
        settings: options of `genrender render` by name; those of `set` come on top of others.
    """

    words: str
    settings: Mapping[str, Any]


def remedies(symptom: str, record: RunRecord) -> list[Remedy]:
    """What to try against a symptom, the likeliest first; nothing that the run has already.

    Args:
        symptom: its name, see `genrender.evaluation.diagnose.symptoms`.
        record: of the run.
    """
    method = record.making.settings.others["method"]
    injection = method["injection"]
    lock = record.making.settings.others.get("lock", 0.0)
    alpha, keyframes = injection["alpha"], injection["n_keyframes"]
    more_alpha, less_alpha = min(1.0, round(alpha + 0.2, 2)), max(0.0, round(alpha - 0.2, 2))
    more_keyframes = min(2 * keyframes, record.shot.n_frames)
    surface_noise = ("noise", "bridge", method["noise"]["mode"])
    stronger = ("alpha", more_alpha, alpha)
    wider = ("keyframes", more_keyframes, keyframes)
    tried = {
        "flicker": (surface_noise, stronger, wider, ("lock", 1.0, lock)),
        "texture sticking": (
            surface_noise,
            stronger,
            ("noise.degradation", 0.2, method["noise"]["degradation"]),
        ),
        "blur": (
            ("unify", "fill", injection["unify"]),
            ("alpha", less_alpha, alpha),
            ("injection.alpha_end", 0.2, injection["alpha_end"]),
            ("correspondence.ratio", 8, method["correspondence"]["ratio"]),
        ),
        "colour drift": (("latents.normalise", "objects", method["latents"]["normalise"]), wider),
    }
    return [_remedy(name, value) for name, value, is_now in tried[symptom] if value != is_now]


def _remedy(name: str, value: Any) -> Remedy:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    if "." in name:
        return Remedy(f"--set {name}={text}", {"set": [f"{name}={text}"]})
    return Remedy(f"--{name} {text}", {name: value})
