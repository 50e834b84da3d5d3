"""Uploads as they come in: each file goes straight to the disk, under a number."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from genrender.errors import GenRenderError, MediaError
from genrender.server.refused import too_large
from genrender.server.uploads import UploadLimits
from genrender.storage.limits import bytes_as_text
from genrender.storage.untrusted import valid_name

# Parts that are no files, and files' headers, are short.
MAX_FIELDS = 100


@dataclass(frozen=True)
class Upload:
    """One file.

    Attributes:
        name: what it is called where it comes from: not to be used as a path.
        file: where it lies.
    """

    name: str
    file: Path


class _Parts:
    """Writes the files of a multipart body."""

    def __init__(self, folder: Path, limits: UploadLimits) -> None:
        self._folder = folder
        self._limits = limits
        self._n_parts = self._n_bytes = 0
        self._header = b""
        self._value = b""
        self._disposition = b""
        self._target: IO[bytes] | None = None
        self.uploads: list[Upload] = []

    def begin(self) -> None:
        self._disposition = b""
        self._n_parts += 1
        if self._n_parts > self._limits.files + MAX_FIELDS:
            raise too_large(f"the upload has more than {self._limits.files:,} files: send them as a zip")

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def headers_finished(self) -> None:
        # As latin-1, which loses no byte; names are UTF-8.
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        name = options.get(b"filename")
        if name is None:
            return
        place = self._folder / f"upload-{len(self.uploads)}"
        self._target = place.open("xb")
        self.uploads.append(Upload(valid_name(name.decode("utf-8", "replace")), place))

    def data(self, data: bytes, start: int, end: int) -> None:
        self._n_bytes += end - start
        if self._n_bytes > self._limits.bytes:
            raise too_large(
                f"the upload has more than {bytes_as_text(self._limits.bytes)}: decimate the scene, or leave "
                "out what it does not need"
            )
        if self._target is not None:
            self._target.write(data[start:end])

    def end(self) -> None:
        if self._target is not None:
            self._target.close()
            self._target = None


async def receive_files(
    content_type: str, body: AsyncIterator[bytes], folder: Path, limits: UploadLimits
) -> list[Upload]:
    """Writes the files of a multipart body into a folder.

    Raises:
        Refused: there are too many, or they are too large.
        MediaError: it is no such body, it breaks off, or holds no file.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or boundary is None:
        raise MediaError("the upload is no form with files: send it as multipart/form-data")
    parts = _Parts(folder, limits)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": parts.begin,
                "on_header_field": parts.header_field,
                "on_header_value": parts.header_value,
                "on_header_end": parts.header_end,
                "on_headers_finished": parts.headers_finished,
                "on_part_data": parts.data,
                "on_part_end": parts.end,
            },
        )
        async for chunk in body:
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise MediaError(f"the upload cannot be read ({error}): send it again") from error
    except OSError as error:
        if isinstance(error, GenRenderError):
            raise
        raise MediaError(f"the upload cannot be kept: {error.strerror or error}; free some disk") from error
    finally:
        parts.end()
    if not parts.uploads:
        raise MediaError("the upload holds no file: choose one")
    return parts.uploads
