"""A canary: the suite checks shapes and types of every annotated function, and would notice if it did not."""

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from genrender.gbuffer.gbuffer import GBuffer
from genrender.gbuffer.preview import to_picture
from genrender.sampling.prediction import X0Rule
from genrender.surface.tracking import sample_bilinear


def test_a_wrong_number_of_axes_is_noticed():
    assert to_picture(np.zeros((2, 5, 3), np.float32)).shape == (2, 5, 3)
    with pytest.raises(TypeCheckError):
        to_picture(np.zeros((2, 5), np.float32))


def test_a_wrong_number_type_is_noticed():
    with pytest.raises(TypeCheckError):
        to_picture(np.zeros((2, 5, 3), np.float64))


def test_a_wrong_length_of_an_axis_is_noticed():
    picture = np.zeros((4, 4, 1))
    assert sample_bilinear(picture, np.zeros((3, 2))).shape == (3, 1)
    with pytest.raises(TypeCheckError):
        sample_bilinear(picture, np.zeros((3, 3)))


def test_axes_of_one_name_must_agree():
    arrays = {
        "depth": np.ones((4, 6), np.float32),
        "uv": np.zeros((4, 6, 2), np.float32),
        "object_id": np.ones((4, 6), np.int32),
        "tri_id": np.zeros((4, 6), np.int32),
        "bary": np.zeros((4, 6, 2), np.float32),
    }
    assert GBuffer(**arrays).width == 6
    with pytest.raises(TypeCheckError):
        GBuffer(**(arrays | {"object_id": np.ones((6, 4), np.int32)}))


def test_tensors_are_checked_too():
    with pytest.raises(TypeCheckError):
        X0Rule(0.5, "epsilon").x0(torch.zeros(4, 8, 8), torch.zeros(4, 8, 8))
