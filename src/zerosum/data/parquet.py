"""Parquet files in a folder or at an address: their row groups, and the images that are stored in them."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from importlib import import_module
from io import BytesIO
from itertools import islice
from os import walk
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zerosum.data.image_files import THREADS, Bad, decode, each, header, read
from zerosum.data.layout import DIVIDED_FROM, SPLITS, layout
from zerosum.data.progress import progress
from zerosum.data.readers import foreign, join_names, one_line, optional
from zerosum.randomness import stream

__all__ = ["Files", "Reader", "Rows", "StoredImages", "holds_images"]

Array = NDArray[Any]


class Group(NamedTuple):
    """A row group: of the i-th file, its number there, how many rows it has, how many are before it."""

    file: int
    number: int
    rows: int
    first: int


class Files:
    """The Parquet files of a folder, a file or an address, and what their ends say of them."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.parquet = optional("pyarrow.parquet", "pyarrow")
        self.remote, self.root, self.names = _listed(address)
        if not self.names:
            raise ValueError("there is no Parquet file (*.parquet)")
        with ThreadPoolExecutor(THREADS) as pool, progress(f"{address}: looking at", "files") as advance:
            self.ends: list[Any] = []
            for end in pool.map(self._end, self.names):
                self.ends.append(end)
                advance(len(self.ends), len(self.names))
        self.groups: list[Group] = []
        self.outside: list[str] = []
        first, digest = 0, hashlib.blake2b(digest_size=8)
        for i, (name, end) in enumerate(zip(self.names, self.ends, strict=True)):
            said = BytesIO()
            end.write_metadata_file(said)
            digest.update(f"{name}\0".encode() + said.getvalue())
            for number in range(end.num_row_groups):
                rows = end.row_group(number).num_rows
                self.groups += [Group(i, number, rows, first)] * (rows > 0)
                first += rows
        self.rows, self.digest = first, digest.hexdigest()
        if not self.groups:
            raise ValueError("its files have no rows")

    def _end(self, name: str) -> Any:
        with foreign(f"{name or self.address} cannot be read as Parquet"), self.open(name) as file:
            return self.parquet.ParquetFile(file).metadata

    def open(self, name: str) -> Any:
        if self.remote is not None:
            return self.remote.open(f"{self.root}/{name}" if name else self.root, "rb")
        return import_module("pyarrow").OSFile(str(Path(self.root) / name))

    def read(self, group: int, columns: Sequence[str] | None) -> Any:
        """A row group as an Arrow table. Raises ValueError where it cannot be read."""
        file, number, rows, _ = self.groups[group]
        name = self.names[file] or self.address
        with foreign(f"{name}: row group {number} cannot be read"), self.open(self.names[file]) as opened:
            found = self.parquet.ParquetFile(opened, metadata=self.ends[file])
            read = found.read_row_group(number, columns=columns)
            if len(read) != rows:
                raise ValueError(f"it has {len(read)} rows instead of {rows}")
            return read

    def table(self, groups: Sequence[int], columns: Sequence[str] | None) -> Any:
        """These row groups as one table, in memory."""
        arrow = import_module("pyarrow")
        read = partial(self.read, columns=columns)
        with ThreadPoolExecutor(THREADS) as pool, progress(f"{self.address}: reading", "files") as advance:
            tables: list[Any] = []
            for part in pool.map(read, groups):
                tables.append(part)
                advance(len(tables), len(groups))
        with foreign("its files do not fit together"):
            return arrow.concat_tables(tables, promote_options="permissive")

    @cached_property
    def declared(self) -> dict[str, Any]:
        """What the Hugging Face library has written down of the columns, by their names."""
        with foreign("what is said of its columns cannot be read"):
            return _declared(self.ends[0].metadata)

    @cached_property
    def of_images(self) -> list[str]:
        """The columns that hold files of images: bytes, or records that have them."""
        name = self.names[0]
        with foreign(f"{name or self.address} cannot be read as Parquet"), self.open(name) as file:
            return _of_images(self.parquet.ParquetFile(file, metadata=self.ends[0]))

    @property
    def of_classes(self) -> str | None:
        """The column of classes: the only one declared as such, else whole numbers called "label"."""
        found = [name for name, kind in self.declared.items() if kind.get("_type") == "ClassLabel"]
        schema, types = self.ends[0].schema.to_arrow_schema(), import_module("pyarrow").types
        if not found and "label" in schema.names and types.is_integer(schema.field("label").type):
            return "label"
        return found[0] if len(found) == 1 else None

    def require(self, column: str) -> None:
        """Raise ValueError unless every file has this column."""
        for name, end in zip(self.names, self.ends, strict=True):
            there = end.schema.to_arrow_schema().names
            if column not in there:
                raise ValueError(f"{name}: there is no column {column!r}: there are {join_names(there)}")

    def parts(self) -> dict[str, list[int]]:
        """The row groups of each split, by the names of files and folders; all as "" where none say it."""
        aliases = {alias for some in SPLITS.values() for alias in some}

        def in_folder(name: str) -> str:
            word = re.match("[a-z]*", name.rsplit("/", 1)[-1].casefold())
            return f"{word[0]}/{name}" if word and word[0] in aliases else name

        names = {in_folder(name): i for i, name in enumerate(self.names)}
        found = layout(list(names))
        self.outside = [self.names[names[name]] for name in found.outside]
        sides = {name: {names[path] for path in some} for name, some in found.parts.items()}
        return {
            name: [g for g, group in enumerate(self.groups) if group.file in some]
            for name, some in sides.items()
        }


