"""Tables and files: numbers that somebody has, as a source.

A table is learnt in standardised columns, z = (v - mean) / scale, since a generator that starts at unit scale
should not have to find out that one column is in years and another in metres; `Table.decode` gives the
numbers back in the file's units. Nothing is guessed about a cell that is not a number: it is named, with its
column and row, and the error says which argument settles it. Rows are counted from 1, a header is not a row.
"""

from __future__ import annotations

import csv
import math
import sys
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from importlib import import_module
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from zerosum.data.arrays import Images, Vectors
from zerosum.randomness import stream

__all__ = ["Table", "file", "hf"]

Array = NDArray[Any]
Columns = Sequence[str | int] | str | int

SPLITS = "train", "test", "all"
MISSING = {"", "na", "n/a", "nan", "none", "null", "?"}  # what a cell without a number says, in any case
BLOCK = 1 << 14  # rows that are read at a time
FORMATS = "JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"  # of images: for others Pillow may start programs


@dataclass(frozen=True, eq=False)
class Table(Vectors):
    """Rows of numbers, standardised: z = (v - mean) / scale, column by column.

    A column of one value has scale 0. It takes no part in the game and `decode` puts it back.

    Arguments:
        rows: float32 [N, d], standardised: the d columns that vary.
        labels, seed: As of `Vectors`.
        columns: The names of all D columns, d <= D.
        mean, scale: float64 [D], the mean and standard deviation of the training rows, in the file's units.

    >>> table = Table(
    ...     torch.tensor([[-1.0], [1.0]]),
    ...     columns=("age", "year"),
    ...     mean=torch.tensor([40.0, 2014.0]).double(),
    ...     scale=torch.tensor([5.0, 0.0]).double(),
    ... )
    >>> table.shape, table.decode(table.rows).tolist()
    ((1,), [[35.0, 2014.0], [45.0, 2014.0]])
    """

    _: KW_ONLY
    columns: tuple[str, ...]
    mean: Tensor
    scale: Tensor

    @property
    def varies(self) -> Tensor:
        """Which columns take part in the game: bool [D], d of them true."""
        return self.scale > 0

    def encode(self, values: Tensor) -> Tensor:
        """Numbers in the file's units [N, D] to what the game sees: float32 [N, d]."""
        varies = self.varies.to(values.device)
        mean, scale = self.mean.to(values.device)[varies], self.scale.to(values.device)[varies]
        return ((values.double()[:, varies] - mean) / scale).float()

    def decode(self, x: Tensor) -> Tensor:
        """What the game makes [N, d] to numbers in the file's units: float64 [N, D]."""
        return undone(x, self.mean, self.scale)


