"""What the samples lack beside the data, and whether they suffer."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from zerosum.watch.facts import Facts
from zerosum.watch.finding import Evidence
from zerosum.watch.history import GAIN, History

__all__ = ["gets_nearer", "is_far", "is_good", "lack", "lacks_variety", "like_data", "shortfall", "suffering"]

FAR = 0.05  # energy distance above which a D that sees nothing wrong is blind
GOOD = 0.6  # of what real data score in coverage, above which the samples show no fault of the game
LIKE = 0.5  # of the samples lie near data: what they lack then is variety
EQUAL = 0.9  # of what real data score in coverage, above which a part that is missing cannot be seen

COVERAGE = 1 - 2**-5  # what real data score in `coverage` (Naeem et al. 2020)


def is_good(h: History, f: Facts) -> bool:
    """Whether the samples show no fault: they cover most of the data, and every mode of a known mixture."""
    modes = h.recent("modes_covered")
    return h.recent("coverage") > GOOD * COVERAGE and not modes < f.modes


def suffering(h: History, f: Facts) -> bool:
    """Whether the samples are bad, and no longer get better or were better before; so taken where nobody
    looked.
    """
    course = h.course
    return not is_good(h, f) and (course is None or course.idle or course.worse)


def gets_nearer(h: History) -> bool:
    """Whether the newer half of the samples' recent distances is less than the older one, on average."""
    curve = h.series("distance", 8)
    half = len(curve) // 2
    return len(curve) < 8 or fmean(curve[half:]) < GAIN * fmean(curve[:half]) or fmean(curve) < FAR


def is_far(h: History) -> bool:
    """Whether the distance of the samples from the data can be told; so taken where nobody looked."""
    return h.course is None or h.course.now > FAR


def like_data(h: History) -> float:
    """The share of samples that lie near data: at a mode, where modes are known."""
    share = h.recent("high_quality")
    return share if share == share else h.recent("precision")


def lacks_variety(h: History, f: Facts) -> bool:
    """Whether what the samples lack is variety: most lie near data, or all have stopped getting nearer."""
    return not like_data(h) < LIKE or (h.course is not None and is_far(h) and suffering(h, f))


def lack(h: History, f: Facts) -> float:
    """What the samples lack of the data, 0 to 1: the share of modes, or of the data, that is not covered; nan
    where nobody looked."""
    modes, coverage = h.recent("modes_covered"), h.recent("coverage")
    if f.modes > 1 and modes == modes:
        return 1 - modes / f.modes
    return max(1 - coverage / COVERAGE, 0.0)


def shortfall(h: History, f: Facts) -> tuple[Evidence, ...]:
    """How the samples stand beside the data, as far as somebody looked."""
    others: dict[str, dict[str, Any]] = {
        "modes_covered": {"modes": f.modes},
        "high_quality": {},
        "coverage": {"real": COVERAGE},
        "precision": {},
        "spread": {},
    }
    counted = ("modes_covered", "high_quality")
    evidence = [
        Evidence(name, x, None, (name,), given)
        for name, given in others.items()
        if (x := h.recent(name)) == x and (f.modes > 1 or name not in counted)
    ]
    if course := h.course:
        given = {"best": course.best, "at": course.at}
        evidence.append(Evidence("distance", course.now, None, ("distance",), given))
    return tuple(evidence)
