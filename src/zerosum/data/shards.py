"""Shards: images in Parquet files, in a folder or at an address, more of them than one disk holds.

The unit that is read is the row group. Which file has how many rows in which group is read once, from the
ends of the files; after that a batch fetches the groups that its rows are in, and a few groups are kept. The
order of visiting follows from (seed, step) alone, so that nothing has to be saved to resume.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zerosum.data.folder import ImageFolder
from zerosum.data.hub import image_column
from zerosum.data.image_files import Bad, Form, header, infer, read
from zerosum.data.parquet import Files, Reader, Rows, StoredImages
from zerosum.data.readers import from_arrow, join_names
from zerosum.data.splits import classes, usable_rows
from zerosum.data.tables import Choice, Table, located, table
from zerosum.randomness import stream
from zerosum.text import printable

__all__ = ["Shards", "shards"]

Array = NDArray[Any]

LOOKED_AT = 256  # images whose headers say what size and channels all are given


@dataclass(frozen=True, eq=False)
class Shards(ImageFolder):
    """The images of shards, made by `shards`; a batch reads the row groups that its own rows are in.

    Arguments:
        window: From how many places of the data a batch is mixed, at most.
    """

    _: KW_ONLY
    window: int = 16

    def places(self, step: int, n: int, rank: int, world: int) -> Tensor:
        """Which examples make up the rank-th of `world` parts of batch (step, n): int64 [n / world].

        In an epoch all row groups come in an order of their own, and within a group all of its rows. That
        sequence is cut into `window` strips of equal length, from each of which a batch takes its share, in
        the order of the strips: so a rank reads the groups of its own strips, and every example comes once
        per epoch.
        """
        self.stored.strips = -(-self.window // world)
        return strips(self.stored.ends, self.window, self.seed, step, n).chunk(world)[rank]

    def held(self, rows: Tensor) -> tuple[Tensor, Tensor | None]:
        with located(self.stored.rows.files.address):
            pixels, rows = self.stored.decoded(rows)
        return pixels, None if self.labels is None else self.labels.index_select(0, rows)

    @property
    def stored(self) -> StoredImages:
        """The pixels, as what reads them."""
        assert isinstance(self.pixels, StoredImages)
        return self.pixels


def strips(ends: Array, window: int, seed: int, step: int, n: int) -> Tensor:
    """Which examples make up batch `step`, of groups that end before the examples `ends`: int64 [n]."""
    length, groups = int(ends[-1]), len(ends)
    window = min(window, groups)
    places = np.arange(step * n, (step + 1) * n)
    epochs, places = places // length, places % length
    strip, within = places % window, places // window
    order = np.argsort(epochs * window + strip, kind="stable")
    starts = strip * (length // window) + np.minimum(strip, length % window) + within
    chosen = np.empty(n, np.int64)
    for epoch in np.unique(epochs):
        visited, last = _visits(ends.tobytes(), seed, int(epoch))
        here = np.flatnonzero(epochs == epoch)
        visit = np.searchsorted(last, starts[here], side="right")
        for which in np.unique(visit):
            group, mine = int(visited[which]), here[visit == which]
            first = int(ends[group - 1]) if group else 0
            rows = _permuted(int(ends[group]) - first, seed, int(epoch), group)
            chosen[mine] = first + rows[starts[mine] - (last[which] - len(rows))]
    return torch.from_numpy(chosen[order])


@lru_cache(maxsize=4)
def _visits(ends: bytes, seed: int, epoch: int) -> tuple[Array, Array]:
    """The order in which an epoch visits the groups, and how many examples it has seen after each."""
    sizes = np.diff(np.frombuffer(ends, np.int64), prepend=0)
    visited = torch.randperm(len(sizes), generator=stream(seed, epoch, "row groups")).numpy()
    return visited, np.cumsum(sizes[visited])


@lru_cache(maxsize=256)
def _permuted(size: int, seed: int, epoch: int, group: int) -> Array:
    return torch.randperm(size, generator=stream(seed, epoch, "row group", group)).numpy()


def shards(
    path: str,
    split: str = "train",
    *,
    image: str | None = None,
    label: str | None = None,
    size: int | tuple[int, int] | Literal["same"] | None = None,
    channels: Literal[1, 2, 3, 4] | None = None,
    fit: Literal["crop", "fit"] = "crop",
    flip: bool = False,
    window: int = 16,
    columns: Choice | None = None,
    missing: str = "keep",
    encoding: str = "standard",
    low: float = -1.0,
    high: float = 1.0,
    seed: int = 0,
) -> Shards | Table:
    """The Parquet files of a folder or of an address: images if a column holds them, else a `Table`.

    Needs ``pip install 'zerosum[data]'``. Addresses are those of fsspec: ``s3://bucket/photos``,
    ``gs://...``, ``https://...``, ``hf://datasets/owner/name``, ``memory://...``; some need a package more,
    which the error names. Images are files of images in a column of bytes, or ``{bytes, path}`` as the
    Hugging Face hub has them; they are read when a batch needs them, a row group at a time, and never all
    held. A table is read whole, into memory.

    Splits: files, or folders, whose names begin with ``train``, ``test`` or ``validation`` (``valid``,
    ``val``) are these; where there are none, a tenth of each row group is "test".

    Arguments:
        path: A folder, a file or an address.
        split: "train", "test", "valid" where there is one, or "all".
        image: The column of images, where there are several.
        label: The column of classes; by default the one that the data declare as such, or ``label``.
        size, channels, fit, flip: As of `image_folder`; what is inferred is inferred from some of the images.
        window: How many row groups a batch is mixed from, at most; so many are kept in memory, by each rank
            its share.
        missing: "drop" leaves out images without a label, and puts another of its row group in the place of
            an image that cannot be read, where either is an error otherwise.
        columns, encoding: Of a table, as of `file`.
        low, high, seed: As of `image_folder`.

    Raises:
        ValueError: in one line that begins with the path: nothing there, no connection, no such column, a
            file that is no Parquet or is damaged, an image that cannot be read, a package that the address
            needs.
        ImportError: if pyarrow or, for an address, fsspec is not installed.
    """
    with located(path):
        if window < 1:
            raise ValueError(f"window is a number of row groups, 1 or more: got {window}")
        form = Form.of(size, channels, fit)
        files = Files(path)
        column = image_column(files.of_images, image, columns)
        label = label or files.of_classes
        for name in filter(None, (column, label)):
            files.require(name)
        names = files.declared.get(label or "", {}).get("names")
        parts = files.parts()
        if column is None:
            whole = [*(g for name, some in parts.items() if name != "test" for g in some)]
            held = parts.get("test", [])
            sheet = from_arrow(files.table([*whole, *held], None))
            test_from = sum(files.groups[g].rows for g in whole) if held else None
            class_names = names and tuple(names)
            return table(sheet, label, columns, encoding, missing, seed, test_from, class_names, split)
        about = {"low": low, "high": high, "seed": seed, "flip": flip, "window": window}
        return _images(files, parts, column, label, names, form, missing, **about)(split)


def _images(
    files: Files,
    parts: dict[str, list[int]],
    column: str,
    label: str | None,
    names: Sequence[str] | None,
    form: Form,
    missing: str,
    **about: Any,
) -> Callable[[str], Shards]:
    """The images of these files, in their splits."""
    codes, class_names, usable = None, tuple[str, ...](), None
    if label is not None:
        sheet = from_arrow(files.table(range(len(files.groups)), [label]))
        codes, class_names = classes(sheet, label, names and tuple(names))
        if codes is not None:
            usable = np.zeros(len(sheet), dtype=bool)
            usable[usable_rows(sheet, label, codes, missing)] = True
    reader = Reader(files, column)
    divided = {name: Rows(files, groups, usable) for name, groups in parts.items()}
    if everything := parts.get(""):
        divided = {name: Rows(files, everything, usable, name == "test") for name in ("train", "test")}
    divided["all"] = Rows(files, sorted({g for some in parts.values() for g in some}), usable)
    divided = {name: rows for name, rows in divided.items() if len(rows)}
    shape = _shape(reader, divided["all"], form)
    fingerprint = hashlib.blake2b(f"{files.digest} {column} {label} {shape}".encode(), digest_size=8)
    notes = _notes(files, divided, shape, class_names, form)

    def opener(name: str) -> Shards:
        if name not in divided:
            raise ValueError(f"these images have no split {name!r}, only {', '.join(divided)}")
        rows = divided[name]
        stored = StoredImages(reader, rows, shape, form.fit, missing == "drop")
        return Shards(
            stored,  # pyright: ignore[reportArgumentType]
            None if codes is None else torch.from_numpy(codes[rows.numbers()]),
            split_name=name,
            class_names=class_names,
            splits=tuple(divided),
            opener=opener,
            checksum=fingerprint.hexdigest(),
            notes=notes,
            **about,
        )

    return opener


def _shape(reader: Reader, rows: Rows, form: Form) -> tuple[int, int, int]:
    """The shape of all, by some of the images where it is to be inferred."""
    if isinstance(form.size, tuple) and form.channels:
        return form.channels, *form.size
    groups = rows.groups[:: -(-len(rows.groups) // 8)]
    each_one = max(1, LOOKED_AT // len(groups))
    files = [file for group in groups for file in reader.fetch([group])[group][:each_one].to_pylist() if file]
    found = [result for file in files if not isinstance(result := read(header, file), Bad)]
    if not found:
        raise ValueError(f"no image can be read: of {len(files)} the first is {read(header, files[0])}")
    return infer(found, form, lambda i: files[i])


def _notes(
    files: Files,
    divided: Mapping[str, Rows],
    shape: tuple[int, int, int],
    class_names: Sequence[str],
    form: Form,
) -> tuple[str, ...]:
    inferred = [name for name in ("size", "channels") if getattr(form, name) is None]
    chosen = f" ({' and '.join(inferred)} inferred from {LOOKED_AT} or less)" if inferred else ""
    labels = f"{len(class_names)} classes" if class_names else "no labels"
    parts = ", ".join(f"{len(rows):,} {name}" for name, rows in divided.items() if name != "all")
    about = f"{len(divided['all']):,} images of {' x '.join(map(str, shape))}{chosen}, {labels}; {parts}"
    where = f"{len(files.names):,} files in {len(files.groups):,} row groups"
    notes = [f"{printable(files.address)}: {about}; {where}"]
    if files.outside:
        notes.append(f"warning: files outside of the splits are left out: {join_names(files.outside)}")
    return tuple(notes)
