"""Sums and means over what lies near a pixel on the same object: nothing of another object, or of the
background, ever gets in.

Example:
    >>> near = Nearby(gbuffer.object_id, gbuffer.visible)
    >>> low = near.mean(picture[gbuffer.visible], radius_px=8)  # the slow changes of the colours
    >>> high = picture[gbuffer.visible] - low
"""

import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer


class Nearby:
    """Chosen pixels of a picture, and which of them are close to each other on the same object.

    Args:
        object_id: what each pixel shows.
        chosen: the pixels; values are given, and come back, in the order of `picture[chosen]`.
    """

    def __init__(self, object_id: Integer[np.ndarray, "H W"], chosen: Bool[np.ndarray, "H W"]):
        rows, columns = np.nonzero(chosen)
        ids = object_id[chosen]
        # Of each object: its pixels, and where they lie in the smallest rectangle around it.
        self._objects: list[tuple[Int64[np.ndarray, "M"], np.ndarray, np.ndarray]] = []
        order = np.argsort(ids, kind="stable")
        starts = np.flatnonzero(np.diff(ids[order])) + 1
        for index in np.split(order, starts) if len(order) else []:
            row, column = rows[index], columns[index]
            self._objects.append((index, row - row.min(), column - column.min()))

    def sum(self, values: Float64[np.ndarray, "N C"], radius_px: int) -> Float64[np.ndarray, "N C"]:
        """Sums over the object's chosen pixels within a square around each."""
        return self._windows(values, (radius_px,))

    def mean(
        self,
        values: Float64[np.ndarray, "N C"],
        radius_px: int,
        weight: Float64[np.ndarray, "N"] | None = None,
    ) -> Float64[np.ndarray, "N C"]:
        """Means over the object's chosen pixels within `radius_px` along either axis; the nearest count most.

        Weights fall linearly to nothing, which is two moving averages in turn: a single one would let
        stripes through, and turn some of them round.

        Args:
            values: of the chosen pixels.
            radius_px: how far away pixels count.
            weight: of each pixel besides, at least 0; None: all count alike. The mean is 0 where none counts.
        """
        radii = (radius_px // 2, radius_px - radius_px // 2)
        of_each = np.ones((len(values), 1)) if weight is None else weight[:, None]
        sums = self._windows(np.concatenate([values * of_each, of_each], axis=1), radii)
        return sums[:, :-1] / np.maximum(sums[:, -1:], 1e-12)

    def _windows(
        self, values: Float64[np.ndarray, "N C"], radii_px: tuple[int, ...]
    ) -> Float64[np.ndarray, "N C"]:
        result = np.empty_like(values)
        for index, row, column in self._objects:
            # What the first window carries beyond the object's rectangle comes back in the second.
            margin = sum(radii_px[1:])
            size = (row.max() + 1 + 2 * margin, column.max() + 1 + 2 * margin, values.shape[1])
            picture = np.zeros(size)
            picture[row + margin, column + margin] = values[index]
            for radius_px in radii_px:
                picture = box_sum(picture, radius_px)
            result[index] = picture[row + margin, column + margin]
        return result


def box_sum(picture: Float64[np.ndarray, "H W C"], radius_px: int) -> Float64[np.ndarray, "H W C"]:
    """Sums over a square of 2 radius + 1 pixels around each pixel; beyond the picture there is 0."""
    width = 2 * radius_px + 1
    for axis in (0, 1):
        along = picture.swapaxes(0, axis)
        until = np.zeros((len(along) + width, *along.shape[1:]))
        until[radius_px + 1 : radius_px + 1 + len(along)] = along
        np.cumsum(until, axis=0, out=until)
        picture = (until[width:] - until[:-width]).swapaxes(0, axis)
    return picture
