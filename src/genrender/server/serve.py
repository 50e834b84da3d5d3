"""A server that answers until it is told to end."""

import contextlib
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import uvicorn

from genrender.errors import ConfigError
from genrender.server.app import make_app
from genrender.server.guard import LOOPBACK, Access, own_hosts
from genrender.server.studio import Studio, StudioConfig

# How long answers that go on, such as events, may take when the server ends.
PATIENCE_S = 2
MIN_TOKEN = 8


@dataclass(frozen=True)
class Place:
    """Where a server answers.

    Attributes:
        host: address that it listens on.
        port: 0 takes a free one.
        token: what everybody must know; None: nothing is wanted, on this machine alone.
        names: more names that it is asked by.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    token: str | None = None
    names: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises ConfigError for what would let everybody in."""
        if self.host not in LOOPBACK and self.token is None:
            raise ConfigError(
                f"--host {self.host} lets other machines in: give --token with a secret of your own, or "
                "leave --host out"
            )
        if self.token is not None and (len(self.token) < MIN_TOKEN or not self.token.isascii()):
            raise ConfigError(
                f"--token has {len(self.token)} characters, expected at least {MIN_TOKEN}, ASCII"
            )
        if not 0 <= self.port < 2**16:
            raise ConfigError(f"--port is {self.port}, expected 0 to 65535")


def serve(config: StudioConfig, place: Place, ready: Callable[[str], None]) -> None:
    """Serves a folder until the process is interrupted or terminated.

    Args:
        ready: is told the address, once it answers.

    Raises:
        ConfigError: the address cannot be listened on.
        MediaError: another server holds the folder.
    """
    place.check()
    with contextlib.closing(_listening(place)) as listener:
        port = listener.getsockname()[1]
        name = f"[{place.host}]" if ":" in place.host else place.host
        address = f"http://{name}:{port}"
        access = Access(own_hosts(place.host, place.names), place.token)
        with Studio(config, address) as studio:
            settings = uvicorn.Config(
                make_app(studio, access),
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=PATIENCE_S,
                # Nobody in between is believed about who asks.
                proxy_headers=False,
                ws="none",
            )
            server = _Server(settings, studio, lambda: ready(address))
            server.run(sockets=[listener])


class _Server(uvicorn.Server):
    """Ends its work before the process ends; uvicorn's own passes signals on first."""

    def __init__(self, config: uvicorn.Config, studio: Studio, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._studio = studio
        self._ready = ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Whoever listens to events would else be waited for.
        self._studio.events.end()
        await super().shutdown(sockets)


def _listening(place: Place) -> socket.socket:
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    # Named as TCP, which asyncio asks for before it has answers sent at once: else each waits for 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if sys.platform != "win32":  # where it would let another program listen on the same port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((place.host, place.port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {place.host} port {place.port}: {error.strerror}; give another --port"
        ) from error
    return listener
