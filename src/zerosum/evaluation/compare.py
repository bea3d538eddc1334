"""Comparisons: two sets of samples, or two methods over seeds, paired."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from torch import Tensor

from zerosum.evaluation.examples import Examples
from zerosum.evaluation.judge import Inapplicable, Judge, Views
from zerosum.evaluation.rows import Row, Wanted, check_fit, chosen, table
from zerosum.metrics import Metric
from zerosum.metrics.estimate import jackknife, student

__all__ = ["compare", "compare_seeds", "difference_line", "seed_line", "summarised"]

_BLOCKS = 10
_PAIRED = {  # smooth in the samples, so that a jackknife of a difference means something
    "frechet_distance",
    "kernel_distance",
    "prdc",
    "sliced_wasserstein",
    "classifier_score",
    "class_kl",
    "high_quality_share",
    "reverse_kl",
}


def compare(
    judge: Judge, first: Examples | Tensor, second: Examples | Tensor, names: Wanted = ()
) -> Iterator[Row]:
    """Differences second - first of each metric, paired: the same real data, and blocks deleted from both
    at once.

    The interval is that of the delete-a-block jackknife of the difference (10 blocks of samples, Student; the
    real examples are the same for both and held fixed); a difference is significant if 0 lies outside of it.
    Of many metrics, one in twenty shows a difference that is not there.
    """
    n = min(len(first), len(second))
    fakes = [judge.examples(x).take(slice(n)) for x in (first, second)]
    check_fit(judge.real, *fakes)
    views = [Views(judge, x) for x in fakes]
    smooth = [name for name in table(judge.real) if name in _PAIRED]
    for name, metric in chosen(names or smooth, judge.real).items():
        judge.progress(name)
        try:
            if metric.view in ("rows", "sheet"):
                raise Inapplicable("differences are not computed of metrics of rows: judge each table")
            sets, facts = [judge.sets(metric, x) for x in views], judge.known(metric)
            rows = [
                {"metric": part, "space": judge.space_of(metric), **_difference(part, metric, facts, sets)}
                for part in metric(sets[0], space="", known=facts)
            ]
        except ValueError as error:
            rows = [{"metric": name, "skipped": str(error), "applies": not isinstance(error, Inapplicable)}]
        yield from rows


def _difference(
    part: str, metric: Metric, facts: Mapping[str, Any], sets: Sequence[Mapping[str, Tensor]]
) -> Row:
    fixed = {k: v for k, v in sets[0].items() if k != "fake"}

    def gap(a: Tensor, b: Tensor) -> float:
        values = [float(metric({**fixed, "fake": x}, space="", known=facts)[part]) for x in (a, b)]
        return values[1] - values[0]

    value = gap(sets[0]["fake"], sets[1]["fake"])
    low, high = student(value, jackknife(gap, sets[0]["fake"], sets[1]["fake"], blocks=_BLOCKS), _BLOCKS)
    return {"difference": value, "low": low, "high": high, "significant": not low <= 0 <= high}


def difference_line(row: Row) -> str:
    """A row of `compare` or `compare_seeds`, with its verdict."""
    if "skipped" in row:
        return f"  {row['metric']:22s} not computed: {row['skipped']}"
    verdict = "significant" if row["significant"] else "not significant"
    interval = f"[{row['low']:+.4g}, {row['high']:+.4g}]"
    return f"  {row['metric']:22s} {row['difference']:>+10.4g} {interval:24s} {verdict}"


# over seeds ---------------------------------------------------------------------------------------------


def summarised(rows: Iterable[Row]) -> Iterator[Row]:
    """Each metric over the runs of several seeds: the mean, and the 95 % interval of what another seed's mean
    may be (Student over seeds), beside the mean of the floors.
    """
    for name, values in _by_metric(rows).items():
        mine = [row["value"] for row in values.values()]
        floors = [row["floor"]["value"] for row in values.values() if row["floor"]]
        low, high = _over_seeds(mine)
        first = next(iter(values.values()))
        yield {
            "metric": name,
            "value": fmean(mine),
            "low": low,
            "high": high,
            "seeds": sorted(values),
            "least": min(mine),
            "most": max(mine),
            "floor": fmean(floors) if floors else None,
            "space": first["space"],
            "worse": sum(row["worse"] for row in values.values()),
        }


def compare_seeds(first: Iterable[Row], second: Iterable[Row]) -> Iterator[Row]:
    """Differences second - first of each metric over seeds, paired by seed: the mean of the differences with
    its 95 % interval (Student over the seeds that both have).

    Raises ValueError where fewer than two seeds are on both sides.
    """
    sides = [_by_metric(rows) for rows in (first, second)]
    for name in (name for name in sides[0] if name in sides[1]):
        seeds = sorted(sides[0][name].keys() & sides[1][name].keys())
        if len(seeds) < 2:
            raise ValueError(f"only {len(seeds)} seeds are on both sides: two or more are needed")
        gaps = [sides[1][name][seed]["value"] - sides[0][name][seed]["value"] for seed in seeds]
        low, high = _over_seeds(gaps)
        value = fmean(gaps)
        significant = not low <= 0 <= high
        yield {
            "metric": name,
            "difference": value,
            "low": low,
            "high": high,
            "significant": significant,
            "seeds": seeds,
        }


def _by_metric(rows: Iterable[Row]) -> dict[str, dict[int, Row]]:
    """Rows by metric and by the seed of their run."""
    found: dict[str, dict[int, Row]] = {}
    for row in rows:
        if "skipped" not in row:
            found.setdefault(row["metric"], {})[row["run_seed"]] = row
    return found


def _over_seeds(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return float("-inf"), float("inf")
    return student(fmean(values), stdev(values) / len(values) ** 0.5, len(values))


def seed_line(row: Row) -> str:
    """A row of `summarised`."""
    interval = f"[{row['low']:.4g}, {row['high']:.4g}]"
    floor = "" if row["floor"] is None else f"{row['floor']:.4g}"
    worse = f"worse than real data: {row['worse']} of {len(row['seeds'])}" if row["worse"] else ""
    return f"  {row['metric']:22s} {row['value']:>10.4g}{'':7s} {interval:24s} {floor:>10s}  {worse}".rstrip()
