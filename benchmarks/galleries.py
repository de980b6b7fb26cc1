"""Pages of pictures from a server other than the studio: FiftyOne's app, asked as its page asks."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from benchmarks.peer import Peer

AT_ONCE = 6  # connections of one browser to one server
QUERY = """query ($dataset: String!, $view: BSONArray!, $first: Int, $after: String) {
  samples(dataset: $dataset, view: $view, first: $first, after: $after) {
    ... on SampleItemStrConnection { edges { node { ... on ImageSample { urls { url } } } } }
  }
}"""


@contextmanager
def fiftyone(python: str, folder: Path) -> Iterator[tuple[Peer, int, str]]:
    """FiftyOne with these pictures in a data base of its own: version, port, data set."""
    home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with home as kept, Peer(python, "gallery.py") as peer:
        told = peer.ask(do="prepare", folder=str(folder), kept=kept)
        yield peer, int(told["port"]), str(told["dataset"])


async def crowd(port: int, dataset: str, count: int, amount: Any, page: int) -> list[float]:
    """Seconds that every page took, of all clients together."""
    everyone = [scroll(port, dataset, count, amount.pages, page, k) for k in range(amount.clients)]
    return [one for seen in await asyncio.gather(*everyone) for one in seen]


async def scroll(
    port: int, dataset: str, count: int, pages: int, page: int, seed: int
) -> list[float]:
    """One person, as benchmarks.studio has them: jumps, reads on, looks about a second."""
    random, took = np.random.default_rng(seed), []
    lines = [Connection(port) for _ in range(AT_ONCE)]
    at = int(random.integers(0, count - page))
    for _ in range(pages):
        await asyncio.sleep(random.uniform(0.5, 1.5))
        if random.random() < 0.2:
            at = int(random.integers(0, count - page))
        began = time.perf_counter()
        await look(lines, dataset, at, page)
        took.append(time.perf_counter() - began)
        at = (at + page) % (count - page)
    for line in lines:
        line.close()
    return took


class Connection:
    """A connection that is opened anew where the server has closed it, as browsers do."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader | None = None

    async def ask(self, sent: bytes) -> bytes:
        """The body of the answer."""
        if self.reader is not None:
            try:
                return await self._once(self.reader, sent)
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                if getattr(error, "partial", b""):  # it broke off within an answer
                    raise
                self.writer.close()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return await self._once(self.reader, sent)

    async def _once(self, reader: asyncio.StreamReader, sent: bytes) -> bytes:
        self.writer.write(sent)
        return await received(reader)

    def close(self) -> None:
        if self.reader is not None:
            self.writer.close()


async def look(lines: list[Connection], dataset: str, at: int, page: int) -> None:
    """One page: what the samples are, then every picture."""
    asked = {"dataset": dataset, "view": [], "first": page, "after": str(at - 1) if at else None}
    answer = json.loads(await post(lines[0], "/graphql", {"query": QUERY, "variables": asked}))
    edges = answer["data"]["samples"]["edges"]
    paths = [edge["node"]["urls"][0]["url"] for edge in edges]
    assert len(paths) == page, f"{len(paths)} pictures on a page of {page}"

    async def some(line: Connection, part: list[str]) -> None:
        for path in part:
            assert await get(line, f"/media?filepath={quote(path)}")

    await asyncio.gather(*(some(line, paths[k::AT_ONCE]) for k, line in enumerate(lines)))


async def get(line: Connection, path: str) -> bytes:
    return await line.ask(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())


async def post(line: Connection, path: str, body: Any) -> bytes:
    sent = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return await line.ask(f"{head}Content-Length: {len(sent)}\r\n\r\n".encode() + sent)


async def received(reader: asyncio.StreamReader) -> bytes:
    """The body of an answer, whole or in chunks."""
    top = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    assert top.split(" ", 2)[1] == "200", top
    fields = dict(row.lower().split(": ", 1) for row in top.split("\r\n")[1:] if ": " in row)
    if "content-length" in fields:
        return await reader.readexactly(int(fields["content-length"]))
    body = b""
    while size := int((await reader.readline()).strip() or b"0", 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readline()
    return body
