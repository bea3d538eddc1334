"""Rows: which of a table or of labelled images are used, in which split, and of which class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from zerosum.data.readers import join_names
from zerosum.data.sheet import Cells, Coded, Sheet
from zerosum.randomness import stream

__all__ = ["SPLITS", "check_choice", "classes", "divide", "is_missing", "rows_of", "usable_rows"]

Array = NDArray[Any]

SPLITS = "train", "test", "all"


def usable_rows(sheet: Sheet, label: str | None, codes: Array | None, missing: str) -> Array:
    """The rows that have a label, and all their cells unless missing ones are kept."""
    causes: list[str] = []
    bad = np.zeros(len(sheet), dtype=bool)
    columns = {} if missing == "keep" else {name: is_missing(cells) for name, cells in sheet.columns.items()}
    if codes is not None:
        columns[f"the label {label}"] = codes < 0
    for name, rows in columns.items():
        if rows.any():
            causes.append(f"{name} is missing in {rows.sum():,} (first in row {rows.argmax() + 1})")
            bad |= rows
    if causes and (missing != "drop" or bad.all()):
        share = f"{bad.sum():,} of {len(bad):,} rows cannot be used: {join_names(causes)}"
        hint = "leave those columns out" if missing == "drop" else "missing=drop leaves them out"
        raise ValueError(f"{share}: {hint}")
    return np.flatnonzero(~bad)


def is_missing(cells: Cells) -> Array:
    """Which cells hold nothing: booleans ``[n]``."""
    if isinstance(cells, Coded):
        return cells.codes < 0
    if cells.dtype.kind == "M":
        return np.isnat(cells)
    return ~np.isfinite(cells) if cells.dtype.kind == "f" else np.zeros(len(cells), dtype=bool)


def divide(rows: Array, test_from: int | None = None) -> dict[str, Array]:
    """The rows of each split. Those from `test_from` on are the test part, else a tenth of all, at random."""
    if test_from is None:
        shuffled = torch.randperm(len(rows), generator=stream("file", "split")).numpy()
        in_test = np.zeros(len(rows), dtype=bool)
        in_test[shuffled[: max(1, len(rows) // 10)]] = True
    else:
        in_test = rows >= test_from
    if len(rows) == 1:  # which is all that there is, for both
        return dict.fromkeys(SPLITS, rows)
    parts = {"train": rows[~in_test], "test": rows[in_test], "all": rows}
    rows_of(parts, "train")
    return parts


def rows_of(parts: Mapping[str, Array], split: str) -> Array:
    """The rows of a split. Raises ValueError if there is no such split, or none of its rows."""
    check_choice("split", split, SPLITS)
    if not len(parts[split]):
        usable = len(parts["all"])
        raise ValueError(f"of {usable} usable rows none is left for the split {split!r}: it needs more")
    return parts[split]


def classes(
    sheet: Sheet, label: str | None, declared: Sequence[str] | None = None
) -> tuple[Array | None, tuple[str, ...]]:
    """Labels as int64 0, 1, ..., in the order of their values, and -1 where there is none; and their names.

    declared: the names of the classes, where labels are numbers from 0 up by a declaration of the data.
    """
    if label is None or label not in sheet.columns:
        return None, ()
    cells = sheet[label]
    if declared is not None and not isinstance(cells, Coded):
        valid = (cells >= 0) & (cells < len(declared))
        return np.where(valid, cells, -1).astype(np.int64), tuple(declared)
    if not isinstance(cells, Coded):
        present = cells[~is_missing(cells)]
        if cells.dtype.kind == "f" and (present != np.floor(present)).any():
            raise ValueError(f"the label {label} has numbers that are not whole: choose a column of classes")
    values, codes = _sorted_values(cells)
    used = int((codes >= 0).sum())
    if 2 * len(values) > used > 0:
        count = f"{len(values):,} classes in {used:,} rows"
        raise ValueError(f"the label {label} has {count}: choose a column of classes")
    return codes, tuple(values)


def _sorted_values(cells: Cells) -> tuple[list[str], Array]:
    """The values that occur, sorted, as text; and which of them each cell is, int64, -1 if missing."""
    missing = is_missing(cells)
    keys = cells.codes[~missing] if isinstance(cells, Coded) else cells[~missing]
    values, places = np.unique(keys, return_inverse=True)
    if isinstance(cells, Coded):
        texts = [str(cells.values[i]) for i in values]
        by_text = np.argsort(np.array(texts), kind="stable") if texts else np.arange(0)
        texts, places = [texts[i] for i in by_text], np.argsort(by_text)[places]
    else:
        texts = [f"{value:.0f}" if values.dtype.kind == "f" else str(value) for value in values.tolist()]
    codes = np.full(len(missing), -1, dtype=np.int64)
    codes[~missing] = places
    return texts, codes


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise ValueError for a value that is none of the choices."""
    if value not in choices:
        raise ValueError(f"{name} is one of {', '.join(choices)}: got {value!r}")
