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

    def __init__(self, path: Path, shape: Sequence[int], offset: int = 0) -> None:
        self.path, self.shape, self.offset = path, torch.Size(shape), offset
        self.row = math.prod(self.shape[1:])
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        finalize(self, os.close, self._file)
        if os.fstat(self._file).st_size < offset + self.nbytes:
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
        """The rows from `first` to before `end`; nothing is read."""
        return FileRows(self.path, (end - first, *self.shape[1:]), self.offset + first * self.row)

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
        x = torch.empty(len(rows), *self.shape[1:], dtype=torch.uint8)
        places = memoryview(x.numpy().data).cast("B")
        for i, row in enumerate(rows.tolist()):
            place = places[i * self.row : (i + 1) * self.row]
            if os.preadv(self._file, [place], self.offset + row * self.row) != self.row:
                raise self._too_short()
        return x

    def _too_short(self) -> OSError:
        return OSError(f"{self.path} is shorter than its {len(self):,} examples: it was cut, start again")
