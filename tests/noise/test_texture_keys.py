"""Noise goes by the names of objects."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_initial import VAE, mirrored, two_objects

from genrender.config import NoiseConfig
from genrender.gbuffer.gbuffer import GBuffer
from genrender.noise.initial import surface_noise
from genrender.scene.names import texture_keys


def named(gbuffer: GBuffer, ids: dict[str, list[int]]) -> GBuffer:
    return replace(gbuffer, texture_keys=texture_keys(ids))


def swapped(gbuffer: GBuffer) -> GBuffer:
    """Objects 1 and 2 with each other's numbers."""
    other = np.array([0, 2, 1], np.int32)
    return replace(gbuffer, object_id=other[gbuffer.object_id], atlas_id=other[gbuffer.atlas_id])


@pytest.mark.parametrize("mode", ["partition", "nearest"])
def test_noise_goes_by_names_and_not_by_numbers(mode):
    gbuffer, config = mirrored(two_objects(64)), NoiseConfig(mode)
    first = named(gbuffer, {"Crate": [1], "Ball": [2]})
    same = named(swapped(gbuffer), {"Ball": [1], "Crate": [2]})
    renamed = named(gbuffer, {"Crate": [1], "Barrel": [2]})
    z, z_same, z_renamed = (surface_noise([g], 4, VAE, 3, config)[0] for g in (first, same, renamed))
    torch.testing.assert_close(z_same, z)  # sums run in another order
    is_ball = torch.from_numpy(gbuffer.object_id.reshape(8, VAE, 8, VAE) == 2)
    without, whole = ~is_ball.any(3).any(1), is_ball.all(3).all(1)
    torch.testing.assert_close(z_renamed[:, without], z[:, without])
    assert whole.any()
    assert (z_renamed != z)[:, whole].all()


def test_keys_are_those_of_names_as_any_exporter_writes_them():
    keys = texture_keys({"Crate.001": [1, 4], "Éclair": [2], "crate": [3]})
    assert len(set(keys[1:].tolist())) == 4
    other = texture_keys({"E\u0301clair": [7], "Crate_001": [2, 3], "Unseen": [1]})
    assert keys[[2, 1, 4]].tolist() == other[[7, 2, 3]].tolist()
    apart = texture_keys({"a.b": [1], "a_b": [2]})
    assert apart[1] != apart[2]
