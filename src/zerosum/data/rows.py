"""Rows in a file: examples that lie on a disk and are read when they are asked for.

A file that is mapped into memory kills the process that reads it (SIGBUS) once somebody has cut it short.
What is read here is read by `os.preadv`: a file that has become too short is an error with its name.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from weakref import finalize

import torch
from torch import Tensor

__all__ = ["FileRows"]


class FileRows:
    """uint8 [N, ...] in a file, in C order, of which any rows can be had as tensors.

    Arguments:
        path: The file.
        shape: Of all that lies there.
        offset: Where it begins, in bytes.
        places: int64 [n]: rows 0, 1, ... are these of the file's. None: all of them.
        axes: The order in which the axes of the file, 0 first, are shown. Empty: as they are.

    Raises:
        OSError: if the file cannot be opened, or is too short, now or when rows are asked for.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     _ = file.write(bytes(range(12))), file.flush()
    ...     rows = FileRows(Path(file.name), (6, 2))
    ...     rows[torch.tensor([5, 0])].tolist(), rows.between(2, 4)[:].tolist()
    ([[10, 11], [0, 1]], [[4, 5], [6, 7]])
    """

    dtype = torch.uint8

    def __init__(
        self,
        path: Path,
        shape: Sequence[int],
        offset: int = 0,
        places: Tensor | None = None,
        axes: Sequence[int] = (),
    ) -> None:
        self.path, self.offset, self.places = path, offset, places
        self.stored, self.axes = torch.Size(shape), tuple(axes) or tuple(range(len(shape)))
        rows = shape[0] if places is None else len(places)
        self.shape = torch.Size([rows, *(shape[axis] for axis in self.axes[1:])])
        self.row = math.prod(self.stored[1:])
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        finalize(self, os.close, self._file)
        if os.fstat(self._file).st_size < offset + self.stored[0] * self.row:
            raise self._too_short()

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return len(self) * self.row

    def numel(self) -> int:
        return self.nbytes

    def between(self, first: int, end: int) -> FileRows:
        """The rows from `first` to before `end` of all in the file; nothing is read."""
        return FileRows(
            self.path, (end - first, *self.stored[1:]), self.offset + first * self.row, None, self.axes
        )

    def chosen(self, places: Tensor) -> FileRows:
        """These rows of all in the file, int64 [n]; nothing is read."""
        return FileRows(self.path, self.stored, self.offset, places, self.axes)

    def __getitem__(self, rows: slice | Tensor | int) -> Tensor:
        if isinstance(rows, Tensor):
            return self.index_select(0, rows)
        if isinstance(rows, int):
            return self.index_select(0, torch.tensor([range(len(self))[rows]]))[0]
        return self.index_select(0, torch.arange(*rows.indices(len(self))))

    def index_select(self, dim: int, rows: Tensor) -> Tensor:
        """As `Tensor.index_select` along axis 0, the only one."""
        if dim != 0 or (len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(self)):
            raise IndexError(
                f"rows of {len(self)} are asked for along axis 0: got axis {dim}, {rows.tolist()}"
            )
        rows = rows if self.places is None else self.places[rows]
        x = torch.empty(len(rows), *self.stored[1:], dtype=torch.uint8)
        places = memoryview(x.numpy().data).cast("B")
        for i, row in enumerate(rows.tolist()):
            place = places[i * self.row : (i + 1) * self.row]
            if os.preadv(self._file, [place], self.offset + row * self.row) != self.row:
                raise self._too_short()
        return x.permute(self.axes).contiguous()

    def _too_short(self) -> OSError:
        return OSError(
            f"{self.path} is shorter than its {self.stored[0]:,} examples: it was cut, start again"
        )
