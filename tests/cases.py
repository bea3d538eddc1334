"""How many cases a law is tried on: a second's worth in the suite, as many as asked for elsewhere."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

__all__ = ["cases"]


def cases(n: int) -> settings:
    """`n` cases of a law, or as many as ZEROSUM_CASES says (`benchmarks/properties.py` sets it)."""
    most = int(os.environ.get("ZEROSUM_CASES", n))
    return settings(max_examples=most, deadline=None, suppress_health_check=list(HealthCheck), database=None)