def _listed(address: str) -> tuple[Any, str, list[str]]:
    """The file system (None: this machine's), what is below it, and the Parquet files there, [""] for one."""
    if "://" not in address:
        root = Path(address).expanduser()
        if not root.exists():
            raise ValueError("there is no such folder or file")
        found = sorted(root.rglob("*.parquet")) if root.is_dir() else [root]
        names = [path.relative_to(root).as_posix() for path in found]
        return None, str(root), ["" if name == "." else name for name in names if not _is_hidden(name)]
    fsspec = optional("fsspec", "fsspec")
    try:
        remote, root = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise ValueError(f"such an address needs one package more: {one_line(error)}") from error
    with foreign("nothing can be read there, or there is no connection"):
        root = root.rstrip("/")
        if root.endswith(".parquet") and remote.isfile(root):
            return remote, root, [""]
        remote.ls(root)  # which says why it cannot, where `find` finds nothing
        names = [str(name).removeprefix(root).lstrip("/") for name in remote.find(root)]
    return remote, root, sorted(name for name in names if name.endswith(".parquet") and not _is_hidden(name))


def _is_hidden(name: str) -> bool:
    return name != "." and any(part.startswith((".", "_")) for part in name.split("/"))


def _declared(metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
    return json.loads((metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})


def _of_images(file: Any) -> list[str]:
    """The columns of images: those that are declared so; or of bytes, the first of which are an image."""
    if declared := _declared(file.metadata.metadata):
        return [name for name, kind in declared.items() if kind.get("_type") == "Image"]
    types, found = import_module("pyarrow").types, list[str]()
    for field in file.schema_arrow:
        inner = field.type
        if types.is_struct(inner) and inner.get_field_index("bytes") >= 0:
            inner = inner.field("bytes").type
        if types.is_binary(inner) or types.is_large_binary(inner):
            few = next(file.iter_batches(16, columns=[field.name]), None)
            cells = [] if few is None else [cell for cell in _bytes_of(few.column(0)).to_pylist() if cell]
            found += [field.name] * (bool(cells) and not isinstance(read(header, cells[0]), Bad))
    return found


def _bytes_of(column: Any) -> Any:
    """The bytes of a column that holds them, or records of them: an Arrow array."""
    return column.field("bytes") if import_module("pyarrow").types.is_struct(column.type) else column


def holds_images(path: Path) -> bool:
    """Whether a Parquet file, or the first of a folder, has a column of images."""
    if path.is_dir():
        names = (Path(top) / name for top, _, files in islice(walk(path), 64) for name in sorted(files))
        path = next((name for name in names if name.suffix == ".parquet"), path)
    if path.suffix != ".parquet" or not path.is_file():
        return False
    try:
        with import_module("pyarrow.parquet").ParquetFile(path) as file:
            return bool(_of_images(file))
    except Exception:  # whoever reads it says what is wrong
        return False


class Reader:
    """The files of images in row groups, of which those that were asked for last are kept."""

    def __init__(self, files: Files, column: str) -> None:
        self.files, self.column = files, column
        self.held: OrderedDict[int, Any] = OrderedDict()
        self.lock = threading.Lock()

    def fetch(self, groups: Sequence[int], keep: int = 1) -> dict[int, Any]:
        """The cells of these row groups, Arrow arrays of bytes. They stay, and of others so many that were
        used last that there are `keep` in all.
        """
        with self.lock:
            lacking = [group for group in groups if group not in self.held]
            if len(lacking) > 1:
                with ThreadPoolExecutor(min(THREADS, len(lacking))) as pool:
                    self.held.update(zip(lacking, pool.map(self.cells, lacking), strict=True))
            elif lacking:
                self.held[lacking[0]] = self.cells(lacking[0])
            found = {group: self.held[group] for group in groups}
            for group in groups:
                self.held.move_to_end(group)
            while len(self.held) > max(keep, len(groups)):
                self.held.popitem(last=False)
            return found

    def cells(self, group: int) -> Any:
        column = self.files.read(group, [self.column]).column(0).combine_chunks()
        return _bytes_of(column.combine_chunks() if hasattr(column, "num_chunks") else column)


class Rows:
    """The rows of a split, in the order of the files. held_out: only the tenth of each group that is held out
    (True), or the rest (False); None for all. usable: which rows of all files may be used; None for all.
    """

    def __init__(
        self, files: Files, groups: Sequence[int], usable: Array | None = None, held_out: bool | None = None
    ) -> None:
        self.files, self.usable, self.held_out = files, usable, held_out
        sizes = np.array([self._size(group) for group in groups], dtype=np.int64)
        self.groups = [group for group, size in zip(groups, sizes, strict=True) if size]
        self.ends: Array = np.cumsum(sizes[sizes > 0])

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0

    def _size(self, group: int) -> int:
        if self.usable is not None:
            return len(self.within(group))
        rows = self.files.groups[group].rows
        test = self._tenth(group)
        return {None: rows, True: test, False: rows - test}[self.held_out]

    def _tenth(self, group: int) -> int:
        """How many rows of a group are held out: of all groups up to here together a tenth."""
        _, _, rows, first = self.files.groups[group]
        return (first + rows) // 10 - first // 10 if self.files.rows >= DIVIDED_FROM else 0

    def within(self, group: int) -> Array:
        """The rows of a group that belong to this split, by their places in the group."""
        _, _, rows, first = self.files.groups[group]
        found = np.arange(rows)
        if self.held_out is not None:
            shuffled = torch.randperm(rows, generator=stream("shards", "split", group)).numpy()
            test = self._tenth(group)
            found = np.sort(shuffled[:test] if self.held_out else shuffled[test:])
        return found if self.usable is None else found[self.usable[first + found]]

    def numbers(self) -> Array:
        """Which rows of all files these are, int64 [n]."""
        return np.concatenate([self.files.groups[g].first + self.within(g) for g in self.groups])


class StoredImages:
    """The images of a split, uint8 [N, C, H, W], which are read and decoded when they are asked for.

    strips: from how many places at once rows are asked for, again and again: of each the present row group
    stays in memory, and for a while the one before.
    """

    dtype = torch.uint8

    def __init__(
        self, reader: Reader, rows: Rows, shape: tuple[int, int, int], fit: str, replacing: bool
    ) -> None:
        self.reader, self.rows, self.replacing = reader, rows, replacing
        self.ends = rows.ends
        self.shape = torch.Size([len(rows), *shape])
        self.decode: Callable[[Any], bytes] = partial(decode, shape=shape, fit=fit)
        self.strips = 1

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def numel(self) -> int:
        return self.shape.numel()

    def __getitem__(self, rows: slice) -> Tensor:
        return self.index_select(0, torch.arange(*rows.indices(len(self))))

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """As `Tensor.index_select` along axis 0, the only one."""
        return self.decoded(rows)[0]

    def decoded(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The images of these rows, and which rows they are: other ones for those that cannot be read."""
        wanted = rows.numpy()
        which = np.searchsorted(self.ends, wanted, side="right")
        files: list[Any] = [None] * len(wanted)
        groups = np.unique(which)
        for some in np.split(groups, range(2 * self.strips, len(groups), 2 * self.strips)):
            cells = self.reader.fetch([self.rows.groups[i] for i in some], self.strips + 2)
            for i in some:
                here, group = np.flatnonzero(which == i), self.rows.groups[i]
                places = self.rows.within(group)[wanted[here] - self._first(i)]
                for at, row in zip(here, places, strict=True):
                    files[at] = cells[group][int(row)].as_py() or b""
        images = torch.empty(len(wanted), *self.shape[1:], dtype=torch.uint8)
        taken = wanted.copy()
        results = each(self.decode, range(len(files)), files.__getitem__)
        for at, result in enumerate(results):
            if isinstance(result, Bad):
                taken[at], result = self._other(int(which[at]), int(wanted[at]), result.cause)
            images[at] = torch.frombuffer(bytearray(result), dtype=torch.uint8).view(self.shape[1:])
        return images, torch.from_numpy(taken)

    def _first(self, i: int) -> int:
        return int(self.ends[i - 1]) if i else 0

    def _other(self, i: int, row: int, cause: str) -> tuple[int, bytes]:
        """The next row of the group whose image can be read, and that image."""
        first, group = self._first(i), self.rows.groups[i]
        places, begin = self.rows.within(group), row - first
        file, number, *_ = self.rows.files.groups[group]
        name = self.rows.files.names[file] or self.rows.files.address
        where = f"{name}: row group {number}, row {places[begin]}: the image cannot be read: {cause}"
        if not self.replacing:
            raise ValueError(f"{where}: missing=drop puts another one in its place")
        cells = self.reader.fetch([group], self.strips + 2)[group]
        for k in range(1, len(places)):
            at = (begin + k) % len(places)
            result = read(self.decode, cells[int(places[at])].as_py() or b"")
            if not isinstance(result, Bad):
                return first + at, result
        raise ValueError(f"{where}, nor can any other of its group")
