"""Who is let in, and what is refused: every line of the issue on security."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from fallow.images.samples import shapes
from fallow.studio import guard
from fallow.studio.app import build
from fallow.studio.desk import Desk

TOKEN, HOST = "right", "127.0.0.1:8000"
HOME = f"http://{HOST}"


def client(host: str = "127.0.0.1", base: str = HOME) -> TestClient:
    return TestClient(build(Desk.opened(shapes(6, side=24)), TOKEN, 8000, host), base_url=base,
                      follow_redirects=False)  # fmt: skip


@pytest.fixture(scope="module")
def stranger() -> TestClient:
    return client()


@pytest.fixture
def known() -> TestClient:
    arrived = client()
    arrived.get("/", params={"token": TOKEN})
    arrived.headers["origin"] = HOME
    return arrived


def test_the_token_becomes_a_cookie_and_leaves_the_address() -> None:
    arriving = client()
    answer = arriving.get("/", params={"token": TOKEN})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("fallow-8000=")
    assert {"HttpOnly", "SameSite=Strict"} <= {part.strip() for part in cookie.split(";")}
    assert arriving.get("/").status_code == 200
    assert arriving.get("/api/desk").json()["pictures"] == 6


@pytest.mark.parametrize("given", ["", "wrong", "right ", "rıght", "%00"])
def test_a_wrong_token_is_refused(stranger: TestClient, given: str) -> None:
    answer = stranger.get("/", params={"token": given})
    assert answer.status_code == 403
    assert answer.text == guard.NO_TOKEN
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("cookie", ["fallow-8000=wrong", "fallow-8001=right", "=;;=", "x" * 5000])
@pytest.mark.parametrize("path", ["/", "/studio.js", "/look.css", "/api/desk", "/openapi.json"])
def test_nothing_is_served_without_the_cookie(stranger: TestClient, path: str, cookie: str) -> None:
    assert stranger.get(path, headers={"cookie": cookie}).status_code == 403


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:8000",
        "127.0.0.1",
        "127.0.0.1:8001",
        "localhost.evil.example:8000",
        "",
        "0:8000",
    ],
)
def test_another_host_name_is_refused(known: TestClient, host: str) -> None:
    assert known.get("/api/desk", headers={"host": host}).status_code == 421


@pytest.mark.parametrize("host", ["localhost:8000", "[::1]:8000"])
def test_names_of_this_machine_are_known(known: TestClient, host: str) -> None:
    cookie = f"fallow-8000={TOKEN}"
    headers = {"host": host, "origin": f"http://{host}", "cookie": cookie}
    assert known.get("/api/desk", headers=headers).status_code == 200


def test_listening_everywhere_takes_addresses_and_no_foreign_names() -> None:
    everywhere = client("0.0.0.0")
    cookie = {"cookie": f"fallow-8000={TOKEN}"}
    for host, status in [("192.168.1.7:8000", 200), ("[fe80::1]:8000", 200),
                         ("evil.example:8000", 421), ("0.0.0.0:8000", 421)]:  # fmt: skip
        assert everywhere.get("/api/desk", headers=cookie | {"host": host}).status_code == status


def test_port_80_is_left_out_by_browsers() -> None:
    plain = TestClient(
        build(Desk.opened(shapes(2, side=16)), TOKEN, 80), base_url="http://localhost"
    )
    plain.get("/", params={"token": TOKEN})
    assert plain.get("/api/desk").status_code == 200
    assert plain.get("/api/desk", headers={"host": "[::1]"}).status_code == 200
    assert plain.get("/api/desk", headers={"host": "localhost:81"}).status_code == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:8000",
                                    "http://127.0.0.1:8001", "http://localhost:8000"])  # fmt: skip
def test_another_page_may_not_use_the_studio(known: TestClient, origin: str) -> None:
    for answer in (
        known.get("/api/desk", headers={"origin": origin}),
        known.post("/api/collection/undo", headers={"origin": origin}),
    ):
        assert answer.status_code == 403


def test_a_change_needs_an_origin(known: TestClient) -> None:
    del known.headers["origin"]
    body = {"rows": [0], "value": "x"}
    assert known.post("/api/collection/label", json=body).status_code == 403
    assert known.get("/api/desk").json()["version"] == 0


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(known: TestClient, method: str) -> None:
    assert known.request(method, "/api/desk").status_code == 405


def test_every_answer_carries_the_policy(known: TestClient, stranger: TestClient) -> None:
    for answer in (known.get("/"), known.get("/api/desk"), known.get("/nothing"),
                   known.get("/api/collection/thumbnail/0"), stranger.get("/")):  # fmt: skip
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "path",
    ["/../pyproject.toml", "/%2e%2e/app.py", "/..%2fapp.py", "/....//app.py", "/%5c..%5capp.py",
     "//etc/passwd", "/static/../app.py", "/index.html%00.js", "/api/collection/thumbnail/..%2f0",
     "/api/collection/picture/%2fetc%2fpasswd", "/api/collection/thumbnail/-1"],
)  # fmt: skip
def test_no_path_leads_out(known: TestClient, path: str) -> None:
    answer = known.get(path)
    assert answer.status_code in (400, 404, 422)
    assert "root:" not in answer.text
    assert "import" not in answer.text


@pytest.mark.parametrize("rows", ["../x", "0;1", "1e3", "٣", "-1", "0,,x", " 0", "9" * 13])
def test_rows_are_numbers(known: TestClient, rows: str) -> None:
    for name in ("rows", "sheet"):
        assert known.get(f"/api/collection/{name}", params={"rows": rows}).status_code == 400


def test_a_page_of_too_many_pictures_is_refused(known: TestClient) -> None:
    rows = ",".join("0" for _ in range(241))
    answer = known.get("/api/collection/sheet", params={"rows": rows})
    assert answer.json() == {"problem": "ask for 1 to 240 pictures at once"}


def test_an_upload_beyond_the_limit_is_refused(known: TestClient, monkeypatch: Any) -> None:
    monkeypatch.setattr(guard, "UPLOAD_LIMIT", 1000)
    assert known.post("/api/collection/like", content=b"x" * 1001).status_code == 413
    pieces = (b"x" * 100 for _ in range(11))  # sent without saying how much
    assert known.post("/api/collection/like", content=pieces).status_code == 413
    for length in ("-1", "1e9", "99999999999999999999"):
        headers = {"content-length": length}
        assert known.post("/api/collection/undo", headers=headers).status_code == 413


def bomb() -> bytes:
    """A PNG whose header promises four thousand million pixels."""
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = struct.pack(">IIBBBBB", 65000, 65000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "empty"), (b"<svg onload='alert(1)'/>", "text, not an image"), (bomb(), "limit"),
     (b"\xff\xd8\xff\xe0" + b"\0" * 64, "damaged"), (b"GIF89a", "damaged"), 
     (b"%PDF-1.7 \xff\x01", "not an image")],
)  # fmt: skip
def test_hostile_uploads_end_in_a_sentence(data: bytes, said: str) -> None:
    import numpy as np

    desk = Desk.opened(shapes(6, side=24))
    desk.nearness.pictures.vectors = np.eye(6, dtype=np.float32)
    desk.nearness.pictures.state = "ready"
    arrived = TestClient(build(desk, TOKEN, 8000), base_url=HOME)
    arrived.get("/", params={"token": TOKEN})
    answer = arrived.post("/api/collection/like", content=data, headers={"origin": HOME})
    assert answer.status_code == 400
    assert answer.json()["problem"].startswith("this picture cannot be used: ")
    assert said in answer.json()["problem"]


def test_no_get_changes_anything(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("FALLOW_DATA", str(tmp_path))
    arrived = client()
    arrived.get("/", params={"token": TOKEN})
    paths = arrived.get("/openapi.json").json()["paths"]
    reading = [path for path, of in paths.items() if "get" in of]
    assert len(reading) >= 9
    for path in reading:
        asked = {"rows": "0", "where": "width > 3", "text": "a", "value": "x", "row": "0"}
        arrived.get(path.replace("{row}", "0"), params=asked)
        # what changes something does not answer to a GET either
    for path, of in paths.items():
        if "get" not in of:
            assert arrived.get(path).status_code in (400, 404, 405, 422)
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []
    assert arrived.get("/api/desk").json()["version"] == 0
