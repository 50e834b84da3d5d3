"""Processes that are copies of one which has loaded the libraries: they begin at once.

A process of Python that imports PyTorch and diffusers does nothing else for seconds. Where a test needs a
process, and not that it was begun anew, it takes a copy: with its own pid, pipes and signals, as any other.
"""

import multiprocessing
import os
import runpy
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch

LIBRARIES = (
    "genrender.cli",
    "genrender.jobs.worker",
    "genrender.jobs.make",
    "genrender.backbones.loading",
    "genrender.jobs.finish",
    "diffusers",
    "transformers",
)


def loaded() -> Any:
    """The context of multiprocessing whose processes are such copies; Windows has none."""
    from multiprocessing.forkserver import ensure_running

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(LIBRARIES))
    ensure_running()
    return context


def _run(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    stdin: Connection | None,
    stdout: Connection | None,
    stderr: Path | None,
) -> None:
    """What Python does with such arguments, in a copy."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", torch.get_num_threads())))
    for number, (end, mode) in enumerate(((stdin, "r"), (stdout, "w"))):
        if end is not None:
            os.dup2(end.fileno(), number)
            end.close()
            setattr(sys, ("stdin", "stdout")[number], open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    if stderr is not None:
        os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    words = list(arguments)
    warnings.simplefilter("ignore" if "ignore" in words[: words.index("-m")] else "default")
    # Of a module that was imported before it is run as a program.
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="runpy")
    module, *rest = words[words.index("-m") + 1 :]
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def make_workers_warm(patch: pytest.MonkeyPatch) -> None:
    """From now on workers of this machine are such copies."""
    # Only here: what is imported before the tests has no shape checks.
    from genrender.jobs.worker import Worker

    loaded()  # so that it is there before a test counts processes
    begin = Worker.__init__
    # Not its defaults: what checks shapes has wrapped it.
    patch.setattr(
        Worker,
        "__init__",
        lambda self, debug=False, start=WarmProcess: begin(self, debug, start),
    )
    for module in ("genrender.batches.run", "genrender.jobs.in_parts"):
        patch.setattr(f"{module}.LocalProcess", WarmProcess)


class WarmProcess:
    """`genrender.distributed.process.LocalProcess` as a copy; its arguments name a module, after `-m`.

    Args:
        stderr: a file that takes it; None: it goes where that of this process went when the first was made.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None = None,
        apart: bool = False,  # noqa: ARG002 (no copy is reached by a Ctrl-C in the terminal)
        stderr: Path | None = None,
    ) -> None:
        context = loaded()
        stdin, self._asked = context.Pipe(duplex=False)
        self._told, stdout = context.Pipe(duplex=False)
        environment = dict(os.environ if environment is None else environment)
        self._process = context.Process(
            target=_run, args=(tuple(arguments), Path.cwd(), environment, stdin, stdout, stderr)
        )
        self._process.start()
        stdin.close()
        stdout.close()
        self._lines = open(self._told.fileno(), encoding="utf-8", closefd=False)  # noqa: SIM115

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    def ask(self, line: str) -> None:
        with suppress(BrokenPipeError):
            os.write(self._asked.fileno(), f"{line}\n".encode())

    def answers(self) -> Iterator[str]:
        while line := self._lines.readline():
            yield line

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._asked.close()
        self._lines.close()
        self._told.close()
        self._process.join()

    def wait(self) -> int:
        """Its exit code, negative for a signal."""
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode
