"""Cryptomattes to write: which objects every pixel shows, and how much of it each covers.

Source: Cryptomatte specification 1.2 (Psyop). `genrender.gbuffer.exr.cryptomatte` reads them.
"""

import json
from collections.abc import Mapping
from typing import Any

import mmh3
import numpy as np
from jaxtyping import Float32, Int32

LAYER = "CryptoObject"
# Objects that a pixel tells apart: two a layer of four channels.
N_RANKS = 6
_EXPONENT = 0xFF


def name_id(name: str) -> int:
    """The bits that stand for a name: MurmurHash3 of its UTF-8, but never infinity, NaN or a denormal."""
    bits = mmh3.hash(name.encode(), signed=False)
    exponent = (bits >> 23) & _EXPONENT
    return bits ^ (1 << 23) if exponent in (0, _EXPONENT) else bits


def object_mattes(
    object_id: Int32[np.ndarray, "HS WS"], samples: int, names: Mapping[int, str]
) -> tuple[dict[str, Any], dict[str, Float32[np.ndarray, "H W"]]]:
    """A cryptomatte of object ids.

    Args:
        object_id: `samples` x `samples` of them for every pixel; 0 is nothing.
        samples: along one side of a pixel.
        names: of the objects, by their ids.

    Returns:
        What a header says of it, and its channels by name.
    """
    height, width = (side // samples for side in object_id.shape)
    blocks = object_id[: height * samples, : width * samples].reshape(height, samples, width, samples)
    ids = np.unique(object_id)
    ids = ids[ids > 0]
    n_ranks = min(N_RANKS, len(ids))
    bits = {int(i): name_id(names.get(int(i), f"object {i}")) for i in ids}
    as_float = np.array([bits[int(i)] for i in ids], np.uint32).view(np.float32)
    channels = {}
    covered = (
        np.stack([(blocks == i).sum(axis=(1, 3)) for i in ids]) if len(ids) else np.zeros((0, height, width))
    )
    order = np.argsort(-covered, axis=0, kind="stable")[:n_ranks]
    for rank in range(N_RANKS):
        layer, pair = f"{LAYER}{rank // 2:02d}", ("RG", "BA")[rank % 2]
        id_, coverage = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
        if rank < n_ranks:
            share = np.take_along_axis(covered, order[rank][None], axis=0)[0]
            coverage = (share / samples**2).astype(np.float32)
            id_ = np.where(share > 0, as_float[order[rank]], np.float32(0))
        channels[f"{layer}.{pair[0]}"], channels[f"{layer}.{pair[1]}"] = id_, coverage
    key = f"{mmh3.hash(LAYER.encode(), signed=False):08x}"[:7]
    told = {names.get(int(i), f"object {i}"): f"{bits[int(i)]:08x}" for i in ids}
    header = {
        f"cryptomatte/{key}/name": LAYER,
        f"cryptomatte/{key}/hash": "MurmurHash3_32",
        f"cryptomatte/{key}/conversion": "uint32_to_float32",
        f"cryptomatte/{key}/manifest": json.dumps(told),
    }
    return header, channels
