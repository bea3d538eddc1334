"""Every claim of the design's table, in its order."""

from __future__ import annotations

from collections.abc import Iterator

from zerosum.claims.losses import ROWS as OF_LOSSES
from zerosum.claims.motion import ROWS as OF_MOTION
from zerosum.claims.optimum import ROWS as OF_OPTIMUM
from zerosum.claims.row import Claim, Row

__all__ = ["ROWS", "rows"]

ROWS: tuple[Claim, ...] = (*OF_LOSSES, *OF_OPTIMUM, *OF_MOTION)


def rows(seed: int = 0) -> Iterator[Row]:
    """Every row of `ROWS`, in order, as it is measured: some twenty seconds of one core in all."""
    return (row(seed) for row in ROWS)
