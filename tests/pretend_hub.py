"""A model hub on this machine: a folder of models, served as the real one does, and its ways to say no."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlparse

COMMIT = "c0ffee" + "0" * 34
# What the hub says of models that it does not give, by the model's name.
REFUSALS = {
    "gated": (403, "GatedRepo", "Access to model somebody/gated is restricted."),
    "private": (401, "RepoNotFound", "Repository Not Found"),
    "forbidden": (403, "", "Your token lacks the permission to read this."),
    "broken": (404, "EntryNotFound", "Entry not found"),
}


class PretendHub(ThreadingHTTPServer):
    """Serves `root/OWNER/NAME/...`; `asked` lists the files that were fetched."""

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root, self.asked = root, []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def pretend_hub(root: Path) -> Iterator[PretendHub]:
    hub = PretendHub(root)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: PretendHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(has_body=False)

    def do_GET(self) -> None:
        self._answer(has_body=True)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, has_body: bool) -> None:
        parts = unquote(urlparse(self.path).path).strip("/").split("/")
        if parts == [""]:
            return self._send(200, b"hub", has_body)
        if len(parts) < 4:
            return self._refuse(404, "", "Not Found", has_body)
        if parts[:2] == ["api", "models"]:
            owner, name, *rest = parts[2:]
            kind, revision = (rest[0], rest[1]) if len(rest) > 1 else ("", "main")
        else:
            owner, name, kind, revision, *rest = parts
        folder = self.server.root / owner / name
        if name in REFUSALS:
            return self._refuse(*REFUSALS[name], has_body)
        if not folder.is_dir():
            return self._refuse(401, "RepoNotFound", "Repository Not Found", has_body)
        if revision not in ("main", COMMIT):
            return self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}", has_body)
        if kind == "resolve":
            return self._file(folder, "/".join(rest), has_body)
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        if kind == "tree":
            listed = [
                {
                    "type": "file",
                    "path": path.relative_to(folder).as_posix(),
                    "size": path.stat().st_size,
                    "oid": "0" * 40,
                }
                for path in paths
            ]
            return self._send(200, json.dumps(listed).encode(), has_body)
        siblings = [{"rfilename": path.relative_to(folder).as_posix()} for path in paths]
        about = {"id": f"{owner}/{name}", "sha": COMMIT, "siblings": siblings}
        return self._send(200, json.dumps(about).encode(), has_body)

    def _file(self, folder: Path, name: str, has_body: bool) -> None:
        path = folder / name
        if not path.is_file():
            return self._refuse(404, "EntryNotFound", "Entry not found", has_body)
        if has_body:
            self.server.asked.append(f"{folder.name}/{name}")
        content = path.read_bytes()
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{sha1(content).hexdigest()}"'}
        return self._send(200, content, has_body, headers)

    def _refuse(self, status: int, code: str, reason: str, has_body: bool) -> None:
        headers = {"X-Error-Message": reason} | ({"X-Error-Code": code} if code else {})
        self._send(status, json.dumps({"error": reason}).encode(), has_body, headers)

    def _send(self, status: int, content: bytes, has_body: bool, headers: dict | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        if has_body:
            self.wfile.write(content)
