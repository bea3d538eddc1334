"""Observers of a game: instruments read it, the diagnosis says how it stands."""

from zerosum.watch.diagnosis import Advice, Facts, Finding, diagnose, facts
from zerosum.watch.instruments import Instrument, Reading, read, standard, thorough

__all__ = [
    "Advice",
    "Facts",
    "Finding",
    "Instrument",
    "Reading",
    "diagnose",
    "facts",
    "read",
    "standard",
    "thorough",
]
