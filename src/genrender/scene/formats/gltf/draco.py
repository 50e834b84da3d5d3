"""Decoding glTF primitives that were compressed with Draco."""

from typing import Any

import numpy as np
import pygltflib

from genrender.errors import SceneError
from genrender.scene.formats.gltf.file import DRACO, GltfFile
from genrender.storage.untrusted import library_errors


def decode_draco(file: GltfFile, primitive: pygltflib.Primitive) -> None:
    """Puts the accessors of a primitive in `file.decoded`, where Draco has them. Its triangles become a list.

    Raises:
        SceneError: the library is not installed, or cannot read the data.
    """
    values = (primitive.extensions or {}).get(DRACO)
    if not isinstance(values, dict):
        return
    attributes, own = values.get("attributes"), primitive.attributes
    if not isinstance(attributes, dict) or not isinstance(own, dict):
        raise file.error(f"has a primitive whose {DRACO} names no attributes; export it again")
    try:
        import DracoPy
    except ModuleNotFoundError:
        position = file.item("accessors", own.get("POSITION"))
        if DRACO not in (file.json.extensionsRequired or []) and position.bufferView is not None:
            return  # the same is there without compression, too
        raise file.error(
            f"is compressed with {DRACO}, which needs a library that is not installed: "
            "pip install 'genrender[draco]', or export it without Draco compression "
            "(Blender: glTF export, Data, Compression off)"
        ) from None
    data = bytes(file.view_bytes(values.get("bufferView")))
    with library_errors(
        f"{file.path.name}: {DRACO} in bufferView {values['bufferView']}", SceneError, "export it again"
    ):
        mesh = _decoded(DracoPy, data)
        found = {name: mesh.get_attribute_by_unique_id(number)["data"] for name, number in attributes.items()}
        faces = mesh.faces
    for name, array in found.items():
        if own.get(name) is not None:
            file.item("accessors", own[name])
            file.decoded[own[name]] = np.asarray(array).reshape(len(array), -1)
    if primitive.indices is None:
        raise file.error(f"has a primitive with {DRACO} and no indices; export it again")
    file.item("accessors", primitive.indices)
    file.decoded[primitive.indices] = np.asarray(faces, np.uint32).reshape(-1, 1)
    primitive.mode = None


def _decoded(library: Any, data: bytes) -> Any:
    try:
        return library.decode(data)
    except library.FileTypeException as reason:  # of no kind that Python has
        raise ValueError(str(reason)) from reason
