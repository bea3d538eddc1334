"""Data frames of pandas and polars as sheets, and sheets as frames with the types that another has."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zerosum.data.sheet import Cells, Sheet, encoded, unique_names, whole_cells

__all__ = ["Like", "categorical", "from_frame"]

Array = NDArray[Any]


def from_frame(frame: Any) -> Sheet:
    """A pandas or polars frame as a sheet."""
    names, notes = unique_names([str(name) for name in frame.columns])
    series = [
        frame.iloc[:, i] if hasattr(frame, "iloc") else frame[name] for i, name in enumerate(frame.columns)
    ]
    columns = {name: _from_series(column) for name, column in zip(names, series, strict=True)}
    return Sheet(columns, notes)


def _from_series(series: Any) -> Cells:
    """A pandas or polars series: numbers, bools and moments as they are, spans of time in seconds, objects
    that are all numbers as numbers, all else as `Coded`; a categorical one as its categories, whole numbers
    with missing ones as text where they are more than a float holds."""
    polars = _is_polars(series)
    if _missing(series) and _is_large(series):
        cells = series.to_list() if polars else series.astype(object).tolist()
        return encoded(None if _is_missing(cell) else str(cell) for cell in cells)
    array = series.to_numpy() if polars else _pandas_array(series)
    if array.dtype.kind in "iu":
        return whole_cells(array)
    if array.dtype.kind == "f":
        return array.astype(np.float64)
    if array.dtype.kind in "bM":
        return array
    if array.dtype.kind == "m":
        seconds = array.astype("timedelta64[us]").astype(np.float64) / 1e6
        return np.where(np.isnat(array), np.nan, seconds)
    cells = [None if _is_missing(cell) else cell for cell in (series.to_list() if polars else array.tolist())]
    is_categorical = _is_categorical(series.dtype)
    there = [cell for cell in cells if cell is not None]
    if there and not is_categorical and all(map(_is_number, there)):
        whole = len(there) == len(cells) and all(isinstance(x, int) for x in there)
        numbers = [math.nan if x is None else float(x) for x in cells]
        return np.array(numbers, dtype=np.int64 if whole else np.float64)
    kept = (bool, int) if is_categorical else bool
    return encoded(x if x is None or isinstance(x, kept) else str(x) for x in cells)


def categorical(frame: Any) -> list[str]:
    """The columns of a frame that are said to be categories, by the names that a sheet gives them."""
    names, _ = unique_names([str(name) for name in frame.columns])
    return [name for name, kind in zip(names, frame.dtypes, strict=True) if _is_categorical(kind)]


def _is_categorical(kind: Any) -> bool:
    return type(kind).__name__ == "CategoricalDtype" or str(kind).partition("(")[0] in ("Categorical", "Enum")


def _is_large(series: Any) -> bool:
    """Whether these are whole numbers of which no float holds the largest."""
    if not (series.dtype.is_integer() if _is_polars(series) else series.dtype.kind in "iu"):
        return False
    return any(abs(int(x)) >= 2**53 for x in (series.min(), series.max()) if not _is_missing(x))


def _is_number(cell: Any) -> bool:
    """Whether a float holds it."""
    exact = not isinstance(cell, int) or abs(cell) < 2**53
    return isinstance(cell, int | float | Decimal) and not isinstance(cell, bool) and exact


def _pandas_array(series: Any) -> Array:
    kind = getattr(series.dtype, "kind", "O")
    if _is_categorical(series.dtype):  # whose whole numbers are floats where some are missing
        return np.array([*series.cat.categories, None], dtype=object)[series.cat.codes]
    if kind == "m":
        return series.to_numpy()
    if kind == "M":
        return (
            series.dt.tz_localize(None).to_numpy() if getattr(series.dtype, "tz", None) else series.to_numpy()
        )
    if kind in "iuf" and series.isna().any():
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    if kind == "b" and not series.isna().any():
        return series.to_numpy(dtype=bool)
    return series.to_numpy(dtype=None if kind in "iuf" else object)


def _is_missing(cell: Any) -> bool:
    return cell is None or type(cell).__name__ in ("NAType", "NaTType") or cell != cell


# as the frame was -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Like:
    """What a frame is: of polars or pandas, what type each column has, what pandas calls those whose name is
    no text.
    """

    polars: bool = False
    types: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, frame: Any) -> Like:
        if _is_polars(frame):
            return cls(True, dict(frame.schema))
        names = frame.columns.tolist()
        types = dict(zip(unique_names([str(name) for name in names])[0], frame.dtypes, strict=True))
        types = {name: kind for name, kind in types.items() if kind.name != "object"}  # which says nothing
        return cls(False, types, {str(name): name for name in names if not isinstance(name, str)})

    def frame(self, sheet: Sheet) -> Any:
        """A sheet as such a frame. A column whose cells are not of that type (whole numbers of which some are
        missing now, in a type that has no missing one) keeps the type that the sheet gives it.
        """
        frame = sheet.to_polars() if self.polars else sheet.to_pandas()
        typed = _typed_polars if self.polars else _typed_pandas
        for name, kind in self.types.items():
            if name in frame.columns:
                with suppress(Exception):  # whatever a cast raises
                    column, missing = typed(frame[name], kind), _missing(frame[name])
                    if _missing(column) == missing:
                        frame = frame.with_columns(column) if self.polars else frame.assign(**{name: column})
        return frame if self.polars else frame.rename(columns=dict(self.labels))

    def state_dict(self) -> dict[str, Any]:
        """Plain data: the types of pandas by their names, of categories with all of them; those of polars as
        an empty Arrow file."""
        if self.polars:
            import polars  # pyright: ignore[reportMissingImports]

            empty = BytesIO()
            polars.DataFrame(schema=self.types).write_ipc(empty)
            return {"polars": empty.getvalue()}
        numbered = {name: label for name, label in self.labels.items() if isinstance(label, int)}
        return {"pandas": {name: _named(kind) for name, kind in self.types.items()}, "labels": numbered}

    @classmethod
    def restore(cls, state: Mapping[str, Any]) -> Like:
        """What `state_dict` gave; where polars is not installed, as pandas has it."""
        if "polars" in state:
            with suppress(ImportError):
                import polars  # pyright: ignore[reportMissingImports]

                return cls.of(polars.read_ipc(BytesIO(state["polars"])))
        return cls(False, dict(state.get("pandas", {})), dict(state.get("labels", {})))


def _typed_polars(series: Any, kind: Any) -> Any:
    import polars  # pyright: ignore[reportMissingImports]

    if kind == polars.Duration:  # a sheet has spans of time in seconds
        series = (series * 1e6).round().cast(polars.Int64).cast(polars.Duration("us"))
    return series.str.to_time(strict=False) if kind == polars.Time else series.cast(kind, strict=False)


def _typed_pandas(series: Any, kind: Any) -> Any:
    import pandas

    kind = _from_name(kind)
    if (categories := getattr(kind, "categories", None)) is not None:
        known = {name: one for one in categories for name in (str(one), one)}  # a sheet has most as text
        return series.map(known).astype(kind)
    if kind.kind == "m":
        return pandas.to_timedelta(series, unit="s").astype(kind)
    if zone := getattr(kind, "tz", None):  # a sheet has moments as clocks show them
        earlier = np.ones(len(series), bool)
        return series.dt.tz_localize(zone, ambiguous=earlier, nonexistent="shift_forward").astype(kind)
    return series.astype(kind)


def _named(kind: Any) -> Any:
    """A type of pandas as plain data, which it may be already."""
    if isinstance(kind, Mapping):
        return kind
    categories = getattr(kind, "categories", None)
    return str(kind) if categories is None else {"ordered": bool(kind.ordered), **_index_named(categories)}


def _index_named(index: Any) -> dict[str, Any]:
    if type(index).__name__ == "IntervalIndex":
        ends = {"left": _index_named(index.left), "right": _index_named(index.right)}
        return {"closed": index.closed, **ends}
    values = index.tolist()
    is_plain = all(isinstance(value, str | int | float) for value in values)
    return {"type": str(index.dtype), "values": values if is_plain else list(map(str, values))}


def _from_name(kind: Any) -> Any:
    """A type of pandas, or what `_named` made of it."""
    import pandas

    if not isinstance(kind, Mapping):
        return pandas.api.types.pandas_dtype(kind)
    return pandas.CategoricalDtype(_index_from_name(kind), kind["ordered"])


def _index_from_name(kept: Mapping[str, Any]) -> Any:
    import pandas

    if "closed" in kept:
        ends = _index_from_name(kept["left"]), _index_from_name(kept["right"])
        return pandas.IntervalIndex.from_arrays(*ends, closed=kept["closed"])
    return pandas.Index(kept["values"]).astype(kept["type"])


def _missing(series: Any) -> int:
    return int(series.null_count() if _is_polars(series) else series.isna().sum())


def _is_polars(frame: Any) -> bool:
    """Of a frame or a series; it is not imported for that."""
    return hasattr(frame, "null_count")
