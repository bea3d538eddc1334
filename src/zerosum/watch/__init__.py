"""Observers of a game: instruments read it, the diagnosis says how it stands."""

from zerosum.watch.diagnosis import STATES, Advice, Evidence, Facts, Finding, diagnose, facts
from zerosum.watch.instrument import Examples, Instrument, Reading, Scale, cost, read
from zerosum.watch.instruments import standard, thorough

__all__ = [
    "STATES",
    "Advice",
    "Evidence",
    "Examples",
    "Facts",
    "Finding",
    "Instrument",
    "Reading",
    "Scale",
    "cost",
    "diagnose",
    "facts",
    "read",
    "standard",
    "thorough",
]
