"""A real S3 server in a thread, which throttles and cuts reads short as often as it is told."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

SLOW = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"""


class Faulty:
    """An application that answers as another, but for its faults; both are shares of the reads."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self.application, self.chance = application, random.Random(0)
        self.throttle = self.cut = 0.0
        self.throttled = self.were_cut = 0

    def __call__(self, asked: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if asked["REQUEST_METHOD"] != "GET":
            return self.application(asked, start)
        if self.chance.random() < self.throttle:
            self.throttled += 1
            start("503 Slow Down", [("Content-Length", str(len(SLOW)))])
            return [SLOW]
        answer = self.application(asked, start)
        if self.chance.random() >= self.cut:
            return answer
        self.were_cut += 1  # its length was promised: what listens has to notice
        whole = b"".join(answer)
        return [whole[: len(whole) // 2]]


@contextmanager
def store(name: str) -> Iterator[Faulty]:
    """An empty bucket of this name at the address that AWS_ENDPOINT_URL then holds."""
    pytest.importorskip("moto.server")
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from pyarrow.fs import S3FileSystem
    from werkzeug.serving import WSGIRequestHandler, make_server

    from fallow.images import places

    class Silent(WSGIRequestHandler):
        def log(self, *words: Any) -> None:
            pass

    faulty = Faulty(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, faulty, threaded=True, request_handler=Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"127.0.0.1:{server.server_port}"
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {
            "AWS_ENDPOINT_URL": f"http://{address}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": "us-east-1",
        }.items():
            patch.setenv(key, value)
        places.s3.cache_clear()
        maker = S3FileSystem(endpoint_override=address, scheme="http", allow_bucket_creation=True)
        maker.create_dir(name)
        yield faulty
        places.s3.cache_clear()
    server.shutdown()
    thread.join()
