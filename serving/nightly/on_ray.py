"""The Ray engine: the same tasks on a Ray cluster, or on one of this machine alone.

A task whose worker dies is run again by Ray; it writes the same bytes to the same place.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from data_contracts.errors import InputError
from serving.nightly.embedded import TASKS_AHEAD

T = TypeVar("T")
R = TypeVar("R")


class OnRay:
    """A Ray cluster: the one at an address, else one of this machine for as long as it is open."""

    def __init__(self, address: str | None, workers: int) -> None:
        self.address, self.workers = address, workers
        self._ray: Any = None

    def __enter__(self) -> Self:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        try:
            import ray
        except ImportError:
            raise InputError(
                "--engine ray needs Ray: pip install 'gearline[ray]', or use --engine embedded"
            ) from None
        how: dict[str, Any] = {"address": self.address or "local", "log_to_driver": False}
        if self.address is None:
            how |= {"num_cpus": self.workers, "include_dashboard": False}
        try:
            ray.init(logging_level=logging.ERROR, **how)
        except ConnectionError as error:
            raise InputError(f"no Ray cluster at {self.address}: {error}") from None
        self._ray = ray
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ray.shutdown()

    def map(self, work: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """The answers in order of the tasks, whichever was ready first."""
        ray = self._ray
        remote = ray.remote(max_retries=-1, num_cpus=1)(work)
        ahead = TASKS_AHEAD * max(int(ray.cluster_resources().get("CPU", 1)), 1)
        waiting: deque[Any] = deque()
        try:
            for task in tasks:
                waiting.append(remote.remote(task))
                if len(waiting) >= ahead:
                    yield ray.get(waiting.popleft())
            while waiting:
                yield ray.get(waiting.popleft())
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, InputError):
                raise error.cause from None
            raise
