"""Processes on the machines of a Ray cluster.

Each is the same process as on this machine, started and asked by an actor there. Ray chooses the machine and
gives every actor a GPU of its own; what goes through Ray are the lines alone.
"""

import logging
import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from genrender.distributed.process import LocalProcess, Start
from genrender.errors import ConfigError, first_line

# The actor answers while it waits for the process's next line: a question, a signal.
_AT_ONCE = 4


class _Host:
    """The actor: it has a process on its machine. When the actor goes, the process ends as well."""

    def __init__(self, arguments: Sequence[str], folder: str) -> None:
        self._lack: str | None = None
        if not os.path.isdir(folder):
            self._lack = f"there is no folder {folder} on {platform.node()}: the machines must share it"
            return
        os.chdir(folder)
        self._process = LocalProcess(arguments)
        self._answers = self._process.answers()

    def what_is_wrong(self) -> str | None:
        return self._lack

    def ask(self, line: str) -> None:
        if self._lack is None:
            self._process.ask(line)

    def answer(self) -> str | None:
        """The next line; None: there are no more."""
        return next(self._answers, None)

    def terminate(self) -> None:
        self._process.terminate()

    def close(self) -> None:
        if self._lack is None:
            self._process.close()


class ClusterProcess:
    """A process somewhere in the cluster.

    Args:
        ray: the library.
        actors: makes one.
        arguments: of Python.

    Raises:
        ConfigError: the machine lacks the folder that this process works in.
    """

    def __init__(self, ray: Any, actors: Any, arguments: Sequence[str]) -> None:
        self._ray = ray
        self._host = actors.remote(list(arguments), os.getcwd())

    def ask(self, line: str) -> None:
        # An actor that does several things at once does them in any order.
        with suppress(self._ray.exceptions.RayActorError):
            self._ray.get(self._host.ask.remote(line))

    def answers(self) -> Iterator[str]:
        try:
            if (wrong := self._ray.get(self._host.what_is_wrong.remote())) is not None:
                raise ConfigError(wrong)
            while (line := self._ray.get(self._host.answer.remote())) is not None:
                yield line
        except self._ray.exceptions.RayActorError:
            return  # with its machine, perhaps

    def terminate(self) -> None:
        self._host.terminate.remote()

    def kill(self) -> None:
        self._ray.kill(self._host)

    def close(self) -> None:
        try:
            self._ray.get(self._host.close.remote())
        except self._ray.exceptions.RayActorError:
            return
        self._ray.kill(self._host)


@contextmanager
def cluster(address: str, n_processes: int, needs_gpu: bool) -> Iterator[Start]:
    """Connects to a Ray cluster while this lasts.

    Args:
        address: as `ray.init` takes it: `auto` for the cluster that this machine is in, HOST:PORT, or `local`
            for one that is begun here and ends with the block.
        n_processes: how many there will be; more than the cluster has room for wait until there is.
        needs_gpu: give each a GPU of its own where the cluster has some; else they share its cores.

    Raises:
        ConfigError: Ray is not installed, or no cluster answers.
    """
    try:
        import ray
    except ImportError as error:
        raise ConfigError('--ray needs Ray: pip install "genrender[ray]"') from error
    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **_of_new(address))
    except (ConnectionError, ValueError, RuntimeError, subprocess.SubprocessError) as error:
        reason = first_line(error).rstrip(".")
        raise ConfigError(
            f"no Ray cluster at {address!r} ({reason}); begin one with `ray start --head`, or leave --ray out"
        ) from error
    try:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        on_gpus = needs_gpu and any(node.get("GPU") for node in nodes)
        needs = {"num_gpus": 1} if on_gpus else {"num_cpus": cores_each(nodes, n_processes)}
        actors = ray.remote(_Host).options(max_concurrency=_AT_ONCE, **needs)
        yield lambda arguments: ClusterProcess(ray, actors, arguments)
    finally:
        ray.shutdown()


def _of_new(address: str) -> dict[str, Any]:
    return {"include_dashboard": False} if address == "local" else {}


def cores_each(nodes: Sequence[dict[str, Any]], n_processes: int) -> int:
    """The most cores that each of so many processes can have at once, at least one.

    Args:
        nodes: the machines, with their number of cores as "CPU".
    """
    cores = [int(node.get("CPU", 0)) for node in nodes]
    fitting = (
        each
        for each in range(max(cores, default=1), 0, -1)
        if sum(of_node // each for of_node in cores) >= n_processes
    )
    return next(fitting, 1)
