"""Files: read only where they are plain files, replaced whole or not at all.

What a run reads may come from a stranger, and what it writes must survive a kill at any instant. So a pipe,
a device or a directory in a file's place is an error and never waited for, and no link below a directory that
was received (`within`) is followed.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

__all__ = [
    "append",
    "beside",
    "flush",
    "flush_folder",
    "link_below",
    "listing",
    "read",
    "replacing",
    "sweep",
    "write",
]

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def link_below(root: Path, path: Path) -> Path | None:
    """The first link on the way from `root` (which may be one) down to `path`, or None."""
    inner = path.relative_to(root)
    ways = [root / part for part in (*reversed(inner.parents), inner) if part.parts]
    return next((way for way in ways if way.is_symlink()), None)


def read(path: Path, within: Path | None = None, start: int = 0) -> bytes:
    """A plain file from byte `start` on. Raises OSError for anything else, and for a link below `within`."""
    descriptor = _open(path, os.O_RDONLY, within)
    with os.fdopen(descriptor, "rb") as file:
        file.seek(start)
        return file.read()


def listing(folder: Path, within: Path | None = None) -> list[str]:
    """The names in a folder; none where there is no folder. Raises OSError where something else is, or where
    none may look."""
    if within is not None:
        _refuse_links(folder, within)
    try:
        return sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        if folder.is_symlink():
            raise
        return []


@contextmanager
def replacing(path: Path, within: Path | None = None) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of `path` at the end, whole, or not at all.

    The new file has the mode of the old one. A link is written through, and so is a device or a pipe, when
    all is there; below `within` these are refused.
    """
    if within is not None:
        _refuse_links(path, within)
    elif path.is_symlink():
        path = Path(os.path.realpath(path, strict=False))
    mode = path.stat().st_mode if path.exists() else None
    if mode is not None and not stat.S_ISREG(mode):
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if within is not None:
            _refuse_others(path, mode)
        with TemporaryFile() as whole:
            yield whole
            whole.seek(0)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_NONBLOCK), "wb") as node:
                os.set_blocking(node.fileno(), True)
                shutil.copyfileobj(whole, node)
        return
    temporary = beside(path)
    try:
        with temporary.open("wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(mode))
            yield file
            flush(file)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, content: bytes, within: Path | None = None) -> None:
    """Replace a file by new content: see `replacing`."""
    with replacing(path, within) as file:
        file.write(content)


def append(path: Path, record: Mapping[str, Any], within: Path | None = None) -> None:
    """Add a line to a file of JSON lines, whole or not at all.

    A last line that a killed process left unfinished is ended first.
    """
    descriptor = _open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, within)
    with os.fdopen(descriptor, "rb+", buffering=0) as file:
        size = os.fstat(descriptor).st_size
        cut = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        line = b"\n" * cut + json.dumps(record).encode() + b"\n"
        try:
            while line:
                line = line[file.write(line) :]
        except OSError:
            os.ftruncate(descriptor, size)
            raise


def sweep(folder: Path) -> None:
    """Remove what interrupted writes left behind: only for who alone writes to this folder."""
    for name in listing(folder):
        if name.startswith(".") and name.endswith(".writing"):
            left = folder / name
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()


def beside(path: Path) -> Path:
    """The temporary name of what is being written."""
    return path.with_name(f".{path.name}.{os.getpid()}.writing")


def flush(file: BinaryIO) -> None:
    """Down to the disk."""
    file.flush()
    os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """So that the names in it last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path, flags: int, within: Path | None) -> int:
    """The descriptor of a plain file; nothing else is opened for longer than it takes to tell."""
    if within is not None:
        _refuse_links(path, within)
    if path.exists():
        _refuse_others(path, path.stat().st_mode)  # opening a device can do something by itself
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    try:
        _refuse_others(path, os.fstat(descriptor).st_mode)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_links(path: Path, within: Path) -> None:
    link = link_below(within, path)
    if link is not None:
        raise OSError(errno.ELOOP, f"{link.name} is a link, and links in a run are not followed", str(path))


def _refuse_others(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        what = _KINDS.get(stat.S_IFMT(mode), "no plain file")
        raise OSError(errno.EINVAL, f"it is {what}, where a file should be", str(path))
