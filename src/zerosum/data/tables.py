"""Tables: rows of named columns that somebody has, as a source.

A file is read once for all its splits. What a column holds is recognised (`zerosum.data.kinds`) and told in
`Table.notes`; what the players see, and the way back, is `zerosum.data.columns`. Rows are counted from 1, a
header is not a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zerosum.data.array_files import channels_first, read_npy, read_npz, sheet_of_array
from zerosum.data.arrays import Finite, Images, Split, shipped
from zerosum.data.columns import Columns, Packed
from zerosum.data.frames import categorical as categorical_columns
from zerosum.data.frames import from_frame
from zerosum.data.image_files import SUFFIXES
from zerosum.data.kinds import describe, fit, form_of
from zerosum.data.parsed import read_once
from zerosum.data.readers import TEXT, join_names, one_line, read_parquet, read_text
from zerosum.data.rows import FileRows
from zerosum.data.sheet import Cells, Coded, Sheet
from zerosum.data.source import order
from zerosum.data.splits import SPLITS, check_choice, classes, divide, rows_of, usable_rows
from zerosum.data.where import Where, conditions, rows_that_meet
from zerosum.randomness import stream
from zerosum.text import printable

__all__ = ["ENDINGS", "Table", "file", "frame", "holds_tables", "iris", "read_sheet"]

Array = NDArray[Any]
Choice = Sequence[str | int] | Mapping[str | int, str] | str | int

ENDINGS = ".npy", ".npz", ".parquet", *TEXT


@dataclass(frozen=True, eq=False)
class Table(Split, Finite):
    """A table as a source: its rows in memory, packed, and the codec of its columns.

    Arguments:
        sheet, packed: All rows of the table, as they are in the file and as they are held.
        columns: What its columns are.
        places: int64 [N], which of the rows this split has.
        labels: int64 [N], of these rows, or None.
        seed, and the rest: As of `Finite`.
    """

    sheet: Sheet
    packed: Packed
    columns: Columns
    places: Tensor
    labels: Tensor | None = None

    @property
    def codec(self) -> Columns:
        return self.columns

    @property
    def values(self) -> Sheet:
        """The rows of the split as the file has them, N of them."""
        return self.sheet.only(self.codec.names).take(self.places.numpy())

    def __len__(self) -> int:
        return len(self.places)

    def with_rows(self, sheet: Sheet) -> Table:
        """Other rows of the same columns, as a source without splits. Raises ValueError for other columns."""
        for name in self.codec.names:
            if name not in sheet.columns:
                raise ValueError(f"the rows that are held out have no column {printable(name)!r}")
        sheet = sheet.only(self.codec.names)
        places = torch.arange(len(sheet))
        packed = self.codec.pack(sheet)
        return replace(self, sheet=sheet, packed=packed, places=places, labels=None, splits=(), opener=None)

    def only_where(self, where: Where) -> Table:
        """The rows of the split that meet conditions (`zerosum.data.where`), as a source without splits.

        Raises ValueError as `conditions` does, and where no row meets them.
        """
        met = rows_that_meet(self.values, conditions(where, self.codec))
        if not met.any():
            raise ValueError(f"no row of the split {self.split_name!r} meets {printable(where)}")
        rows = torch.from_numpy(np.flatnonzero(met))
        labels = None if self.labels is None else self.labels[rows]
        return replace(self, places=self.places[rows], labels=labels, splits=(), opener=None)

    def split(self, name: str) -> Table:
        """The same table, other rows: nothing is read again."""
        return cast("Table", super().split(name))

    @cached_property
    def _fingerprint(self) -> str:
        """A digest of the cells of all columns, the label's too, and of their names and order."""
        return self.sheet.fingerprint

    def at(self, rows: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor | None]:
        """The examples of these rows of the split, int64 [n]: x float32 [n, d], and y int64 [n] or None."""
        x = self.codec.expand(self.packed.take(self.places[rows]), generator or stream("ties"))
        return x, None if self.labels is None else self.labels[rows]

    def batch(self, step: int, n: int) -> tuple[Tensor, Tensor | None]:
        """x float32 [n, d] and y int64 [n], in the order of `zerosum.data.order`; ties are spread anew."""
        return self.at(order(len(self), self.seed, step, n), stream(self.seed, step, "ties"))


