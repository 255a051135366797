"""The load generator: keep-alive connections, closed loop or a fixed rate; prints one JSON line.

    python -m training.bench.serve.load PORT PLAN.json

A closed loop keeps every connection busy. At a fixed rate the latency is counted from when the
request was due, not from when it could be sent, so that a stalled server is not let off.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np


class Connection(asyncio.Protocol):
    """One connection with at most one request in flight."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.buffer = bytearray()
        self.waiting: asyncio.Future[int] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Finish the request once its whole answer is here."""
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self.buffer[:end]).lower()
        at = head.find(b"content-length:")
        if at < 0:
            raise RuntimeError("the server sent no Content-Length")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self.buffer) < end + 4 + length:
            return
        status = int(head.split(b" ", 2)[1])
        del self.buffer[: end + 4 + length]
        waiting, self.waiting = self.waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(status)

    def connection_lost(self, error: Exception | None) -> None:
        """Fail the request in flight."""
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_exception(ConnectionError("the server closed the connection"))

    async def send(self, request: bytes) -> int:
        """Send a request; the status of its answer."""
        self.waiting = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.waiting


class Requests:
    """The bytes to send, each with a new key where the plan says so."""

    def __init__(self, plan: dict[str, Any], run: str) -> None:
        head = [f"POST {plan['path']} HTTP/1.1", "host: bench", "content-type: application/json"]
        head += [f"{k}: {v}" for k, v in plan["headers"].items()]
        self.head = "\r\n".join(head).encode()
        self.bodies = [json.dumps(b).encode() for b in plan["bodies"]]
        self.keyed, self.run, self.number = plan["keyed"], run.encode(), 0

    def next(self) -> bytes:
        """One request."""
        body = self.bodies[self.number % len(self.bodies)]
        self.number += 1
        key = b"\r\nidempotency-key: %s-%d" % (self.run, self.number) if self.keyed else b""
        return b"%s%s\r\ncontent-length: %d\r\n\r\n%s" % (self.head, key, len(body), body)


async def connect(port: int, count: int) -> list[Connection]:
    """Open connections."""
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(Connection, "127.0.0.1", port) for _ in range(count)]
    return [protocol for _, protocol in made]


async def closed_loop(port: int, requests: Requests, connections: int, seconds: float) -> Any:
    """As many as the server answers."""
    opened = await connect(port, connections)
    spent: list[float] = []
    statuses: dict[int, int] = {}
    stop = time.perf_counter() + seconds

    async def work(connection: Connection) -> None:
        while True:
            began = time.perf_counter()
            if began >= stop:
                return
            status = await connection.send(requests.next())
            spent.append(time.perf_counter() - began)
            statuses[status] = statuses.get(status, 0) + 1

    began = time.perf_counter()
    await asyncio.gather(*(work(c) for c in opened))
    wall = time.perf_counter() - began
    for connection in opened:
        connection.transport.close()
    return wall, spent, statuses


async def fixed_rate(port: int, requests: Requests, rate: float, seconds: float) -> Any:
    """At a rate, whatever the server does."""
    opened = await connect(port, 32)
    free = deque(opened)
    spent: list[float] = []
    statuses: dict[int, int] = {}
    tasks = set()
    queue: asyncio.Semaphore = asyncio.Semaphore(len(opened))

    async def one(due: float) -> None:
        async with queue:
            connection = free.popleft()
            status = await connection.send(requests.next())
            spent.append(time.perf_counter() - due)
            statuses[status] = statuses.get(status, 0) + 1
            free.append(connection)

    began = time.perf_counter()
    for k in range(int(rate * seconds)):
        due = began + k / rate
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        task = asyncio.create_task(one(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    while tasks:
        await asyncio.gather(*tasks)
    wall = time.perf_counter() - began
    for connection in opened:
        connection.transport.close()
    return wall, spent, statuses


def main() -> None:
    """Run one plan."""
    port, plan = int(sys.argv[1]), json.loads(Path(sys.argv[2]).read_bytes())
    requests = Requests(plan, sys.argv[3])
    runner = asyncio.run
    try:
        import uvloop

        runner = uvloop.run
    except ImportError:
        pass
    before = resource.getrusage(resource.RUSAGE_SELF)
    if plan["rate"]:
        work = fixed_rate(port, requests, plan["rate"], plan["seconds"])
    else:
        work = closed_loop(port, requests, plan["connections"], plan["seconds"])
    wall, spent, statuses = runner(work)
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    milliseconds = np.sort(np.array(spent)) * 1000
    found = {
        "requests": len(spent),
        "per_second": len(spent) / wall,
        "p50_ms": float(np.quantile(milliseconds, 0.5)),
        "p99_ms": float(np.quantile(milliseconds, 0.99)),
        "max_ms": float(milliseconds[-1]),
        "statuses": {str(k): v for k, v in sorted(statuses.items())},
        "load_cpu_us": cpu / max(len(spent), 1) * 1e6,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
