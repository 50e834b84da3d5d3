"""Several workers that make runs side by side, until all are made.

A worker keeps its networks from run to run. Where one is lost, its run goes on in another process from the
last step that it has done.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from genrender.distributed.process import Start
from genrender.errors import ConfigError
from genrender.jobs.job import RenderJob
from genrender.jobs.worker import PATIENCE_S, Worker, WorkerLost
from genrender.runs.folder import RunFolder
from genrender.runs.hooks import Cancelled, RunHooks
from genrender.runs.unfinished import has_steps, wait_until_idle

# How often in a row a run may lose its worker without having come any further.
ATTEMPTS = 3


@dataclass(frozen=True)
class Task:
    """A run that is to be made, in a folder that may hold some steps of it already."""

    name: str
    job: RenderJob
    folder: Path


# What a task tells: `note`, `warn`, or `progress` with what is done of what.
Told = Callable[[Task, str, tuple[Any, ...]], None]


class Pool:
    """Workers of one front end, as a context: they end with it.

    Args:
        starts: for each worker, what starts its process.
        debug: show on stderr where an error of a run comes from.

    Example:
        >>> with Pool([LocalProcess] * 2) as pool:
        ...     pool.make([Task(path.name, job, path) for job, path in ...], lambda *told: None)
    """

    def __init__(self, starts: Sequence[Start], debug: bool = False) -> None:
        self._workers = [Worker(debug, start) for start in starts]
        self._leaving = ExitStack()

    def __enter__(self) -> "Pool":
        for worker in self._workers:
            self._leaving.enter_context(worker)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.close()

    def make(
        self, tasks: Sequence[Task], told: Told, is_cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        """Makes runs. The first that fails stops the others, which keep the steps that they have done.

        Args:
            tasks: in the order in which they begin.
            told: what they tell, one after the other, in the thread that calls this.
            is_cancelled: asked whenever something is told; True stops everything.

        Raises:
            Cancelled: `is_cancelled` says so.
            ConfigError: a run fails, or loses its worker time after time.
        """
        todo: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        news: queue.SimpleQueue[tuple[Task, str, tuple[Any, ...]]] = queue.SimpleQueue()
        is_over = threading.Event()
        threads = [
            threading.Thread(target=_work, args=(worker, todo, news, is_over), daemon=True)
            for worker in self._workers[: len(tasks)]
        ]
        for task in tasks:
            todo.put(task)
        for thread in threads:
            thread.start()
        try:
            self._follow(len(tasks), todo, news, told, is_cancelled)
        except BaseException:
            is_over.set()
            for worker in self._workers:
                worker.interrupt()
            raise
        finally:
            for _ in threads:
                todo.put(None)
            for thread in threads:
                thread.join()

    @staticmethod
    def _follow(
        n_tasks: int,
        todo: "queue.SimpleQueue[Task | None]",
        news: "queue.SimpleQueue[tuple[Task, str, tuple[Any, ...]]]",
        told: Told,
        is_cancelled: Callable[[], bool],
    ) -> None:
        """Passes on what tasks tell until all are done; those that have lost their worker begin again."""
        n_done, lost = 0, dict[str, int]()
        furthest, lost_at = dict[str, set[tuple[Any, ...]]](), dict[str, int]()
        while n_done < n_tasks:
            task, kind, facts = news.get()
            if kind == "done":
                n_done += 1
            elif kind == "failed":
                raise facts[0]
            elif kind == "lost":
                reached = len(furthest.get(task.name, ()))
                has_come_further = reached > lost_at.get(task.name, 0)
                lost[task.name] = 1 if has_come_further else lost.get(task.name, 0) + 1
                lost_at[task.name] = reached
                if lost[task.name] >= ATTEMPTS:
                    raise ConfigError(
                        f"{task.name}: lost a worker {ATTEMPTS} times without coming further; {facts[0]}"
                    )
                told(task, "warn", (f"{task.name}: a worker is gone, and another one goes on with them",))
                todo.put(task)
            else:
                if kind == "progress":
                    furthest.setdefault(task.name, set()).add(facts)
                told(task, kind, facts)
            if is_cancelled():
                raise Cancelled("cancelled")


def _work(
    worker: Worker,
    todo: "queue.SimpleQueue[Task | None]",
    news: "queue.SimpleQueue[tuple[Task, str, tuple[Any, ...]]]",
    is_over: threading.Event,
) -> None:
    """Makes one run after the other, and tells how it went."""
    while (task := todo.get()) is not None and not is_over.is_set():
        hooks = RunHooks(
            note=lambda *facts, task=task: news.put((task, "note", facts)),
            warn=lambda *facts, task=task: news.put((task, "warn", facts)),
            progress=lambda *facts, task=task: news.put((task, "progress", facts)),
            is_cancelled=is_over.is_set,
        )
        try:
            # Whoever was at work there before may still be about to end.
            wait_until_idle(task.folder, PATIENCE_S)
            if has_steps(task.folder):
                worker.resume(task.folder, hooks)
            else:
                worker.make(task.job, RunFolder(task.folder), hooks)
        except WorkerLost as error:
            news.put((task, "lost", (error,)))
        except (Exception, Cancelled) as error:  # whoever waits for the task raises it
            news.put((task, "failed", (error,)))
        else:
            news.put((task, "done", ()))
