"""What a large table in text was read as, kept, so that the next start need not read it cell by cell again.

It is found by a digest of the file's bytes, so a file that has changed is another one, and a copy of it the
same. What is damaged, or of another form, is not taken: the text is read, as without it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerosum.data.download import kept_in
from zerosum.data.sheet import Cells, Coded, Sheet, Style

__all__ = ["read_once"]

SMALLEST = 1 << 23  # bytes of a file that is worth it
MOST = 8  # tables that are kept, the newest
SIZE = 16  # bytes of a digest, with which a kept table begins
FORM = 3  # of what is kept, and of what the reader makes of text

Array = NDArray[Any]


def read_once(path: Path, header: bool | None, read: Callable[[Path, bool | None], Sheet]) -> Sheet:
    """``read(path, header)``, or the same from ``$XDG_CACHE_HOME/zerosum/tables`` (``~/.cache/...``)."""
    if not path.is_file() or path.stat().st_size < SMALLEST:
        return read(path, header)
    with path.open("rb") as file:
        digest = _digest(file).hex()
    name = f"{digest}-{header}-{path.name.lower().endswith('.gz')}-{FORM}.npz"
    home = kept_in("tables")
    try:
        return _load(home / name)
    except Exception:  # there is none, or whatever numpy raises at a damaged one
        sheet = read(path, header)
    with contextlib.suppress(OSError):  # a disk that is full or read-only: the next start reads again
        _keep(home / name, sheet)
    return sheet


def _load(path: Path) -> Sheet:
    with path.open("rb") as file:
        if file.read(SIZE) != _digest(file):
            raise ValueError("damaged")
        file.seek(SIZE)
        kept = np.load(file)
        about = json.loads(kept["about"].tobytes())
        columns: dict[str, Cells] = {}
        for j, name in enumerate(about["names"]):
            array = kept[f"cells{j}"]
            values = json.loads(kept[f"values{j}"].tobytes()) if f"values{j}" in kept else None
            columns[name] = array if values is None else Coded(array, tuple(values))
    separator, numbers, *others = about["style"]
    return Sheet(columns, tuple(about["notes"]), Style(separator, tuple(map(tuple, numbers)), *others))


def _keep(path: Path, sheet: Sheet) -> None:
    arrays: dict[str, Array] = {
        "about": _bytes({"names": list(sheet), "notes": list(sheet.notes), "style": sheet.style})
    }
    for j, cells in enumerate(sheet.columns.values()):
        arrays[f"cells{j}"] = cells.codes if isinstance(cells, Coded) else cells
        if isinstance(cells, Coded):
            arrays[f"values{j}"] = _bytes(cells.values)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".part-") as part:
        with Path(part, path.name).open("w+b") as file:
            file.write(bytes(SIZE))
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
            file.seek(SIZE)
            digest = _digest(file)
            file.seek(0)
            file.write(digest)
        Path(part, path.name).replace(path)
    newest = sorted(path.parent.glob("*.npz"), key=lambda kept: kept.stat().st_mtime, reverse=True)
    for old in newest[MOST:]:
        old.unlink(missing_ok=True)


def _digest(file: Any) -> bytes:
    """Of all that follows in the file."""
    return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=SIZE)).digest()


def _bytes(content: Any) -> Array:
    return np.frombuffer(json.dumps(content).encode(), dtype=np.uint8)
