"""The frames of a folder or pattern of EXR files, read as G-buffers when they are looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, Shaped, UInt64

from genrender.errors import MediaError
from genrender.gbuffer.exr.channels import Channels
from genrender.gbuffer.exr.cryptomatte import id_bits, manifest, object_name
from genrender.gbuffer.exr.frame import (
    MAX_INDEX,
    OBJECT_NAMES,
    ExrHeader,
    check_index,
    make_gbuffer,
    read_channels,
    told_lens,
)
from genrender.gbuffer.gbuffer import GBuffer
from genrender.scene.backdrop_ids import BACKDROP_NAMES, GROUND_ID
from genrender.scene.moments import tidy_rate
from genrender.scene.names import texture_keys
from genrender.storage.untrusted import parse_json, valid_name


def full_name(series: str, channel: str) -> str:
    """A channel's name among those of all passes' files."""
    return f"{series}.{channel}" if series else channel


@dataclass(frozen=True, eq=False)
class ExrSequence:
    """Frames that are there, all of one size, and what their channels mean.

    Attributes:
        path: the folder or pattern.
        channels: what was found, by names that tell the pass's files, too.
        numbers: the frames' numbers in the files' names, ascending.
        headers: of every pass's file, by frame, then by pass.
        width: pixels per row.
        height: rows.
    """

    path: Path
    channels: Channels
    numbers: tuple[int, ...]
    headers: tuple[dict[str, ExrHeader], ...]
    width: int
    height: int

    def gbuffer(self, frame: int) -> GBuffer:
        """What one frame shows, read at every call.

        Raises:
            MediaError: a file is damaged, or its channels contradict each other.
        """
        depth, u, v, index = self._pixels(frame, self.channels.names)
        where = str(self.file(frame, self.channels.object))
        if self.channels.cryptomatte is None:
            object_id = check_index(where, self.channels.object, index)
        else:
            object_id = self._ids_of(id_bits(where, index))
        gbuffer = make_gbuffer(where, depth, u, v, object_id, self.channels)
        names = self.object_names(sorted(set(np.unique(object_id).tolist()) - {0}))
        lens = gbuffer.lens or told_lens(*self._at(frame, self.channels.depth))
        return replace(gbuffer, texture_keys=self.texture_keys, lens=lens, object_names=names)

    def file(self, frame: int, channel: str) -> Path:
        """The file that holds a channel."""
        return self._at(frame, channel)[0].path

    def object_names(self, ids: Sequence[int]) -> dict[int, str]:
        """What objects are called; without a cryptomatte or names in the header by their numbers."""
        if self.channels.cryptomatte is None:
            return {object_id: self._index_names.get(object_id, f"object {object_id}") for object_id in ids}
        return {object_id: self._seen[1][object_id - 1] for object_id in ids}

    @property
    def fps(self) -> float | None:
        """Frames per second, where the first frame's header tells them."""
        for header in self.headers[0].values():
            for attributes in header.attributes:
                told: Any = attributes.get("framesPerSecond")
                fps = told.n / told.d if hasattr(told, "d") and told.d else told
                if isinstance(fps, int | float) and np.isfinite(fps) and fps > 0:
                    return tidy_rate(float(fps))
        return None

    @cached_property
    def texture_keys(self) -> UInt64[np.ndarray, "n_ids"] | None:
        """What the noise of each texture is drawn by; None where objects have no names."""
        names = self._index_names
        if self.channels.cryptomatte is not None:
            names = dict(enumerate(self._seen[1], start=1))
        if not names:
            return None
        ids: dict[str, list[int]] = {}
        for object_id, name in names.items():
            ids.setdefault(BACKDROP_NAMES.get(object_id, name), []).append(object_id)
        named = texture_keys(ids)
        # Indices that the header names nowhere go by their numbers.
        keys = np.arange(max(MAX_INDEX + 1, len(named)), dtype=np.uint64)
        keys[list(names)] = named[list(names)]
        return keys

    @cached_property
    def _index_names(self) -> dict[int, str]:
        """Names by object index, where `write_exr` has kept them."""
        header, name = self._at(0, self.channels.object)
        told = header.attributes[header.parts[name]].get(OBJECT_NAMES)
        try:
            stored = parse_json(told) if isinstance(told, str) else {}
            return {
                int(index): valid_name(text) for index, text in stored.items() if 0 < int(index) <= MAX_INDEX
            }
        except (ValueError, AttributeError):
            return {}  # not ours: indices go by their numbers

    @property
    def manifest_names(self) -> frozenset[str]:
        """All objects that the first frame's cryptomatte tells of, seen or not; perhaps none."""
        if self.channels.cryptomatte is None or self.manifest_fault is not None:
            return frozenset()
        return frozenset(self._manifest(*self._at(0, self.channels.object)).values())

    @property
    def manifest_fault(self) -> str | None:
        """What is wrong with the first cryptomatte manifest that cannot be understood, if there is one."""
        if self.channels.cryptomatte is None:
            return None
        for frame in range(len(self.numbers)):
            try:
                place = self._at(frame, self.channels.object)
            except MediaError:  # told when the frame is read
                continue
            try:
                self._manifest(*place)
            except MediaError as error:
                return str(error)
        return None

    def _manifest(self, header: ExrHeader, channel: str) -> Mapping[int, str]:
        # Blender 5 gives every pass a part of its own, and tells of all cryptomattes in the first.
        own = header.parts[channel]
        parts = [header.attributes[own], *header.attributes[:own], *header.attributes[own + 1 :]]
        told = (manifest(attributes, str(self.channels.cryptomatte), header.path) for attributes in parts)
        return next((names for names in told if names), {})

    @cached_property
    def _seen(self) -> tuple[np.ndarray, tuple[str, ...]]:
        """The ids that any frame shows, in the order of their objects' names, and these names.

        All frames are looked at, so that an object has one number throughout, whatever frames are rendered.
        """
        seen: dict[int, str] = {}
        for frame in range(len(self.numbers)):
            header, name = self._at(frame, self.channels.object)
            bits = np.unique(id_bits(str(header.path), read_channels(header, [name])[0]))
            try:
                told = self._manifest(header, name)
            except MediaError:  # whoever looked the files over has said so, see `survey_files`
                told = {}
            for one in bits.tolist():
                if one and one not in seen:
                    seen[one] = object_name(one, told)
        if len(seen) >= GROUND_ID:
            raise MediaError(
                f"{self.path}: the cryptomatte tells {len(seen)} objects apart, expected fewer than "
                f"{GROUND_ID}; render it by asset or by group"
            )
        order = sorted(seen, key=lambda one: (seen[one], one))
        return np.array(order, np.uint32), tuple(seen[one] for one in order)

    def _ids_of(self, bits: Shaped[np.ndarray, "H W"]) -> Int32[np.ndarray, "H W"]:
        values, index = np.unique(bits, return_inverse=True)
        numbers = {0: 0} | {int(one): number for number, one in enumerate(self._seen[0], start=1)}
        table = np.array([numbers[one] for one in values.tolist()], np.int32)
        return table[index.reshape(bits.shape)]

    def _at(self, frame: int, channel: str) -> tuple[ExrHeader, str]:
        """The header of the file that holds a channel, and what the channel is called in it."""
        for series, header in self.headers[frame].items():
            name = channel.removeprefix(f"{series}.") if series else channel
            if name in header.parts and full_name(series, name) == channel:
                return header, name
        raise MediaError(
            f"{self.path}: frame {self.numbers[frame]} has no channel {channel}, which other frames have; "
            "render it again"
        )

    def _pixels(self, frame: int, channels: Sequence[str]) -> list[Shaped[np.ndarray, "H W"]]:
        """The pixels of channels, in that order; every file is read once."""
        places = [self._at(frame, channel) for channel in channels]
        found: dict[int, np.ndarray] = {}
        by_file = sorted(range(len(places)), key=lambda index: str(places[index][0].path))
        for _, group in groupby(by_file, key=lambda index: str(places[index][0].path)):
            indices = list(group)
            pixels = read_channels(places[indices[0]][0], [places[index][1] for index in indices])
            found.update(zip(indices, pixels, strict=True))
        return [found[index] for index in range(len(places))]
