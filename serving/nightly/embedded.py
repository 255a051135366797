"""The embedded engine: all cores of this machine, a bucket a task, answers in order of task."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.abc import MetaPathFinder
from multiprocessing import get_context
from types import ModuleType, TracebackType
from typing import Final, Self, TypeVar

from data_contracts.errors import InputError

T = TypeVar("T")
R = TypeVar("R")
TASKS_AHEAD: Final = 2
"""Tasks handed out a worker: no worker waits, and few answers lie in memory."""
PR_SET_PDEATHSIG: Final = 1
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
KEPT_BYTES: Final = 1 << 29
"""Below this a worker's freed memory stays with it; a bucket's arrays are a tenth as large."""


class _WithoutPandas(MetaPathFinder):
    """Arrow loads pandas, where it is there, to recognise its objects; a worker has none."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        """No pandas; whatever else is found by others."""
        if fullname == "pandas":
            raise ModuleNotFoundError("a worker of the night works without pandas", name=fullname)


def _begin() -> None:
    """A worker dies with the run that started it, and computes on one thread."""
    if os.uname().sysname == "Linux":
        libc = ctypes.CDLL(None)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if hasattr(libc, "mallopt"):
            # arrays of one bucket take the memory of the last one, and it is not asked for again
            libc.mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
            libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
    sys.meta_path.insert(0, _WithoutPandas())
    import pyarrow as pa

    pa.set_cpu_count(1)
    # what the tasks need is loaded while the night is being prepared
    import serving.nightly.tasks  # noqa: F401


def _ready() -> None:
    """A task that does nothing: with it a worker starts."""


class Embedded:
    """Worker processes of this machine; with one worker everything runs in this process."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self.workers > 1:
            spawn = get_context("spawn")
            self._pool = ProcessPoolExecutor(self.workers, mp_context=spawn, initializer=_begin)
            for _ in range(self.workers):
                self._pool.submit(_ready)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def map(self, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """The answers in order of the tasks, whichever was ready first."""
        if self._pool is None:
            yield from map(work, tasks)
            return
        waiting: deque[Future[R]] = deque()
        try:
            for task in tasks:
                waiting.append(self._pool.submit(work, task))
                if len(waiting) >= TASKS_AHEAD * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise InputError(
                "a worker process was killed, perhaps for memory; the same command goes on with"
                " the night, --threads takes fewer workers"
            ) from None
