"""What lies where in a folder of examples: its files, its splits, the classes of its files."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Collection, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

from zerosum.randomness import key

__all__ = ["File", "Layout", "class_folders", "layout", "stylegan_labels", "walk"]

SPLITS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "valid": ("valid", "val", "validation"),
}
"""The names of folders, in any case, that are taken for a split."""
DIVIDED_FROM = 10  # images: of fewer none is held out


class File(NamedTuple):
    path: str  # in the folder
    size: int
    modified: int  # nanoseconds


def walk(folder: Path, leave: Path) -> tuple[list[File], list[tuple[str, str]]]:
    """All files, sorted by path, and (path, cause) of what cannot be one. The folder `leave` is left out.

    Each folder is entered once, however many links lead to it, and by its own name if it has one in here.
    """
    files: list[File] = []
    skipped: list[tuple[str, str]] = []
    entered = {_identity(leave)} if leave.is_dir() else set[tuple[int, int]]()
    waiting = deque([(str(folder), "")])
    while waiting:
        place, prefix = waiting.popleft()
        try:
            identity = _identity(place)
            if identity in entered:
                continue
            entered.add(identity)
            with os.scandir(place) as scan:
                entries = sorted((e for e in scan if not e.name.startswith(".")), key=lambda e: e.name)
        except OSError as error:
            skipped.append((prefix, f"cannot be read: {error.strerror}"))
            continue
        for entry in entries:
            path = prefix + entry.name
            try:
                if entry.is_dir():  # links last: what they lead to may have a name in here
                    end = waiting.append if entry.is_symlink() else waiting.appendleft
                    end((entry.path, path + "/"))
                elif entry.is_file():
                    status = entry.stat()
                    files.append(File(path, status.st_size, status.st_mtime_ns))
                else:
                    broken = entry.is_symlink() and not os.path.exists(entry.path)  # noqa: PTH110
                    skipped.append((path, "broken link" if broken else "not a file"))
            except OSError as error:  # a link to itself, or a file that has just gone
                skipped.append((path, f"cannot be read: {error.strerror}"))
    return sorted(files), sorted(skipped)


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)  # noqa: PTH116
    return status.st_dev, status.st_ino


class Layout(NamedTuple):
    """What lies where in a folder: the paths of each split by hash, and what lies in none of them.

    One part with the name "" if the folder is not divided.
    """

    parts: dict[str, list[str]]
    outside: list[str]

    @property
    def paths(self) -> list[str]:
        """All paths, in the order of the rows."""
        return [path for paths in self.parts.values() for path in paths]

    def without(self, causes: Collection[str]) -> Layout:
        kept = {name: [path for path in paths if path not in causes] for name, paths in self.parts.items()}
        return Layout(kept, self.outside)

    def rows(self) -> dict[str, list[int]]:
        """The first and one past the last row of each split that has any."""
        parts = self.parts
        if paths := parts.get(""):
            chosen = sum(key(path) < 2**63 // 10 for path in paths)
            test = min(max(chosen, 1), len(paths) - 1) if len(paths) >= DIVIDED_FROM else 0
            parts = {"test": paths[:test], "train": paths[test:]}
        ends = [*accumulate(map(len, parts.values()), initial=0)]
        rows = dict(zip(parts, map(list, pairwise(ends)), strict=True)) | {"all": [0, ends[-1]]}
        return {
            name: rows[name] for name in (*SPLITS, "all") if name in rows and rows[name][0] < rows[name][1]
        }


def layout(paths: Sequence[str]) -> Layout:
    """How a folder is divided, by the names of its folders."""
    inside = len(_wrapping(paths))
    names = {alias: name for name, aliases in SPLITS.items() for alias in aliases}

    def split(path: str) -> str | None:
        folder, below, _ = path[inside:].partition("/")
        return names.get(folder.casefold()) if below else None

    tops = {split(path) for path in paths} - {None}
    ordered = sorted(paths, key=key)
    if "train" not in tops or len(tops) == 1:
        return Layout({"": ordered}, [])
    if "test" not in tops:  # then the one that there is, is held out
        names |= dict.fromkeys(SPLITS["valid"], "test")
    parts: dict[str, list[str]] = {name: [] for name in SPLITS}
    outside: list[str] = []
    for path in ordered:
        (parts[name] if (name := split(path)) else outside).append(path)
    return Layout({name: some for name, some in parts.items() if some}, outside)


def _wrapping(paths: Sequence[str]) -> str:
    """The folder, or folders one in another, that all paths lie in: "x/y/", or ""."""
    if not paths:
        return ""
    first, last = min(paths).split("/")[:-1], max(paths).split("/")[:-1]
    depth = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), None)
    common = first[: min(len(first), len(last)) if depth is None else depth]
    return "".join(name + "/" for name in common)


def class_folders(layout: Layout) -> list[str]:
    """The sub-folder of each row, below the folder of its split; "" for an image in none."""
    inside = len(_wrapping(layout.paths))
    inner = [path[inside:].split("/")["" not in layout.parts :] for path in layout.paths]
    return [names[0] if len(names) > 1 else "" for names in inner]


def stylegan_labels(folder: Path) -> dict[str, int] | None:
    """path -> label by ``dataset.json``; {} where it says that there are none, None without such a file.

    Raises ValueError where it has labels that are not whole numbers.
    """
    if not (folder / "dataset.json").is_file():
        return None
    try:
        found = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        labels = found["labels"]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):  # something else of this name
        return None
    try:
        pairs = [(str(path), label) for path, label in labels or ()]
    except (TypeError, ValueError):
        pairs = [("", None)]
    if not all(isinstance(label, int) for _, label in pairs):
        raise ValueError(f"{folder}/dataset.json: labels are a list of [path, whole number]")
    return dict(pairs)
