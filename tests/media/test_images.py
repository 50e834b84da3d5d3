"""PNG files and the contact sheet."""

import numpy as np
import pytest

from genrender.errors import MediaError
from genrender.media.images import PAPER, contact_sheet, enlarged, read_png, spread, write_png


def plain(value, height=24, width=32):
    return np.full((height, width, 3), value, np.uint8)


def test_png_round_trip(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    write_png(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(read_png(tmp_path / "a.png"), picture)
    assert [item.name for item in tmp_path.iterdir()] == ["a.png"]


def test_bad_png_files(tmp_path):
    write_png(tmp_path / "a.png", np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8))
    whole = (tmp_path / "a.png").read_bytes()
    for content in (b"", b"no picture", whole[: len(whole) // 2]):
        (tmp_path / "b.png").write_bytes(content)
        with pytest.raises(MediaError, match="it is no picture, or it is damaged"):
            read_png(tmp_path / "b.png")
    with pytest.raises(MediaError, match="no such file"):
        read_png(tmp_path / "c.png")


@pytest.mark.parametrize(
    ("n_frames", "n_columns", "expected"),
    [(1, 8, [0]), (3, 8, [0, 1, 2]), (16, 4, [0, 5, 10, 15]), (5, 1, [0]), (9, 3, [0, 4, 8])],
)
def test_columns_are_spread_over_the_clip(n_frames, n_columns, expected):
    assert spread(n_frames, n_columns) == expected


def test_every_cell_is_where_it_belongs():
    rows = {"low": [plain(10 * k) for k in range(4)], "high": [plain(200 + 10 * k) for k in range(4)]}
    sheet = contact_sheet(rows, cell_px=64)
    assert tuple(sheet[0, 0]) == PAPER
    centres = {
        value: np.argwhere(np.all(sheet == value, axis=-1)).mean(axis=0) for value in (0, 30, 200, 230)
    }
    assert centres[0][0] == centres[30][0] < centres[200][0] == centres[230][0]
    assert centres[0][1] == centres[200][1] < centres[30][1] == centres[230][1]
    assert np.count_nonzero(np.all(sheet == 230, axis=-1)) == 64 * 48


def test_frames_that_are_not_shown_are_not_loaded():
    loaded = set()

    class Lazy(list):
        def __getitem__(self, index):
            loaded.add(index)
            return super().__getitem__(index)

    contact_sheet({"result": Lazy([plain(k) for k in range(100)])}, max_columns=3, cell_px=32)
    assert loaded >= {0, 50, 99}
    assert len(loaded) < 10  # the type checks of the test suite look at one or two at random


def test_rows_may_be_arrays_and_differ_in_size():
    sheet = contact_sheet({"a": np.zeros((2, 10, 10, 3), np.uint8), "b": [plain(9, 30, 30)] * 2}, cell_px=48)
    assert np.count_nonzero(np.all(sheet == 9, axis=-1)) == 2 * 48 * 48


@pytest.mark.parametrize("rows", [{}, {"a": []}, {"a": [plain(0)], "b": [plain(0)] * 2}])
def test_rows_that_make_no_sheet(rows):
    with pytest.raises(MediaError, match="expected one length, at least 1"):
        contact_sheet(rows)


def test_an_enlarged_picture_keeps_flat_colours_and_shape():
    picture = np.zeros((3, 5, 3), np.uint8)
    picture[:] = (10, 200, 90)
    large = enlarged(picture, 4)
    assert large.shape == (12, 20, 3)
    assert (large == (10, 200, 90)).all()
    assert enlarged(picture, 1) is picture


def test_frames_have_the_numbers_that_they_are_given():
    """What changes is written above the second picture, whose number it is."""
    rows = {"a": [plain(9), plain(99)]}
    counted, named = contact_sheet(rows), contact_sheet(rows, numbers=[0, 17])
    changed = np.argwhere((counted != named).any(axis=-1))
    second = np.argwhere((counted == 99).all(axis=-1))
    assert changed[:, 0].max() < second[:, 0].min()
    assert changed[:, 1].min() >= second[:, 1].min()
    np.testing.assert_array_equal(contact_sheet(rows, numbers=[0, 1]), counted)