def file(
    path: str | Path,
    split: str = "train",
    *,
    label: str | int | None = None,
    columns: Choice | None = None,
    encoding: str = "standard",
    header: bool | None = None,
    array: str | None = None,
    missing: str = "keep",
    low: float = -1.0,
    high: float = 1.0,
    seed: int = 0,
) -> Images | Table:
    """The source in a file: rows of columns give a `Table`, uint8 images `Images`.

    ``.csv`` and ``.tsv``, perhaps gzipped, are text with commas, semicolons, tabs or bars; ``.parquet`` needs
    ``pip install 'zerosum[data]'``; a folder of such files is one table in parts. ``.npy`` and ``.npz`` hold
    numbers [N, d] or [N], or uint8 images [N, H, W], [N, H, W, C] or [N, C, H, W] with 1 to 16 channels.
    Columns without a name are called 0, 1, ...

    A tenth of the rows is the "test" part, chosen at random once for all (by the number of rows alone, so
    neither `seed` nor the format matters); "train" is the rest and "all" is the whole file.

    Arguments:
        label: The column of classes, whole numbers or text, which become 0, 1, ... in sorted order. In an
            ``.npz``, an array [N]; one called y or labels is found without being named.
        columns: The columns to learn, all but the label by default; or what columns are, by name:
            ``{age: whole, zip: category}``, one of number, whole, date, category, identifier or leave out.
        encoding: What the players see of numbers: "standard" or "ranks" (`zerosum.data.columns`).
        header: Whether the first row of text names the columns, where that is not plain.
        array: Which array of an ``.npz`` holds the examples, where it is not the only one.
        missing: "keep": missing cells are part of the table, and of samples; "drop" leaves out the rows that
            have any; "error" refuses them.
        low, high: What the bytes 0 and 255 of images become.
        seed: The seed of the order of batches.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: in one line that begins with the path: rows of different lengths, no such column; a
            damaged file, one with pickled objects, or one without rows.
        ImportError: if pyarrow is not installed and the file is ``.parquet``.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "iris.csv")
    >>> _ = path.write_text("length,width,kind\\n" + "5.1,3.5,setosa\\n6.3,2.9,virginica\\n" * 10)
    >>> flowers = file(path, label="kind")
    >>> len(flowers), flowers.shape, flowers.codec.names, flowers.class_names
    (18, (2,), ('length', 'width'), ('setosa', 'virginica'))
    >>> folder.cleanup()
    """
    path = Path(path)
    with located(str(path)):
        check_choice("split", split, SPLITS)
        if array is not None and path.suffix.lower() != ".npz":
            raise ValueError(f"array={array} chooses in an .npz file, and this is none")
        content = _read(path, header, array, None if label is None else str(label))
        if isinstance(content, _Pixels):
            if columns is not None or (label is not None and content.label is None):
                shape = list(content.pixels.shape)
                raise ValueError(f"images have no columns, neither to learn nor as a label: uint8 {shape}")
            return _images(content, split, missing, low, high, seed)
        sheet, name = content, None if label is None else str(label)
        if label is None and path.suffix.lower() == ".npz":
            name = next((n for n in ("y", "labels") if n in sheet.columns), None)
        return table(sheet, name, columns, encoding, missing, seed, split=split)


def iris(split: str = "train", *, encoding: str = "standard", seed: int = 0) -> Table:
    """150 flowers of three species, 50 of each, with the lengths and widths of their leaves, in cm.

    They come with scikit-learn: nothing to download. Source: Anderson 1935, Fisher 1936; UCI.

    >>> iris().codec.names[-1], len(iris("test"))
    ('species', 15)
    """
    values = np.loadtxt(shipped("iris.csv"), delimiter=",", skiprows=1)
    names = ["sepal length", "sepal width", "petal length", "petal width"]
    species = Coded(values[:, 4].astype(np.int32), ("setosa", "versicolor", "virginica"))
    columns: dict[str, Cells] = {name: values[:, j] for j, name in enumerate(names)}
    return table(Sheet({**columns, "species": species}), encoding=encoding, seed=seed, split=split)


