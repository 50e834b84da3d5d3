"""Which channels of EXR files are depth, texture coordinates and objects, told from their names.

Sources of the names: files of Blender 4.5, and for other software what public programs read; docs/exr.md says
which name comes from where.
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from genrender.errors import ConfigError, MediaError
from genrender.scene.camera import Lens
from genrender.storage.untrusted import read_json, shown

DepthKind = Literal["planar", "distance", "inverse", "negative"]

# The last word of a layer's name, in lower case and without digits behind it.
DEPTH_WORDS = {"depth", "z", "zdepth", "pz", "hitpz", "worlddepth", "scenedepth", "cameradepth"}
UV_WORDS = {"uv", "uvs", "st", "uvmap", "uvpass", "texcoord", "texcoords"}
OBJECT_WORDS = {"indexob", "objectindex", "objectid", "objid", "oid", "id", "object", "index"}
# Words anywhere in a layer's name that make it something else: Blender's `Denoising Depth`, a `material_id`.
OTHER_WORDS = {"denoising", "mist", "noisy", "variance", "material", "mat", "asset", "prim"}
# Passes of one number are written to these channels, the first that is there counts: `Depth.V` is Blender 5,
# `WorldDepth.R` has the same number in G and B.
ONE_NUMBER = ("z", "x", "v", "r", "red", "y", "")
TWO_NUMBERS = (("u", "v"), ("s", "t"), ("x", "y"), ("r", "g"), ("red", "green"))
COMPONENTS = {*ONE_NUMBER, *(name for pair in TWO_NUMBERS for name in pair), "b", "blue", "a", "alpha", "w"}
RANK_0 = re.compile(r"(?P<name>.*)00\.(r|red)", re.IGNORECASE)


@dataclass(frozen=True)
class ExrMap:
    """What somebody says about the channels of EXR files. None is found out from the channels' names.

    Attributes:
        depth: channel of the depth; as everywhere, layers before it may be left out where that is clear.
        u: channel of the first texture coordinate.
        v: channel of the second.
        object: channel of the object index, or name of a cryptomatte.
        depth_is: planar along the view axis, `distance` to the camera's place, `inverse` (1 / planar, 0 is
            background), or `negative` (planar, but z of camera space, which is below 0).
        yfov_deg: vertical field of view in degrees; `distance` needs it, and control pictures of normals.
        v_up: V grows upwards. None: it does, except in files of Unreal.
    """

    depth: str | None = None
    u: str | None = None
    v: str | None = None
    object: str | None = None
    depth_is: DepthKind = "planar"
    yfov_deg: float | int | None = None
    v_up: bool | None = None

    def check(self) -> None:
        """Raises ConfigError for a field of view out of range, or one that is needed and not there."""
        yfov = self.yfov_deg
        if yfov is not None and not 0 < yfov < 180:
            raise ConfigError(f"EXR map: yfov_deg is {yfov:g}, expected degrees between 0 and 180")
        if self.depth_is == "distance" and yfov is None:
            raise ConfigError(
                "EXR map: depth_is is distance, which needs yfov_deg, the camera's vertical view; give it"
            )


# Everything is found out from the channels' names.
AUTOMATIC = ExrMap()


@dataclass(frozen=True)
class Channels:
    """The channels that hold a G-buffer, by their full names, and their conventions, see `ExrMap`.

    Attributes:
        object: channel of the object index, or of a cryptomatte's rank 0.
        cryptomatte: the cryptomatte's name; None: `object` holds indices.
    """

    depth: str
    u: str
    v: str
    object: str
    cryptomatte: str | None
    depth_is: DepthKind
    yfov_deg: float | int | None
    v_up: bool

    @property
    def names(self) -> tuple[str, str, str, str]:
        """The channels, in the order depth, u, v, object."""
        return self.depth, self.u, self.v, self.object

    @property
    def lens(self) -> Lens | None:
        """What turns depths into places, where the field of view is known."""
        return None if self.yfov_deg is None else Lens(math.tan(math.radians(self.yfov_deg) / 2))

    def as_map(self) -> ExrMap:
        """The map that names exactly these."""
        object_ = self.object if self.cryptomatte is None else self.cryptomatte
        return ExrMap(self.depth, self.u, self.v, object_, self.depth_is, self.yfov_deg, self.v_up)


def read_exr_map(path: Path) -> ExrMap:
    """A map from a JSON file that has `ExrMap`'s names as keys.

    Raises:
        ConfigError: the file cannot be read, or a key or a value in it cannot be used.
    """
    try:
        stored = read_json(path, ConfigError, "an EXR map, see docs/exr.md")
    except FileNotFoundError:
        raise ConfigError(f"cannot read the EXR map {path}: there is no such file; mend --exr-map") from None
    known = [field.name for field in fields(ExrMap)]
    unknown = sorted(set(stored) - set(known)) if isinstance(stored, dict) else ["not an object"]
    if unknown:
        what = f"unknown key {unknown[0]!r}" if isinstance(stored, dict) else "no JSON object"
        raise ConfigError(f"EXR map {path}: {what}, expected some of {', '.join(known)}")
    for name, value in stored.items():
        _check_kind(path, name, value)
    map_ = ExrMap(**stored)
    map_.check()
    return map_


def _check_kind(path: Path, name: str, value: Any) -> None:
    """Raises ConfigError where a key has a value of the wrong kind."""
    if name == "depth_is":
        is_right, expected = value in get_args(DepthKind), "one of " + ", ".join(get_args(DepthKind))
    elif name == "v_up":
        is_right, expected = isinstance(value, bool), "true or false"
    elif name == "yfov_deg":
        is_right, expected = isinstance(value, float | int) and not isinstance(value, bool), "degrees"
    else:
        is_right, expected = isinstance(value, str), "a channel's name"
    if not is_right:
        raise ConfigError(f"EXR map {path}: {name} is {value!r}, expected {expected}")


def find_channels(where: str, names: Sequence[str], crypto_names: Iterable[str], wanted: ExrMap) -> Channels:
    """The channels that hold a G-buffer.

    Args:
        where: what the messages call the files.
        names: full names of all channels there are.
        crypto_names: names of cryptomattes, as the files' headers tell them.
        wanted: what is known beforehand.

    Raises:
        MediaError: a channel is missing, or several could be meant.
    """

    def named(role: str, name: str) -> str:
        found = [one for one in names if one == name] or [one for one in names if one.endswith("." + name)]
        return _only(where, role, found, names)

    def told_or_found(role: str, name: str | None, find: Callable[[], list[str]]) -> str:
        return named(role, name) if name else _only(where, role, find(), names)

    layers = _layers(names)
    mattes = cryptomattes(names, crypto_names)
    pairs = [pair for layer in layers if _word(layer) in UV_WORDS if (pair := _pair(layers[layer]))]
    depth = told_or_found("depth (such as Depth.Z)", wanted.depth, lambda: _depths(layers))
    u = told_or_found("texture coordinate U (such as UV.U)", wanted.u, lambda: [u for u, _ in pairs])
    v = told_or_found("texture coordinate V (such as UV.V)", wanted.v, lambda: [v for _, v in pairs])
    role = "object index (such as IndexOB.X) or cryptomatte"
    cryptomatte = None
    # A cryptomatte called crypto_object is no index, nor is the preview that some software puts beside it.
    others = [layer for layer in layers if re.sub(r"\d\d$", "", layer) not in mattes]
    indices = [one for layer in others if _word(layer) in OBJECT_WORDS if (one := _single(layers[layer]))]
    asked = [name for name in mattes if wanted.object in (name, name.rpartition(".")[2])]
    if wanted.object is not None and asked:
        cryptomatte = _only(where, role, asked, names)
    elif wanted.object is None and not indices and mattes:
        cryptomatte = _only(where, role, _of_objects(list(mattes)), names)
    if cryptomatte is None:
        object_ = told_or_found(role, wanted.object, lambda: indices)
    else:
        object_ = mattes[cryptomatte]
    is_unreal = any("FinalImage" in name or "ActorHitProxyMask" in name for name in names)
    v_up = not is_unreal if wanted.v_up is None else wanted.v_up
    return Channels(depth, u, v, object_, cryptomatte, wanted.depth_is, wanted.yfov_deg, v_up)


def cryptomattes(names: Iterable[str], crypto_names: Iterable[str]) -> dict[str, str]:
    """Every cryptomatte's name, and the channel that holds the ids of its rank 0.

    Source: Cryptomatte specification 1.2, whose channels are NAME00.R to NAME02.A.
    """
    told = set(crypto_names)
    found = {}
    for channel in names:
        match = RANK_0.fullmatch(channel)
        if match is None:
            continue
        name = match["name"]
        is_told = any(name == one or name.endswith("." + one) for one in told)
        if is_told or re.search("crypto|hitproxymask", name, re.IGNORECASE):
            found[name] = channel
    return found


def _of_objects(mattes: list[str]) -> list[str]:
    """The cryptomatte by object where there are others by material and asset, too."""
    by_object = [name for name in mattes if "object" in name.lower()]
    others = [name for name in mattes if not re.search("material|asset", name, re.IGNORECASE)]
    return by_object or others or mattes


def _only(where: str, role: str, found: Sequence[str], names: Sequence[str]) -> str:
    if len(found) == 1:
        return found[0]
    if found:
        raise MediaError(
            f"{where}: {len(found)} channels could be the {role}: {_listed(found)}; "
            "say which with --exr-map, or give a pattern that one clip's files match"
        )
    raise MediaError(
        f"{where}: no channel for the {role}; render that pass, or name its channel with --exr-map; "
        f"the channels are {_listed(names)}"
    )


def _listed(names: Iterable[str]) -> str:
    return shown(", ".join(sorted(names)), 500)


def _layers(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Layers, each with its channels' full names by component; `Pz` alone is a layer of one channel."""
    layers: dict[str, dict[str, str]] = {}
    for name in names:
        layer, _, component = name.rpartition(".")
        if component.lower() not in COMPONENTS:
            layer, component = name, ""
        layers.setdefault(layer, {})[component.lower()] = name
    return layers


def _word(layer: str) -> str:
    """What kind of pass a layer's name tells: its last word; nothing where another word forbids it."""
    words = [word for word in re.split(r"[^a-z]+", layer.lower()) if word]
    return "" if not words or OTHER_WORDS & set(words) else words[-1]


def _depths(layers: dict[str, dict[str, str]]) -> list[str]:
    found = [one for layer in layers if _word(layer) in DEPTH_WORDS if (one := _single(layers[layer]))]
    if found:
        return found
    # A lone Z beside R, G, B and A; with X and Y beside it, it would be a vector.
    is_depth = {
        layer: "z" in channels and not {"x", "y"} & set(channels) for layer, channels in layers.items()
    }
    return [
        channels["z"]
        for layer, channels in layers.items()
        if is_depth[layer] and not OTHER_WORDS & set(re.split(r"[^a-z]+", layer.lower()))
    ]


def _single(channels: dict[str, str]) -> str | None:
    return next((channels[component] for component in ONE_NUMBER if component in channels), None)


def _pair(channels: dict[str, str]) -> tuple[str, str] | None:
    return next(((channels[a], channels[b]) for a, b in TWO_NUMBERS if a in channels and b in channels), None)
