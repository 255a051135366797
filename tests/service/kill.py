"""Killing and cutting the power of a service under load, and asking what became of what it said.

Run as a program it is the load: it sends decisions over some connections until it is told to stop,
or until the server is gone, and prints one JSON line with what was acknowledged.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any


async def load(port: int, token: str, clients: list[str], connections: int, mark: str) -> Any:
    """Send decisions until the server is gone; what was acknowledged, by key."""
    acknowledged: dict[str, str] = {}
    sent: list[str] = []
    refused: dict[str, int] = {}

    async def one(worker: int) -> None:
        number = 0
        while True:
            key = f"{mark}-{worker}-{number}"
            client = clients[(worker * 7 + number) % len(clients)]
            number += 1
            body = json.dumps({"client_id": client, "currency": "USD"}).encode()
            head = (
                f"POST /v1/decisions HTTP/1.1\r\nhost: t\r\nauthorization: Bearer {token}\r\n"
                f"content-type: application/json\r\nidempotency-key: {key}\r\n"
                f"connection: close\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                sent.append(key)
                writer.write(head.encode() + body)
                answer = await reader.read()
                writer.close()
            except OSError:
                return
            status, _, rest = answer.partition(b"\r\n")
            if b"201" in status:
                document = json.loads(rest.partition(b"\r\n\r\n")[2])
                acknowledged[key] = document["decision_id"]
                print(json.dumps([key, document["decision_id"]]), flush=True)
            elif not answer:
                return
            else:
                name = status.decode().split(" ")[1]
                refused[name] = refused.get(name, 0) + 1
                await asyncio.sleep(0.02)

    await asyncio.gather(*(one(k) for k in range(connections)))
    return {"acknowledged": len(acknowledged), "sent": len(sent), "refused": refused}


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    print(json.dumps(asyncio.run(load(**given))), flush=True)