def undone(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """mean + scale x, [N, D], where x [N, d] has the columns of which the scale is not 0."""
    mean, scale = mean.to(x.device), scale.to(x.device)
    values = mean.repeat(len(x), 1)
    values[:, scale > 0] += x.double() * scale[scale > 0]
    return values


def file(
    path: str | Path,
    split: str = "train",
    *,
    label: str | int | None = None,
    columns: Columns | None = None,
    array: str | None = None,
    missing: str = "error",
    low: float = -1.0,
    high: float = 1.0,
    seed: int = 0,
) -> Images | Table:
    """The source in a file: numbers [N, d] give a `Table`, uint8 images `Images`.

    ``.npy`` and ``.npz`` hold numbers [N, d] or [N], or uint8 images [N, H, W], [N, H, W, C] or [N, C, H, W]
    with 1 to 4 channels. ``.csv`` and ``.tsv`` are UTF-8 text with commas, semicolons or tabs; the first row
    is a header if none of its cells is a number. ``.parquet`` needs ``pip install 'zerosum[data]'``. Columns
    without a name are called 0, 1, ...

    A tenth of the rows is the "test" part, chosen at random once for all (by the number of rows alone, so
    neither `seed` nor the format matters); "train" is the rest and "all" is the whole file. An ``.npy`` file
    is mapped, not read: only the part that is asked for comes into memory, and "all" of its images none.

    Arguments:
        label: The column of classes, whole numbers or text, which become 0, 1, ... in sorted order. In an
            ``.npz``, an array [N]; one called y or labels is found without being named.
        columns: The columns to learn. All but the label by default.
        array: Which array of an ``.npz`` holds the examples, where it is not the only one.
        missing: "error", or "drop" to leave out the rows in which a number or the label is missing or a
            number is infinite.
        low, high: What the bytes 0 and 255 of images become.
        seed: The seed of the order of batches.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: in one line that begins with the path: a cell that is not a finite number, by column and
            row; rows of different lengths; a damaged file, one with pickled objects, or one without rows.
        ImportError: if pyarrow is not installed and the file is ``.parquet``.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "iris.csv")
    >>> _ = path.write_text("length,width,kind\\n" + "5.1,3.5,setosa\\n6.3,2.9,virginica\\n" * 10)
    >>> flowers = file(path, label="kind")
    >>> len(flowers), flowers.shape, flowers.columns, flowers.class_names
    (18, (2,), ('length', 'width'), ('setosa', 'virginica'))
    >>> folder.cleanup()
    """
    path = Path(path)
    with _located(str(path)):
        _check_choice("split", split, SPLITS)
        _check_choice("missing", missing, ("error", "drop"))
        if path.suffix.lower() not in _READERS:
            raise ValueError(
                f"a file of data ends in {', '.join(_READERS)}: got {path.suffix or 'no ending'}"
            )
        if not path.is_file():
            raise FileNotFoundError(f"{path}: there is no such file")
        if array is not None and path.suffix.lower() != ".npz":
            raise ValueError(f"array={array} chooses in an .npz file, and this is none")
        found = _READERS[path.suffix.lower()](path, _Choice(columns, label, array))
        if isinstance(found, _Pixels):
            return _images(found, split, missing, low, high, seed)
        return _table(found, split, missing, seed)


def hf(
    path: str,
    split: str = "train",
    *,
    subset: str | None = None,
    image: str | None = None,
    label: str | None = None,
    columns: Columns | None = None,
    size: int | None = None,
    missing: str = "error",
    low: float = -1.0,
    high: float = 1.0,
    seed: int = 0,
) -> Images | Table:
    """A data set of the Hugging Face hub, or a local folder of one: images if it has any, else a `Table`.

    Needs ``pip install 'zerosum[data]'``. The folder is one that ``datasets`` saved (``save_to_disk``) or
    can load (parquet, csv, images, ...). "train" and "test" are the data set's own; where it has one part
    only, a tenth of it is "test", as of `file`. Images are decoded into memory: grey where all are, else RGB.

    Arguments:
        path: ``owner/name`` on the hub, or a folder.
        subset: The configuration, for data sets that have several.
        image: The column of images, where there are several.
        label: The column of classes; by default the only one that the data set declares as such.
        columns, missing, low, high, seed: As of `file`; "drop" leaves out images that cannot be read, too.
        size: Crop the centre of every image to a square and resize it to size x size pixels. Needed where
            the sizes differ.

    Raises:
        ValueError: in one line that begins with the name: no such data set, no connection, no such column,
            images of different sizes, an image that cannot be read, or what `file` says of numbers.
        ImportError: if ``datasets`` is not installed.
    """
    with _located(path):
        _check_choice("split", split, SPLITS)
        _check_choice("missing", missing, ("error", "drop"))
        found, test_from = _dataset(path, subset)
        declared = _columns_of(found, "ClassLabel")
        label = declared[0] if label is None and len(declared) == 1 else label
        column = _image_column(_columns_of(found, "Image"), image)
        if column is None:
            sheet = _read_dataset(found, _Choice(columns, label))
            return _table(sheet, split, missing, seed, test_from)
        if columns is not None:
            raise ValueError(f"images have no columns=... to choose, and {column} holds images")
        labels = None if label is None else _read_dataset(found, _Choice([], label)).label
        codes, rows = _labelled(len(found), labels, missing)
        _, class_names = _classes(labels)
        parts = _divide(rows, split, test_from)

        def opener(name: str) -> Images:
            pixels, readable = _decode(found, column, parts[name], size, missing)
            y = None if codes is None else torch.from_numpy(codes[parts[name][readable]])
            about: dict[str, Any] = {"class_names": class_names, "splits": SPLITS, "opener": opener}
            return Images(torch.from_numpy(pixels), y, low, high, seed, name, **about)

        return opener(split)


# from what was read to a source -------------------------------------------------------------------------


class _Choice(NamedTuple):
    """What the caller wants of a file."""

    columns: Columns | None = None
    label: str | int | None = None
    array: str | None = None


class _Label(NamedTuple):
    """The column of classes as it was read, [N], and what they are called where the file declares it."""

    name: str
    cells: Array
    class_names: tuple[str, ...] | None = None


class _Sheet(NamedTuple):
    """A table as it was read: numbers [N, D], NaN where one is missing."""

    columns: list[str]
    numbers: Array
    label: _Label | None


class _Pixels(NamedTuple):
    """Images as they were read: uint8 [N, C, H, W], perhaps a view of a mapped file."""

    pixels: Array
    label: _Label | None


def _table(sheet: _Sheet, split: str, missing: str, seed: int, test_from: int | None = None) -> Table:
    codes, class_names = _classes(sheet.label)
    parts = _divide(_complete(sheet, codes, missing), split, test_from)
    mean, scale = _statistics(sheet, parts["train"])
    _report_constants(sheet.columns, mean, scale, split)
    varies = scale > 0

    def opener(name: str) -> Table:
        rows = parts[name]
        x = np.empty((len(rows), varies.sum()), dtype=np.float32)
        for start, chunk in _chunks(sheet.numbers, rows):
            with np.errstate(over="ignore"):  # Vectors refuses what is infinite
                x[start : start + len(chunk)] = (chunk[:, varies] - mean[varies]) / scale[varies]
        return Table(
            torch.from_numpy(x),
            None if codes is None else torch.from_numpy(codes[rows]),
            seed,
            name,
            columns=tuple(sheet.columns),
            mean=torch.from_numpy(mean),
            scale=torch.from_numpy(scale),
            class_names=class_names,
            splits=SPLITS,
            opener=opener,
        )

    return opener(split)


def _images(found: _Pixels, split: str, missing: str, low: float, high: float, seed: int) -> Images:
    codes, kept = _labelled(len(found.pixels), found.label, missing)
    _, class_names = _classes(found.label)
    parts = _divide(kept, split)
    pixels, labels = torch.from_numpy(found.pixels), None if codes is None else torch.from_numpy(codes)

    def opener(name: str) -> Images:
        rows = torch.from_numpy(parts[name])
        x = pixels.index_select(0, rows) if len(rows) < len(pixels) else pixels  # else the file stays mapped
        y = None if labels is None else labels[rows]
        return Images(x, y, low, high, seed, name, class_names=class_names, splits=SPLITS, opener=opener)

    return opener(split)


def _divide(rows: Array, split: str, test_from: int | None = None) -> dict[str, Array]:
    """The rows of each split. Those from `test_from` on are the test part, else a tenth of all, at random."""
    if test_from is None:
        shuffled = torch.randperm(len(rows), generator=stream("file", "split")).numpy()
        in_test = np.zeros(len(rows), dtype=bool)
        in_test[shuffled[: max(1, len(rows) // 10)]] = True
    else:
        in_test = rows >= test_from
    parts = {"train": rows[~in_test], "test": rows[in_test], "all": rows}
    for part in ("train", split):
        if not len(parts[part]):
            raise ValueError(f"of {len(rows)} usable rows none is left for the split {part!r}: it needs more")
    return parts


def _chunks(numbers: Array, rows: Array) -> Iterator[tuple[int, Array]]:
    """(start, the rows from there on in float64): as many at a time as stay small beside the table."""
    step = max(1, (1 << 22) // max(1, numbers.shape[1]))
    for start in range(0, len(rows), step):
        yield start, numbers[rows[start : start + step]].astype(np.float64)


def _statistics(sheet: _Sheet, rows: Array) -> tuple[Array, Array]:
    """The mean and the standard deviation of each column, float64 [D]; exactly (value, 0) of a constant."""
    low = np.min([chunk.min(axis=0) for _, chunk in _chunks(sheet.numbers, rows)], axis=0)
    high = np.max([chunk.max(axis=0) for _, chunk in _chunks(sheet.numbers, rows)], axis=0)
    constant = low == high
    if constant.all():
        raise ValueError(f"nothing to learn: each of the columns {_list(sheet.columns)} has one value only")
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # its traces are looked for below
        total = np.sum([chunk.sum(axis=0) for _, chunk in _chunks(sheet.numbers, rows)], axis=0)
        mean = np.where(constant, low, total / len(rows))
        squares = [((chunk - mean) ** 2).sum(axis=0) for _, chunk in _chunks(sheet.numbers, rows)]
        scale = np.where(constant, 0.0, np.sqrt(np.sum(squares, axis=0) / len(rows)))
    for j in np.flatnonzero(~constant & ~(np.isfinite(scale) & (scale > 0))):
        limits = f"from {low[j]:g} to {high[j]:g}"
        raise ValueError(
            f"column {sheet.columns[j]} goes {limits}, which float64 cannot square: change its unit"
        )
    return mean, scale


def _report_constants(columns: list[str], mean: Array, scale: Array, split: str) -> None:
    constants = [f"{columns[j]} = {mean[j]:g}" for j in np.flatnonzero(scale == 0)]
    if constants and split != "test":
        print(f"zerosum: columns of one value, put back into samples: {_list(constants)}", file=sys.stderr)


# rows that cannot be used, and labels -------------------------------------------------------------------


class _Faults:
    """The rows that cannot be used, and why: for each cause how many and the first."""

    def __init__(self, length: int) -> None:
        self.bad = np.zeros(length, dtype=bool)
        self.causes: dict[str, tuple[int, int]] = {}

    def add(self, cause: str, rows: Array) -> None:
        if len(rows):
            count, first = self.causes.get(cause, (0, int(rows[0]) + 1))
            self.causes[cause] = count + len(rows), first
            self.bad[rows] = True

    def usable(self, missing: str) -> Array:
        if self.causes and missing == "error":
            causes = [f"{cause} in {n:,} (first in row {row})" for cause, (n, row) in self.causes.items()]
            share = f"{self.bad.sum():,} of {len(self.bad):,} rows cannot be used"
            raise ValueError(f"{share}: {_list(causes)}: missing=drop leaves them out")
        return np.flatnonzero(~self.bad)


def _complete(sheet: _Sheet, codes: Array | None, missing: str) -> Array:
    """The rows in which every number is finite and the label is known."""
    faults = _Faults(len(sheet.numbers))
    for start, chunk in _chunks(sheet.numbers, np.arange(len(sheet.numbers))):
        for j in np.flatnonzero(~np.isfinite(chunk).all(axis=0)):
            faults.add(f"{sheet.columns[j]} is missing", start + np.flatnonzero(np.isnan(chunk[:, j])))
            faults.add(f"{sheet.columns[j]} is infinite", start + np.flatnonzero(np.isinf(chunk[:, j])))
    return _with_label(faults, sheet.label, codes).usable(missing)


def _labelled(length: int, label: _Label | None, missing: str) -> tuple[Array | None, Array]:
    """The labels of images, and the rows that have one."""
    codes, _ = _classes(label)
    return codes, _with_label(_Faults(length), label, codes).usable(missing)


def _with_label(faults: _Faults, label: _Label | None, codes: Array | None) -> _Faults:
    if label is not None and codes is not None:
        faults.add(f"the label {label.name} is missing", np.flatnonzero(codes < 0))
    return faults


def _classes(label: _Label | None) -> tuple[Array | None, tuple[str, ...]]:
    """Labels as int64 0, 1, ..., and -1 where there is none; and what the classes are called."""
    if label is None:
        return None, ()
    keys, text = _numbers(label.cells)
    known = ~np.isnan(keys)
    if label.class_names is not None:
        valid = (keys >= 0) & (keys < len(label.class_names))
        return np.where(valid, keys, -1).astype(np.int64), label.class_names
    if text is not None:
        keys = np.array(["" if cell is None else str(cell).strip() for cell in label.cells])
        known = keys != ""
    elif not np.array_equal(keys[known], np.floor(keys[known])) or np.isinf(keys).any():
        raise ValueError(f"the label {label.name} has numbers that are not whole: choose a column of classes")
    values, places = np.unique(keys[known], return_inverse=True)
    if 2 * len(values) > known.sum() > 0:
        count = f"{len(values):,} classes in {known.sum():,} rows"
        raise ValueError(f"the label {label.name} has {count}: choose a column of classes")
    codes = np.full(len(keys), -1, dtype=np.int64)
    codes[known] = places
    return codes, tuple(str(value) if text else f"{value:.0f}" for value in values)


# columns and cells --------------------------------------------------------------------------------------


def _choose(names: list[str], choice: _Choice) -> tuple[list[str], str | None]:
    """The columns to learn and the label, all of which must be among the names."""
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"several columns have the name {_list(repeated)}: give each its own")
    label = None if choice.label is None else str(choice.label)
    rest = [name for name in names if name != label]
    given = [choice.columns] if isinstance(choice.columns, str | int) else choice.columns
    columns = rest if given is None else [str(column) for column in given]
    for name in _wanted(columns, label):
        if name not in names:
            raise ValueError(f"there is no column {name!r}: there are {_list(names)}")
    if choice.columns is None and {"", "__index_level_0__"} & set(columns):
        named = [name for name in columns if name not in ("", "__index_level_0__")]
        raise ValueError(
            f"a column without a name (row numbers?): choose with columns=[...] of {_list(named)}"
        )
    if not columns and (choice.columns is None or label is None):
        raise ValueError("there are no columns of numbers")
    return columns, label


def _wanted(columns: list[str], label: str | None) -> list[str]:
    return columns if label is None else [*columns, label]


def _sheet(columns: list[str], blocks: Iterable[Sequence[Any]], label: str | None) -> _Sheet:
    """A table from blocks of rows: the cells of each column, then those of the label."""
    numbers: list[Array] = []
    cells: list[Array] = []
    texts: dict[str, str] = {}
    rows = 0
    for block in blocks:
        read = [_numbers(column) for column in block[: len(columns)]]
        for name, (_, text) in zip(columns, read, strict=True):
            if text is not None:
                texts.setdefault(name, f"{name} has {text[1]!r} in row {rows + text[0] + 1}")
        length = len(block[0])
        numbers.append(np.stack([column for column, _ in read], axis=1) if read else np.empty((length, 0)))
        cells.append(np.asarray(block[-1]))
        rows += length
    if not rows:
        raise ValueError("there are no rows")
    table = np.concatenate(numbers)
    if texts:
        known = [name for j, name in enumerate(columns) if np.isfinite(table[:, j]).any()]
        fit = ", ".join(name for name in known if name not in texts)
        hint = f"choose columns=[{fit}], or name the column of classes, label=..." if fit else "mend it"
        raise ValueError(f"not a number: {_list(list(texts.values()))}: {hint}")
    found = None if label is None else _Label(label, np.concatenate(cells))
    return _Sheet(columns, table, found)


def _numbers(cells: Sequence[Any] | Array) -> tuple[Array, tuple[int, str] | None]:
    """Cells as float64, NaN where one is missing, and (place, text) of the first that is neither."""
    try:
        return np.asarray(cells, dtype=np.float64), None
    except (ValueError, TypeError):
        numbers = [_number(cell) for cell in cells]
    at = next((i for i, number in enumerate(numbers) if number is None), None)
    return np.array(numbers, dtype=np.float64), None if at is None else (at, str(cells[at])[:40])


def _number(cell: Any) -> float | None:
    """None for text that is neither a number nor a word for a missing one."""
    if cell is None or str(cell).strip().lower() in MISSING:
        return math.nan
    try:
        return float(cell)
    except (ValueError, TypeError):
        return None


def _is_number(cell: str) -> bool:
    number = _number(cell)
    return number is not None and not math.isnan(number)


# formats ------------------------------------------------------------------------------------------------


def _read_csv(path: Path, choice: _Choice) -> _Sheet:
    try:
        with path.open(newline="", encoding="utf-8-sig") as text:
            return _parse_csv(text, choice)
    except (csv.Error, UnicodeError) as error:
        raise ValueError(f"not a table in UTF-8 text: {_one_line(error)}") from error


def _parse_csv(text: TextIO, choice: _Choice) -> _Sheet:
    head = list(islice(text, 100))
    text.seek(0)
    separator = max(",;\t", key=lambda c: _agreement(csv.reader(head, delimiter=c)))
    reader = csv.reader(text, delimiter=separator, skipinitialspace=True, strict=True)
    lines = ((reader.line_num, row) for row in reader if any(cell.strip() for cell in row))
    first = next(lines, None)
    if first is None:
        raise ValueError("the file is empty")
    if any(_is_number(cell) for cell in first[1]):
        lines, names = chain([first], lines), [str(j) for j in range(len(first[1]))]
    else:
        names = [cell.strip() for cell in first[1]]
    columns, label = _choose(names, choice)
    places = [names.index(name) for name in _wanted(columns, label)]
    return _sheet(columns, _csv_blocks(lines, places, len(names)), label)


def _agreement(rows: Iterable[list[str]]) -> tuple[int, int]:
    """How many rows have the commonest number of cells, if that is more than one; and that number."""
    width, count = next(iter(Counter(len(row) for row in rows if row).most_common(1)), (1, 0))
    return (count, width) if width > 1 else (0, 1)


def _csv_blocks(
    lines: Iterator[tuple[int, list[str]]], places: list[int], width: int
) -> Iterator[list[tuple[str, ...]]]:
    while block := list(islice(lines, BLOCK)):
        for number, row in block:
            if len(row) != width:
                raise ValueError(f"line {number} has {len(row)} cells where the first has {width}: mend it")
        yield list(zip(*([row[j] for j in places] for _, row in block), strict=True))


def _read_parquet(path: Path, choice: _Choice) -> _Sheet:
    parquet = _extra("pyarrow.parquet", "pyarrow")
    with _foreign("not a readable Parquet file"):
        table = parquet.ParquetFile(path)
        names = list(table.schema_arrow.names)
    columns, label = _choose(names, choice)
    wanted = _wanted(columns, label)
    batches = table.iter_batches(BLOCK, columns=list(dict.fromkeys(wanted)))
    return _sheet(columns, _arrow_blocks(batches, wanted), label)


def _arrow_blocks(batches: Iterable[Any], columns: list[str]) -> Iterator[list[Any]]:
    with _foreign("not readable"):
        for batch in batches:
            yield [_arrow_cells(batch.column(name)) for name in columns]


def _arrow_cells(column: Any) -> Any:
    """Numbers as float64 with NaN for null, anything else as text with None for null."""
    pa = import_module("pyarrow")
    kind = column.type
    if any(test(kind) for test in (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean)):
        return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    try:
        return column.cast(pa.string()).to_pylist()
    except NotImplementedError:  # lists and records have no text: their type says what they are
        return [str(kind)] * len(column)


def _read_npy(path: Path, choice: _Choice) -> _Sheet | _Pixels:
    with _foreign("not an .npy file of plain numbers"):
        array = np.lib.format.open_memmap(path, mode="c")
    return _from_array(array, None, choice)


def _read_npz(path: Path, choice: _Choice) -> _Sheet | _Pixels:
    with _foreign("not an .npz file of plain arrays"), zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        heads = {name: _header(archive, name) for name in names}
    label = _label_array(heads, choice)
    rest = [name for name in names if name != label]
    name = choice.array or (rest[0] if len(rest) == 1 else None)
    if name not in names:
        held = _list([f"{name} {list(shape)}" for name, (shape, _) in heads.items()]) or "no arrays"
        raise ValueError(f"the file holds {held}: choose the one with the examples, array=NAME")
    with _foreign("not an .npz file of plain arrays"), zipfile.ZipFile(path) as archive:
        array = _member(archive, name)
        cells = None if label is None else _Label(label, _member(archive, label))
    return _from_array(array, cells, choice)


def _label_array(heads: dict[str, tuple[tuple[int, ...], Any]], choice: _Choice) -> str | None:
    """The array of labels: the one that was named, else y or labels if it may be one."""
    if choice.label is not None:
        return str(choice.label) if str(choice.label) in heads else None
    likely = [n for n in ("y", "labels") if n in heads and n != choice.array and len(heads) > 1]
    return next((n for n in likely if len(heads[n][0]) == 1 and heads[n][1].kind in "biuU"), None)


def _header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], Any]:
    """The shape and type of an array, if the archive can hold what its header claims."""
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as member:
        version = np.lib.format.read_magic(member)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read:
            raise ValueError(f"{name} is of version {version}")
        shape, _, dtype = read[version](member)
        size = member.tell() + math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which are never unpickled")
    # deflate makes data at most 1,032 times smaller
    if size != entry.file_size or size > 1100 * entry.compress_size + BLOCK:
        raise ValueError(f"{name} claims to be {list(shape)} of {dtype}, which it does not hold")
    return shape, dtype


def _member(archive: zipfile.ZipFile, name: str) -> Array:
    with archive.open(f"{name}.npy") as member:
        return np.lib.format.read_array(member, allow_pickle=False)


def _from_array(array: Array, label: _Label | None, choice: _Choice) -> _Sheet | _Pixels:
    described = f"{array.dtype} {list(array.shape)}"
    if array.size == 0:
        raise ValueError(f"there is nothing in it: {described}")
    if label is not None and label.cells.shape != array.shape[:1]:
        raise ValueError(f"{label.name} has shape {list(label.cells.shape)} but the examples are {described}")
    if array.ndim in (3, 4) and array.dtype == np.uint8:
        if choice.columns is not None or (choice.label is not None and label is None):
            raise ValueError(f"images have no columns, neither to learn nor as a label: {described}")
        return _Pixels(_channels_first(array), label)
    if array.ndim not in (1, 2) or array.dtype.kind not in "biuf":
        raise ValueError(f"data are numbers [N, d] or images uint8 [N, H, W(, C)]: got {described}")
    array = array.reshape(len(array), -1)
    names = [str(j) for j in range(array.shape[1])]
    columns, column = _choose(names, choice if label is None else choice._replace(label=None))
    if column is not None:
        label = _Label(column, array[:, int(column)])
    if columns != names:
        array = array[:, [int(name) for name in columns]]
    return _Sheet(columns, array, label)


def _channels_first(images: Array) -> Array:
    """[N, H, W], [N, H, W, C] or [N, C, H, W] as [N, C, H, W]: C is the smaller of the two, and at most 4."""
    if images.ndim == 3:
        return images[:, None]
    first, last = images.shape[1], images.shape[3]
    if min(first, last) > 4:
        raise ValueError(f"images have 1 to 4 channels, first or last: got {list(images.shape)}")
    return images if first <= last else images.transpose(0, 3, 1, 2)


_READERS: dict[str, Callable[[Path, _Choice], _Sheet | _Pixels]] = {
    ".npy": _read_npy,
    ".npz": _read_npz,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
}


# data sets of the hub -----------------------------------------------------------------------------------


def _dataset(name: str, subset: str | None) -> tuple[Any, int | None]:
    """All rows of a data set, and where its own test part begins, if it has one."""
    datasets = _extra("datasets", "datasets")
    saved = any(Path(name, mark).is_file() for mark in ("dataset_dict.json", "dataset_info.json"))
    with _foreign("no such data set, or no connection"):
        found = datasets.load_from_disk(name) if saved else datasets.load_dataset(name, subset)
        parts = dict(found) if isinstance(found, dict) else {"train": found}
    if "train" not in parts and len(parts) > 1:
        raise ValueError(f"it has the parts {_list(list(parts))} but no train")
    train = parts["train"] if "train" in parts else next(iter(parts.values()))
    if "test" not in parts or train is parts["test"]:
        return train, None
    with _foreign("train and test do not fit together"):
        return datasets.concatenate_datasets([train, parts["test"]]), len(train)


def _columns_of(found: Any, kind: str) -> list[str]:
    """The columns that a data set declares as `Image` or as `ClassLabel`."""
    feature = getattr(import_module("datasets"), kind)
    return [name for name, value in found.features.items() if isinstance(value, feature)]


def _image_column(pictures: list[str], image: str | None) -> str | None:
    if image is not None and image not in pictures:
        raise ValueError(
            f"no column {image!r} of images: those that hold images are: {_list(pictures) or 'none'}"
        )
    if image is None and len(pictures) > 1:
        raise ValueError(f"several columns hold images: choose image={' or image='.join(pictures)}")
    return image or next(iter(pictures), None)


def _read_dataset(found: Any, choice: _Choice) -> _Sheet:
    columns, label = _choose(list(found.column_names), choice)
    wanted = _wanted(columns, label)
    tables = found.select_columns(list(dict.fromkeys(wanted))).with_format("arrow").iter(BLOCK)
    sheet = _sheet(columns, _arrow_blocks((b for t in tables for b in t.to_batches()), wanted), label)
    if sheet.label is None or label not in _columns_of(found, "ClassLabel"):
        return sheet
    return sheet._replace(label=sheet.label._replace(class_names=tuple(found.features[label].names)))


def _decode(found: Any, column: str, rows: Array, size: int | None, missing: str) -> tuple[Array, Array]:
    """The images of these rows, uint8 [n, C, H, W], and which of the rows could be read."""
    from PIL import Image

    encoded = found.select_columns(column).select(rows)
    encoded = encoded.cast_column(column, import_module("datasets").Image(decode=False))
    pictures: list[Array] = []
    readable: list[int] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a decoder thinks of a palette
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for i, cell in enumerate(encoded):
            try:
                picture = _open(cell[column], size)
            except Exception as error:  # whatever a decoder raises at a damaged file
                if missing == "error":
                    cause = f"the image in row {rows[i] + 1} cannot be read: {_one_line(error)}"
                    raise ValueError(f"{cause}: missing=drop leaves such rows out") from error
                continue
            if pictures and picture.shape[:2] != pictures[0].shape[:2]:
                sizes = [" x ".join(map(str, p.shape[:2])) for p in (pictures[0], picture)]
                raise ValueError(f"images of {sizes[0]} and, in row {rows[i] + 1}, {sizes[1]}: give size=N")
            pictures.append(picture)
            readable.append(i)
    if not pictures:
        raise ValueError("no image can be read")
    channels = max(picture.shape[2] for picture in pictures)
    stacked = np.empty((len(pictures), channels, *pictures[0].shape[:2]), dtype=np.uint8)
    for i, picture in enumerate(pictures):
        stacked[i] = picture.transpose(2, 0, 1)  # grey among colours has three equal channels
    return stacked, np.array(readable)


def _open(cell: Any, size: int | None) -> Array:
    """A picture, upright and on white, as uint8 [H, W, 1] if it is grey, else [H, W, 3]."""
    from PIL import Image, ImageOps

    if cell is None:
        raise ValueError("there is none")
    content = cell["path"] if cell["bytes"] is None else BytesIO(cell["bytes"])
    with Image.open(content, formats=FORMATS) as opened:
        picture = ImageOps.exif_transpose(opened)
    mode = "L" if picture.mode in ("1", "L", "LA", "F") or picture.mode.startswith("I") else "RGB"
    if picture.mode.startswith("I"):  # 16 bits
        picture = Image.fromarray((np.asarray(picture).clip(0, 65535) // 257).astype(np.uint8))
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    picture = picture.convert(mode)
    if size is not None:
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
    return np.atleast_3d(np.asarray(picture))


# what errors say ----------------------------------------------------------------------------------------


@contextmanager
def _located(place: str) -> Iterator[None]:
    """Errors begin with the file that they are about, and are one line."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place}: {_one_line(error)}") from error


@contextmanager
def _foreign(meaning: str) -> Iterator[None]:
    """Around code of others that reads what strangers wrote: whatever it raises means this."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{meaning}: {_one_line(error)}") from error


def _extra(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"this needs {package}: pip install 'zerosum[data]'") from error


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} is one of {', '.join(choices)}: got {value!r}")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 600 else f"{text[:600]} ..."


def _list(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
