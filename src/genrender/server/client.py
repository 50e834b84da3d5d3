"""A client of the API for programs, with the standard library alone."""

import http.client
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from genrender.errors import ConfigError, GenRenderError, MediaError
from genrender.server.studio import held_by
from genrender.storage.atomic import atomic_write

TIMEOUT_S = 600.0
_CHUNK_BYTES = 2**20


class Client:
    """Asks one server.

    Args:
        address: such as http://127.0.0.1:7860.
        token: where the server wants one.

    Raises:
        ConfigError: it is no such address.
    """

    def __init__(self, address: str, token: str | None = None) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"--server {address}: expected an address such as http://127.0.0.1:7860")
        self._parts = parts
        self._address = address
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    @classmethod
    def of_folder(cls, folder: Path, token: str | None = None) -> "Client":
        """The client of whoever serves a folder.

        Raises:
            MediaError: nobody does.
        """
        facts = held_by(folder)
        if facts is None or not facts.get("address"):
            raise MediaError(
                f"no server holds the folder {folder}: begin one with genrender serve --folder {folder}, or "
                "give --server"
            )
        return cls(str(facts["address"]), token)

    def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """The JSON that a route answers; None where it answers nothing.

        Raises:
            MediaError: the server does not answer.
            ConfigError: it refuses; in its words.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} if data is not None else {}
        with self._answer(method, _with_query(path, query), data, headers) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def upload(self, path: str, files: list[Path]) -> Any:
        """What a route answers to files."""
        boundary = secrets.token_hex(16)
        heads = [
            f"--{boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{_quoted(file.name)}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
            for file in files
        ]
        end = f"--{boundary}--\r\n".encode()

        def body() -> Iterator[bytes]:
            for head, file in zip(heads, files, strict=True):
                yield head.encode()
                with file.open("rb") as stream:
                    while data := stream.read(_CHUNK_BYTES):
                        yield data
                yield b"\r\n"
            yield end

        length = sum(
            len(head.encode()) + file.stat().st_size + 2 for head, file in zip(heads, files, strict=True)
        )
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(length + len(end)),
        }
        with self._answer("POST", path, body(), headers) as answer:
            return json.loads(answer.read())

    def fetch(self, path: str, target: Path) -> None:
        """Writes what a route answers to a file."""
        with (
            self._answer("GET", path, None, {}) as answer,
            atomic_write(target) as part,
            part.open("wb") as file,
        ):
            while data := answer.read(_CHUNK_BYTES):
                file.write(data)

    def events(self, path: str) -> Iterator[Any]:
        """The data of server-sent events, until they end."""
        with self._answer("GET", path, None, {"Accept": "text/event-stream"}) as answer:
            for line in answer:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

    @contextmanager
    def _answer(
        self, method: str, path: str, body: Any, headers: dict[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        is_secure = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
        link = kind(self._parts.netloc, timeout=TIMEOUT_S)
        place = self._parts.path.rstrip("/") + path
        try:
            link.request(method, place, body, {**self._headers, **headers})
            with link.getresponse() as answer:
                if answer.status >= 400:
                    raise ConfigError(_refusal(answer.read(), answer.status))
                yield answer
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, GenRenderError):
                raise
            raise MediaError(
                f"the server at {self._address} does not answer ({error}): begin it with genrender serve"
            ) from error
        finally:
            link.close()


def _refusal(text: bytes, status: int) -> str:
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return f"the server refused with status {status}; is it one of genrender's?"


def _with_query(path: str, query: dict[str, Any]) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path


def run_path(run: str, *more: str) -> str:
    """The route of a run."""
    return "/".join(("/api/runs", quote(run, safe=""), *more))


def _quoted(name: str) -> str:
    """A file's name in a header, as browsers write it."""
    return name.replace("\\", "\\\\").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
