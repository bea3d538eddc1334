"""Downloads against a server on this machine that breaks off, ignores ranges, lies, or is not there."""

from __future__ import annotations

import gzip
import hashlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from refusals import refused
from zerosum import data
from zerosum.data import download, idx
from zerosum.data.download import fetch
from zerosum.data.progress import shown_by

CONTENT = bytes(i * i % 251 for i in range(10_000))
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MOST = 1 << 20  # bytes


@dataclass
class Mirror:
    """A server of files. `log` has each request: (path, the Range asked for or None)."""

    files: dict[str, bytes] = field(default_factory=lambda: {"/file": CONTENT})
    ranges: bool = True  # obeys Range
    limit: int | None = None  # bytes after which a connection breaks
    wrong_start: int = 0  # how far the range that is sent lies behind the one asked for
    chunked: bool = False  # does not say how long the file is
    length: str | None = None  # what it says instead of how long the file is
    endless: bool = False  # never stops sending
    gate: threading.Event | None = None  # answers only when this is set
    log: list[tuple[str, str | None]] = field(default_factory=list)
    url: str = ""

    @property
    def asked(self) -> list[str | None]:
        return [wanted for _, wanted in self.log]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers["Range"]
        self.log.append((request.path, wanted))
        if self.gate:
            self.gate.wait(10)
        body = self.files.get(request.path)
        if body is None:
            request.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.ranges else None
        if start is not None and start >= len(body):
            request.send_error(416)
            return
        if start is None:
            request.send_response(200)
        else:
            start += self.wrong_start
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        rest = body[start or 0 :]
        if not self.chunked:
            length = str(10**12 if self.endless else len(rest)) if self.length is None else self.length
            request.send_header("Content-Length", length)
        request.end_headers()
        with suppress(ConnectionError):
            request.wfile.write(rest[: self.limit])
            while self.endless:
                request.wfile.write(bytes(1 << 16))


