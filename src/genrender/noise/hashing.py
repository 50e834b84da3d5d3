"""Random numbers as a function of what they are for: no state, no order of drawing, no storage.

A value is a hash of (key, counter), and a key is a hash of (seed, purpose, ids). So a number never depends on
which chunk, worker or resumed run asks for it, or on what was drawn before.
"""

import hashlib

import numpy as np
from jaxtyping import Float32, Float64, Int64, UInt64

# One for all counters, or one for each.
Key = int | UInt64[np.ndarray, "..."]

# Multipliers of the splitmix64 finaliser (Steele, Lea and Flood 2014, variant 13 by Stafford).
_MUL_1 = np.uint64(0xBF58476D1CE4E5B9)
_MUL_2 = np.uint64(0x94D049BB133111EB)


def hash_key(seed: int, purpose: str, *ids: int) -> int:
    """The 64-bit key of everything drawn for one `purpose`, e.g. `hash_key(seed, "keyframes", step)`."""
    words = "/".join([str(seed), purpose, *map(str, ids)])
    return int.from_bytes(hashlib.blake2b(words.encode(), digest_size=8).digest(), "little")


def hashed_uniform(key: Key, counter: Int64[np.ndarray, "*N"]) -> Float64[np.ndarray, "*N"]:
    """Uniform numbers in [0, 1), one for every counter."""
    return (_hashed_bits(key, counter) >> np.uint64(11)) * 2.0**-53


def hashed_normal(key: Key, counter: Int64[np.ndarray, "*N"]) -> Float32[np.ndarray, "*N"]:
    """Standard normal numbers, one for every counter."""
    bits = _hashed_bits(key, counter)
    # Box and Muller from the two halves of one hash: 32 bits reach out to 6.7 standard deviations.
    radius_sq = ((bits >> np.uint64(32)).astype(np.float32) + 1) * np.float32(2.0**-32)
    angle = bits.astype(np.uint32).astype(np.float32) * np.float32(2 * np.pi * 2.0**-32)
    return np.sqrt(-2 * np.log(np.minimum(radius_sq, 1))) * np.cos(angle)


def _hashed_bits(key: Key, counter: Int64[np.ndarray, "*N"]) -> UInt64[np.ndarray, "*N"]:
    # Two rounds, the key between them: with one round, streams of two keys would be shifts of each other.
    return _mix(_mix(counter.astype(np.uint64) + np.uint64(1)) ^ np.asarray(key, np.uint64))


def _mix(x: UInt64[np.ndarray, "*N"]) -> UInt64[np.ndarray, "*N"]:
    x = (x ^ (x >> np.uint64(30))) * _MUL_1
    x = (x ^ (x >> np.uint64(27))) * _MUL_2
    return x ^ (x >> np.uint64(31))