def frame(
    rows: Any,
    split: str = "train",
    *,
    label: str | None = None,
    columns: Choice | None = None,
    encoding: str = "standard",
    missing: str = "keep",
    seed: int = 0,
) -> Table:
    """A pandas or polars frame, or numbers ``[N, d]``, as a source; the arguments are those of `file`."""
    check_choice("split", split, SPLITS)
    if not hasattr(rows, "columns"):
        sheet = sheet_of_array(np.asarray(rows))
        return table(sheet, label, columns, encoding, missing, seed, split=split)
    said = categorical_columns(rows)
    return table(from_frame(rows), label, columns, encoding, missing, seed, split=split, categorical=said)


def read_sheet(path: str | Path, header: bool | None = None) -> Sheet:
    """The rows of a file as they are, to be judged; read as `file` reads them.

    Raises ValueError in one line that begins with the path, FileNotFoundError, ImportError.
    """
    with located(str(path)):
        content = _read(Path(path), header, None, None)
        if isinstance(content, _Pixels):
            raise ValueError(f"it holds images {list(content.pixels.shape)}, not the rows of a table")
        return content


class _Pixels(NamedTuple):
    """Images as they were read: uint8 [N, C, H, W], perhaps in their file."""

    pixels: Tensor | FileRows
    label: str | None
    labels: Cells | None


def _read(path: Path, header: bool | None, array: str | None, label: str | None) -> Sheet | _Pixels:
    ending = ending_of(path)
    if path.is_dir():
        parts = _parts(path)
        if not parts:
            raise ValueError("the folder holds no table (.csv, .tsv, .parquet)")
        return Sheet.joined([part for p in parts if isinstance(part := _read(p, header, None, None), Sheet)])
    offered = {} if ending in ENDINGS else {f".{p.name}": p for p in entry_points(group="zerosum.readers")}
    if ending not in (*ENDINGS, *offered):
        endings = ", ".join((*ENDINGS, *offered))
        raise ValueError(f"a file of data ends in {endings}: got {path.suffix or 'no ending'}")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    if ending in offered:
        rows = offered[ending].load()(path)
        return from_frame(rows) if hasattr(rows, "columns") else sheet_of_array(np.asarray(rows))
    if ending in TEXT:
        return read_once(path, header, read_text)
    if ending == ".parquet":
        return read_parquet(path)
    content = read_npz(path, array, label) if ending == ".npz" else read_npy(path)
    examples = content.examples
    if examples.ndim in (3, 4) and examples.dtype == np.uint8:
        return _Pixels(_pixels(examples), content.label, content.labels)
    sheet = sheet_of_array(examples)
    if content.label is None or content.labels is None:
        return sheet
    return Sheet({**sheet.columns, content.label: content.labels})


def _pixels(images: Array) -> Tensor | FileRows:
    """Images of a file of arrays, ``[N, C, H, W]``: those in C order stay in the file, where a batch reads
    its own rows, and a file that is cut short is an error and no signal."""
    turned = channels_first(images)
    if not (isinstance(images, np.memmap) and images.flags.c_contiguous):
        return torch.from_numpy(turned)
    shape = images.shape if images.ndim == 4 else (len(images), 1, *images.shape[1:])
    axes = (0, 1, 2, 3) if turned.shape == shape else (0, 3, 1, 2)
    return FileRows(Path(str(images.filename)), shape, images.offset, axes=axes)


def _parts(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_file() and ending_of(p) in (".parquet", *TEXT))


def holds_tables(folder: Path) -> bool:
    """Whether a folder holds tables, which are the parts of one, and neither images nor folders beside them:
    what is said of the data is often there, too."""
    others = any(p.is_dir() or p.suffix.lower() in SUFFIXES for p in folder.iterdir())
    return not others and bool(_parts(folder))


def ending_of(path: Path) -> str:
    """The ending of a table's name, as ``.csv.gz``; any other suffix as it is."""
    name = path.name.lower()
    return next((ending for ending in ENDINGS if name.endswith(ending)), path.suffix.lower())