@pytest.fixture
def serve() -> Iterator:
    """Starts mirrors: serve(limit=100) -> Mirror."""
    servers: list[ThreadingHTTPServer] = []

    def start(**behaviour) -> Mirror:
        mirror = Mirror(**behaviour)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        mirror.url = f"http://127.0.0.1:{server.server_port}/file"
        return mirror

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def closed() -> str:
    """A URL where nobody listens."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{s.getsockname()[1]}/file"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "file"


@pytest.fixture
def seen() -> Iterator[list[tuple[int, int | None]]]:
    """What is reported of the progress: (done, total)."""
    calls: list[tuple[int, int | None]] = []
    with shown_by(lambda what, unit: nullcontext(lambda done, total: calls.append((done, total)))):
        yield calls


def part_of(target: Path) -> Path:
    return target.with_name("file.part")


def put_part(target: Path, content: bytes) -> None:
    target.parent.mkdir()
    part_of(target).write_bytes(content)


def assert_done(target: Path) -> None:
    assert target.read_bytes() == CONTENT
    assert not part_of(target).exists()


def test_fetch(serve, seen: list, target: Path) -> None:
    mirror = serve()
    assert fetch([mirror.url], target, SHA256, MOST) == target
    assert_done(target)
    assert seen[-1] == (len(CONTENT), len(CONTENT)) and seen == sorted(seen)


def test_what_is_there_is_not_fetched_again(serve, target: Path) -> None:
    mirror = serve()
    target.parent.mkdir()
    target.write_bytes(b"mine")
    fetch([mirror.url], target, SHA256, MOST)
    assert mirror.log == [] and [p.name for p in target.parent.iterdir()] == ["file"]


def test_broken_connection_is_resumed(serve, seen: list, target: Path) -> None:
    mirror = serve(limit=6000)
    fetch([mirror.url], target, SHA256, MOST)
    assert mirror.asked == [None, "bytes=6000-"]
    assert_done(target)
    assert seen[-1] == (10_000, 10_000) and {total for _, total in seen} == {10_000}


def test_broken_download_is_resumed_by_the_next_call(serve, target: Path) -> None:
    mirror = serve(limit=1500)
    with refused("4", "500", "10", "000", by=OSError):
        fetch([mirror.url], target, SHA256, MOST)
    assert part_of(target).read_bytes() == CONTENT[:4500] and not target.exists()
    mirror.limit = None
    fetch([mirror.url], target, SHA256, MOST)
    assert mirror.asked == [None, "bytes=1500-", "bytes=3000-", "bytes=4500-"]
    assert_done(target)


def test_another_mirror_resumes(serve, target: Path) -> None:
    first, second = serve(limit=2500), serve()
    fetch([first.url, second.url], target, SHA256, MOST)
    assert (first.asked, second.asked) == ([None], ["bytes=2500-"])
    assert_done(target)


def test_server_that_ignores_range(serve, target: Path) -> None:
    mirror = serve(ranges=False)
    put_part(target, CONTENT[:3000])
    fetch([mirror.url], target, SHA256, MOST)
    assert mirror.asked == ["bytes=3000-"]
    assert_done(target)


def test_server_that_sends_another_range(serve, target: Path) -> None:
    mirror = serve(wrong_start=-500)
    put_part(target, CONTENT[:3000])
    fetch([mirror.url], target, SHA256, MOST)
    assert mirror.asked == ["bytes=3000-"]
    assert_done(target)


def test_server_that_does_not_say_how_long(serve, seen: list, target: Path) -> None:
    mirror = serve(chunked=True)
    fetch([mirror.url], target, SHA256, MOST)
    assert_done(target)
    assert seen[-1] == (10_000, None)


def test_whole_part_needs_no_bytes(serve, target: Path) -> None:
    mirror = serve()
    put_part(target, CONTENT)
    fetch([mirror.url], target, SHA256, MOST)
    assert mirror.asked == ["bytes=10000-"]
    assert_done(target)


@pytest.mark.parametrize(
    "part", [b"x" * 3000, CONTENT + b"x", b"x" * 20_000], ids=["wrong", "longer", "both"]
)
def test_corrupt_part_is_dropped(serve, target: Path, part: bytes) -> None:
    mirror = serve()
    put_part(target, part)
    fetch([mirror.url], target, SHA256, MOST)
    assert mirror.asked == [f"bytes={len(part)}-", None]
    assert_done(target)


def test_wrong_content_is_refused_and_deleted(serve, target: Path) -> None:
    mirror = serve(files={"/file": b"<html>Welcome to the hotel</html>"})
    with refused("SHA-256", SHA256[:12], "deleted", by=OSError):
        fetch([mirror.url], target, SHA256, MOST)
    assert not target.exists() and not part_of(target).exists()


def test_mirrors_are_tried_in_turn(serve, closed: str, target: Path) -> None:
    lying, empty, good = serve(files={"/file": b"else"}), serve(files={}), serve()
    fetch([closed, lying.url, empty.url, good.url], target, SHA256, MOST)
    assert_done(target)
    assert len(lying.log) == len(empty.log) == len(good.log) == 1


def test_all_failures_stand_in_one_line(serve, closed: str, target: Path) -> None:
    missing = serve(files={})
    with refused("file", "127.0.0.1", "Connection refused", 404, by=OSError):
        fetch([closed, missing.url], target, SHA256, MOST)


def test_silent_server_times_out(serve, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.05)
    mirror = serve(gate=threading.Event())
    with refused(by=OSError):
        fetch([mirror.url], target, SHA256, MOST)
    mirror.gate.set()


def test_interrupted_download_keeps_its_part(serve, target: Path) -> None:
    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    mirror = serve()
    with pytest.raises(KeyboardInterrupt), shown_by(lambda what, unit: nullcontext(interrupt)):
        fetch([mirror.url], target, SHA256, MOST)
    held = part_of(target).stat().st_size
    assert held > 0
    fetch([mirror.url], target, SHA256, MOST)
    assert mirror.asked == [None, f"bytes={held}-"]
    assert_done(target)


def test_two_at_once_download_once(serve, target: Path) -> None:
    mirror = serve(gate=threading.Event())
    results: list[Path] = []
    threads = [
        threading.Thread(target=lambda: results.append(fetch([mirror.url], target, SHA256, MOST)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    mirror.gate.set()
    for thread in threads:
        thread.join(10)
    assert results == [target] * 4 and len(mirror.log) == 1
    assert_done(target)


@pytest.mark.parametrize("length", ["abc", "-1", "9" * 30, "1e4", ""])
def test_what_a_mirror_says_of_its_length_may_be_anything(serve, target: Path, length: str) -> None:
    lying, good = serve(length=length), serve()
    fetch([lying.url, good.url], target, SHA256, MOST)
    assert_done(target)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_mirror_that_never_stops_is_left(serve, target: Path, chunked: bool) -> None:
    endless, good = serve(endless=True, chunked=chunked), serve()
    fetch([endless.url, good.url], target, SHA256, MOST)
    assert_done(target)
    with pytest.raises(OSError) as caught:
        fetch([endless.url], target.with_name("other"), SHA256, MOST)
    assert f"{MOST:,}" in str(caught.value)
    assert target.with_name("other.part").stat().st_size == 0, "nothing of it is kept"


def test_progress_is_reported_to_whoever_shows_it(serve, target: Path) -> None:
    calls: list[tuple[object, ...]] = []

    @contextmanager
    def hook(what: str, unit: str) -> Iterator:
        calls.append((what, unit))
        yield lambda done, total: calls.append((done, total))

    with shown_by(hook):
        fetch([serve().url], target, SHA256, MOST)
    assert calls[0] == (f"downloading {target.parent.name}/{target.name}", "bytes")
    assert calls[-1] == (len(CONTENT), len(CONTENT))


# The data sets that are downloaded


def packed(kind: int, array: torch.Tensor) -> bytes:
    header = struct.pack(f">BBBB{kind}I", 0, 0, 8, kind, *array.shape)
    return gzip.compress(header + array.to(torch.uint8).numpy().tobytes())


@pytest.fixture
def tiny(serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    """MNIST from a local mirror: five images to train and three to test, of 2 x 2 pixels."""
    files = {}
    for prefix, n in (("train", 5), ("t10k", 3)):
        files[f"/{prefix}-images-idx3-ubyte.gz"] = packed(3, torch.arange(n * 4).reshape(n, 2, 2))
        files[f"/{prefix}-labels-idx1-ubyte.gz"] = packed(1, torch.arange(n))
    mirror = serve(files=files)
    sums = {name[1:]: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    root = mirror.url.removesuffix("file")
    monkeypatch.setattr(idx, "_MNIST", idx._Published("mnist", (root,), sums))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("ZEROSUM_DATA", raising=False)
    return mirror


def test_data_sets_are_downloaded_once(
    tiny: Mirror, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, again, test = data.mnist(), data.mnist(seed=1), data.mnist("test")
    assert (len(train), len(test), train.shape, train.classes) == (5, 3, (1, 2, 2), 5)
    assert torch.equal(train.pixels.flatten(), torch.arange(20, dtype=torch.uint8))
    assert torch.equal(train.pixels, again.pixels) and again.seed == 1
    assert sorted(path for path, _ in tiny.log) == sorted(tiny.files)
    assert {p.name for p in (tmp_path / "cache/zerosum/mnist").iterdir()} - {".lock"} == {
        p[1:] for p in tiny.files
    }
    assert capsys.readouterr() == ("", "")


def test_incomplete_folder_is_not_used(tiny: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZEROSUM_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist/train-images-idx3-ubyte").write_bytes(b"alone")
    assert len(data.mnist()) == 5


def test_without_a_network_the_message_says_what_to_do(
    tiny: Mirror, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreachable = idx._Published("mnist", (closed + "/",), idx._MNIST.sha256)
    monkeypatch.setattr(idx, "_MNIST", unreachable)
    files = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
    with refused("Connection refused", *files, "$ZEROSUM_DATA/mnist", "not set", by=OSError):
        data.mnist()


@pytest.mark.parametrize("published", [idx._MNIST, idx._FASHION_MNIST], ids=lambda p: p.name)
def test_published_tables_are_complete(published: idx._Published) -> None:
    names = {packed for part, _ in idx.SPLITS.values() for _, packed, *_ in idx._names(part)}
    assert set(published.sha256) == names
    assert all(len(bytes.fromhex(digest)) == 32 for digest in published.sha256.values())
    assert len(published.mirrors) > 1 and all(mirror.endswith("/") for mirror in published.mirrors)
