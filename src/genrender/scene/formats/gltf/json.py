"""The JSON of a glTF file."""

import codecs
import warnings
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pygltflib

from genrender.errors import SceneError
from genrender.scene.formats.read_file import MAX_TEXT_BYTES, check_size
from genrender.storage.untrusted import parse_json as parse_any_json

# The nesting of what is read: a list stands for a list of such things, a dict for an object with (some of)
# these keys.
STRUCTURE: dict[str, Any] = {
    "asset": {},
    "extensionsUsed": [],
    "extensionsRequired": [],
    "scenes": [{"nodes": []}],
    "nodes": [{"children": []}],
    "meshes": [{"primitives": [{"attributes": {}, "targets": [{}], "extensions": {}}]}],
    "materials": [{}],
    "skins": [{"joints": []}],
    "animations": [{"channels": [{"target": {}}], "samplers": [{}]}],
    "cameras": [{"perspective": {}, "orthographic": {}}],
    "accessors": [{"sparse": {"indices": {}, "values": {}}}],
    "bufferViews": [{}],
    "buffers": [{"extensions": {}}],
}


def _misfits(value: Any, structure: Any, where: str) -> Iterator[str]:
    """Places where parsed JSON is nested otherwise than `structure` says; what is missing or null is fine."""
    if value is None:
        return
    if not isinstance(value, type(structure)):
        yield where
    elif isinstance(structure, dict):
        for key, inner in structure.items():
            yield from _misfits(value.get(key), inner, f"{where}.{key}")
    elif structure:
        for index, item in enumerate(value):
            if item is None:
                yield f"{where}[{index}]"
            yield from _misfits(item, structure[0], f"{where}[{index}]")


def _plain(kind: Callable[..., Any], values: dict[str, Any], **decoded: Any) -> Any:
    """One of pygltflib's dataclasses with the fields that it knows."""
    known = {key: value for key, value in values.items() if key in _names(kind)}
    return kind(**{**known, **decoded})


@cache
def _names(kind: Any) -> frozenset[str]:
    return frozenset(field.name for field in fields(kind))


def _accessor(values: dict[str, Any]) -> pygltflib.Accessor:
    if values.get("sparse") is not None:
        return pygltflib.Accessor.from_dict(values, infer_missing=True)  # pyright: ignore
    return _plain(pygltflib.Accessor, values)


def _animation(values: dict[str, Any]) -> pygltflib.Animation:
    channels = [
        _plain(
            pygltflib.AnimationChannel,
            channel,
            target=_plain(pygltflib.AnimationChannelTarget, channel.get("target") or {}),
        )
        for channel in values.get("channels") or []
    ]
    samplers = [_plain(pygltflib.AnimationSampler, sampler) for sampler in values.get("samplers") or []]
    return _plain(pygltflib.Animation, values, channels=channels, samplers=samplers)


def _check_version(path: Path, raw: dict[str, Any]) -> None:
    """Raises SceneError for what tells another version, or is built like one before 2.0."""
    asset = raw.get("asset")
    version = asset.get("version") if isinstance(asset, dict) else None
    # Before 2.0 nodes, meshes and the rest had names instead of numbers.
    is_old = version is None and any(
        isinstance(raw.get(key), dict) for key in ("nodes", "meshes", "accessors")
    )
    if is_old or (isinstance(asset, dict) and not str(version).startswith("2.")):
        told = "older than 2.0" if is_old else f"glTF {version!r}"
        raise SceneError(
            f"{path.name}: is {told}, expected 2.0; convert it, for example: "
            f"gltf-pipeline -i {path.name} -o new.glb"
        )


def parse_json(path: Path, text: bytes) -> tuple[pygltflib.GLTF2, dict[str, Any]]:
    """pygltflib's dataclasses, and the same as plain dicts. Nested as expected, but no value is checked.

    Raises:
        SceneError: it is too large, no JSON, or nested otherwise.
    """

    def not_gltf(reason: str) -> SceneError:
        return SceneError(f"{path.name}: not a glTF file ({reason}); expected .gltf or .glb, version 2.0")

    check_size(f"{path.name}: its JSON", len(text), MAX_TEXT_BYTES, "export it as .glb, or split it")
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise not_gltf("its text is UTF-16; save it as UTF-8")
    try:
        # Some exporters fill the JSON of a GLB up with zeros, where the format wants blanks.
        raw = parse_any_json(bytes(text).rstrip(b"\0"))
    except ValueError as error:
        raise not_gltf(str(error)) from None
    if isinstance(raw, dict):
        _check_version(path, raw)
    if not isinstance(raw, dict) or raw.get("asset") is None:
        raise not_gltf("there is no asset entry")
    for where in _misfits(raw, STRUCTURE, ""):
        raise not_gltf(f"its {where.lstrip('.')} has another structure")
    try:
        with warnings.catch_warnings():
            # It warns of every optional field that a file leaves out.
            warnings.simplefilter("ignore", RuntimeWarning)
            # Its decoder takes a quarter of a millisecond per object; large scenes have thousands of these.
            few = {**raw, **{key: [] for key in ("accessors", "animations", "bufferViews", "nodes")}}
            # A decorator adds from_dict, out of the type checker's sight.
            parsed = pygltflib.GLTF2.from_dict(few, infer_missing=True)  # pyright: ignore
            parsed.accessors = [_accessor(values) for values in raw.get("accessors") or []]
            parsed.bufferViews = [_plain(pygltflib.BufferView, view) for view in raw.get("bufferViews") or []]
            parsed.nodes = [_plain(pygltflib.Node, values) for values in raw.get("nodes") or []]
            parsed.animations = [_animation(values) for values in raw.get("animations") or []]
            return parsed, raw
    except (TypeError, ValueError, AttributeError, KeyError, IndexError, RecursionError):
        # pygltflib checks nothing; on a list where it expects an object it fails in one of these ways.
        raise not_gltf("its JSON has another structure") from None
