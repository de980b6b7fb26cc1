"""FiftyOne's app server on a folder of pictures; it is asked over HTTP like the studio."""

import contextlib
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from importlib.metadata import version
from pathlib import Path

from serve import serve

ready = {}


def prepare(folder, kept):
    """Opens the pictures and starts the app; answers once the server does."""
    os.environ |= {
        "HOME": kept,
        "FIFTYONE_DATABASE_DIR": f"{kept}/db",
        "FIFTYONE_DO_NOT_TRACK": "true",
        "FIFTYONE_SHOW_PROGRESS_BARS": "false",
    }
    with contextlib.redirect_stdout(sys.stderr):
        import fiftyone

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        found = sorted(str(path) for path in Path(folder).rglob("*.jpg"))
        dataset = fiftyone.Dataset("pictures")
        dataset.add_samples([fiftyone.Sample(filepath=path) for path in found])
        ready["session"] = fiftyone.launch_app(dataset, remote=True, address="127.0.0.1", port=port)
        while not answers(port):
            time.sleep(0.05)
    return {"port": port, "dataset": dataset.name}


def answers(port):
    """Whether the server does by now."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


if __name__ == "__main__":
    serve(version("fiftyone"), {"prepare": prepare})