def table(
    sheet: Sheet,
    label: str | None = None,
    columns: Choice | None = None,
    encoding: str = "standard",
    missing: str = "keep",
    seed: int = 0,
    test_from: int | None = None,
    class_names: Sequence[str] | None = None,
    split: str = "train",
    categorical: Sequence[str] = (),
) -> Table:
    """A sheet as a source; `test_from`: the first row of a test part of its own; `categorical`: columns that
    are categories even where they hold dates. Arguments as of `file`.

    What columns are, all splits are told by the training rows, or if `split` is "all" by all.
    """
    check_choice("missing", missing, ("keep", "drop", "error"))
    chosen, given = _chosen(list(sheet), columns, label)
    dates = [name for name in categorical if name in chosen and form_of(sheet[name], None)[0]]
    given = dict.fromkeys(dates, "category") | given
    codes, class_names = classes(sheet, label, class_names)
    learnt, notes = _finite(sheet.only(chosen))
    rows = usable_rows(learnt, label, codes, missing)
    parts = divide(rows, test_from)
    codec = fit(learnt.take(rows if split == "all" else parts["train"]), learnt.take(rows), encoding, given)
    if not codec.blocks:
        notes.append("there is nothing to learn: samples are made without G")
    packed, held = codec.pack(learnt), sheet if label is None else sheet.only([*chosen, label])
    labels = None if codes is None else torch.from_numpy(codes)

    def opener(part: str) -> Table:
        places = torch.from_numpy(rows_of(parts, part))
        return Table(
            held,
            packed,
            codec,
            places,
            None if labels is None else labels[places],
            seed=seed,
            split_name=part,
            class_names=class_names,
            splits=SPLITS,
            opener=opener,
            notes=(*sheet.notes, *notes, *describe(codec)),
        )

    return opener(split)


def _images(content: _Pixels, split: str, missing: str, low: float, high: float, seed: int) -> Images:
    named = Sheet({} if content.labels is None else {str(content.label): content.labels})
    codes, class_names = classes(named, None if content.labels is None else content.label)
    rows = np.arange(len(content.pixels))
    parts = divide(rows if codes is None else usable_rows(named, content.label, codes, missing))
    pixels, labels = content.pixels, None if codes is None else torch.from_numpy(codes)

    def opener(name: str) -> Images:
        rows = torch.from_numpy(rows_of(parts, name))
        x = pixels.chosen(rows) if isinstance(pixels, FileRows) else pixels.index_select(0, rows)
        y = None if labels is None else labels[rows]
        return Images(
            x, y, low, high, seed=seed, split_name=name, class_names=class_names, splits=SPLITS, opener=opener
        )

    return opener(split)


# rows and columns ---------------------------------------------------------------------------------------


def _chosen(names: list[str], columns: Choice | None, label: str | None) -> tuple[list[str], dict[str, str]]:
    """The columns to learn, and what some of them are."""
    given = {str(n): str(k) for n, k in columns.items()} if isinstance(columns, Mapping) else {}
    out = {name for name, kind in given.items() if kind in ("leave out", "drop")}
    if columns is None or given:
        chosen = [name for name in names if name != label and name not in out]
    else:
        chosen = [columns] if isinstance(columns, str | int) else columns
        chosen = [str(column) for column in chosen]
    there = set(names)
    for name in [*chosen, *given, *([] if label is None else [label])]:
        if name not in there:
            raise ValueError(f"there is no column {name!r}: there are {join_names(names)}")
    if not chosen:
        raise ValueError("there are no columns to learn")
    return chosen, {name: kind for name, kind in given.items() if name not in out and name != label}


_MOST = 1e150


def _finite(sheet: Sheet) -> tuple[Sheet, list[str]]:
    """Infinite numbers as missing ones, and a note that says where they were."""
    columns: dict[str, Cells] = {}
    notes: list[str] = []
    for name, cells in sheet.columns.items():
        if not isinstance(cells, Coded) and cells.dtype.kind == "f" and (bad := np.isinf(cells)).any():
            cells = np.where(bad, np.nan, cells)
            rows = f"{bad.sum():,} rows (first row {bad.argmax() + 1})"
            notes.append(f"column {printable(name)} is infinite, so missing, in {rows}")
        if not isinstance(cells, Coded) and cells.dtype.kind == "f":
            most = float(np.nanmax(np.abs(cells), initial=0))
            if most > _MOST:
                raise ValueError(
                    f"column {printable(name)} holds {most:.3g}, but beyond {_MOST:g} numbers have no "
                    "squares: scale them, or leave the column out"
                )
        columns[name] = cells
    return replace(sheet, columns=columns), notes


# what errors say ----------------------------------------------------------------------------------------


@contextmanager
def located(place: str) -> Iterator[None]:
    """Errors begin with the file that they are about, and are one line."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{printable(place)}: {one_line(error)}") from error
