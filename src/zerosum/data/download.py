"""Download a file once, and know that it is the right one.

A broken download is resumed, also by a later process, also from another mirror: the part that has arrived
stays beside the destination as ``NAME.part``. Only a file with the right SHA-256 ever gets the destination's
name, so a file that exists is complete.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from zerosum.data.progress import Advance, progress

__all__ = ["fetch", "kept_in", "locked"]

ROUNDS = 3  # how often each mirror is asked: a connection that breaks off is resumed by the next request
TIMEOUT = 20.0  # seconds without a byte after which a server counts as dead
BLOCK = 1 << 16


def kept_in(name: str) -> Path:
    """The folder called so of the user's cache, ``$XDG_CACHE_HOME/zerosum`` (``~/.cache/zerosum``)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zerosum" / name


def fetch(urls: Sequence[str], destination: Path, sha256: str, most: int) -> Path:
    """Download `destination` from the first mirror that delivers a file with this SHA-256.

    Returns at once if `destination` exists. Several processes may ask for the same file: one downloads, the
    others wait for it (POSIX file locks).

    Arguments:
        urls: The mirrors of one file, in the order in which they are tried.
        destination: Where the file goes; missing folders are made.
        sha256: The SHA-256 of the file, in hexadecimal.
        most: The bytes after which a mirror is left: the file has no more.

    Raises:
        OSError: in one line, what went wrong with each mirror, after `ROUNDS` requests to each.
    """
    if destination.exists():
        return destination
    destination.parent.mkdir(parents=True, exist_ok=True)
    failures: dict[str, str] = {}
    name = f"downloading {destination.parent.name}/{destination.name}"
    with locked(destination.parent / ".lock"), progress(name, "bytes") as advance:
        for url in [*urls] * ROUNDS:
            try:
                if not destination.exists():  # another process may have brought it in the meantime
                    _attempt(url, destination, sha256, most, advance)
                return destination
            except (OSError, HTTPException) as error:
                failures[_site(url)] = _reason(error)
    reasons = "; ".join(f"{site}: {reason}" for site, reason in failures.items())
    raise OSError(f"could not download {destination.name} ({reasons})")


def _attempt(url: str, destination: Path, sha256: str, most: int, advance: Advance) -> None:
    """One request, for what the part file lacks; if that makes it the right file, it gets its name."""
    part = destination.with_name(destination.name + ".part")
    with part.open("ab") as file:
        _receive(url, file, most, advance)
        file.flush()
        os.fsync(file.fileno())
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        part.unlink()
        raise OSError(f"what came has SHA-256 {found[:12]}..., not {sha256[:12]}..., and was deleted")
    part.replace(destination)


def _receive(url: str, file: BinaryIO, most: int, advance: Advance) -> None:
    """Append to `file` the bytes that it lacks; it keeps no more than `most`."""
    held = file.seek(0, os.SEEK_END)
    headers = {"User-Agent": "zerosum", **({"Range": f"bytes={held}-"} if held else {})}
    try:
        response: HTTPResponse = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except HTTPError as error:
        error.close()
        if error.code == 416:  # nothing lies beyond what is held: the file is whole, its digest will tell
            return
        raise
    with response:
        done = _start(response)
        file.truncate(done)
        length = response.headers["Content-Length"]
        if length and not length.isdecimal():
            raise OSError(f"it says that it sends {length[:20]!r} bytes")
        total = done + int(length) if length else None
        while (total or done) <= most and (block := response.read(BLOCK)):
            file.write(block)
            done += len(block)
            advance(done, total)
        if max(done, total or 0) > most:
            file.truncate(0)
            raise OSError(f"it sends more than the {most:,} bytes that the file may have")
    if total is not None and done < total:
        raise OSError(f"the connection broke after {done:,} of {total:,} bytes")


def _start(response: HTTPResponse) -> int:
    """Where the bytes of a response belong: 0 for a server that sends the whole file whatever it is asked."""
    match = re.match(r"bytes (\d+)-", response.headers["Content-Range"] or "")
    return int(match[1]) if response.status == 206 and match else 0


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Only one process (and one thread) is inside at a time; the lock ends with its owner."""
    import fcntl

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _site(url: str) -> str:
    return urlsplit(url).netloc


def _reason(error: OSError | HTTPException) -> str:
    """The cause in one line: urllib wraps some errors, and some have no text."""
    cause = error.reason if isinstance(error, URLError) else error
    text = f"HTTP {error.code} {cause}" if isinstance(error, HTTPError) else str(cause)
    return " ".join(text.split()) or type(error).__name__
