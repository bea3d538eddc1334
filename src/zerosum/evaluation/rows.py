"""The rows of an evaluation: each metric with its interval, its floor and its verdict."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from zerosum import metrics
from zerosum.evaluation.examples import Examples
from zerosum.evaluation.judge import Inapplicable, Judge, Views
from zerosum.evaluation.real import Real
from zerosum.metrics import Estimate, Metric
from zerosum.recipe import suggest

__all__ = [
    "HEADER",
    "Row",
    "best",
    "check_fit",
    "check_names",
    "evaluate",
    "line",
    "table",
    "unsuited",
    "worse_than_floor",
]

Row = dict[str, Any]
_SURE = 0.001  # a p-value below this speaks; of a dozen metrics one in a hundred perfect evaluations has one


def table(real: Real) -> dict[str, Metric]:
    """The metrics that suit this kind of data."""
    return metrics.IMAGES if real.of_images else metrics.POINTS


def check_fit(real: Real, *samples: Examples) -> None:
    """Raise ValueError for samples of another shape than the real data."""
    for fake in samples:
        if fake.shape != real.judged.shape:
            raise ValueError(
                f"the samples have shape {fake.shape} each, {real.name} {real.judged.shape}: "
                "say with --data what data of their shape they are to be judged against"
            )


def check_names(names: Sequence[str], real: Real) -> None:
    """Raise ValueError for a metric that does not exist, or not for this kind of data."""
    there = table(real)
    for name in names:
        if name in metrics.PRDC._fields:
            raise ValueError(
                f"--metrics {name}: precision, recall, density and coverage are one metric, prdc"
            )
        if name not in there:
            raise ValueError(f"--metrics {name}: no such metric for this data{suggest(name, list(there))}")


def evaluate(
    judge: Judge,
    samples: Examples | Tensor,
    names: Sequence[str] = (),
    wanted: Tensor | None = None,
    **about: Any,
) -> Iterator[Row]:
    """Each metric of the samples as a plain row, or as {"metric", "skipped": why, "applies"} where it cannot
    be told.

    wanted: the labels that G was asked for. about: facts for every row, such as the step. Raises ValueError
    for a metric that is unknown, or that was asked for by name and is impossible.
    """
    there = table(judge.real)
    check_names(names, judge.real)
    fake = judge.examples(samples)
    check_fit(judge.real, fake)
    views = Views(judge, fake)
    for name in names or there:
        metric = there[name]
        judge.progress(name)
        try:
            facts, sets = judge.known(metric), judge.sets(metric, views, wanted)
            floors = judge.floor(name, metric, len(fake))
            estimates = metric(sets, space=judge.space_of(metric), known=facts)
        except ValueError as error:
            if names:
                raise ValueError(f"--metrics {name}: {error}") from error
            yield {"metric": name, "skipped": str(error), "applies": not isinstance(error, Inapplicable)}
            continue
        for part, estimate in estimates.items():
            yield _row(part, estimate, floors.get(part), metric, judge, about)


def _row(
    name: str,
    estimate: Estimate,
    floor: Estimate | None,
    metric: Metric,
    judge: Judge,
    about: Mapping[str, Any],
) -> Row:
    reference = {"value": floor.value, "low": floor.low, "high": floor.high} if floor else None
    row = {
        "time": round(time.time(), 3),
        **about,
        "metric": name,
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "of": estimate.of,
        "n": estimate.n,
        "space": estimate.space,
        "interval": estimate.interval,
        "floor": reference,
        "p_value": estimate.p_value,
        "higher_is_better": metric.higher_is_better,
        "split": judge.real.split,
        "data": judge.real.name,
        "seed": judge.seed,
    }
    return row | {"worse": worse_than_floor(row)}


def worse_than_floor(row: Mapping[str, Any]) -> bool:
    """Whether samples are significantly worse than real data: by the p-value, where a metric has one, else if
    the intervals of the value and of its floor lie apart. Where neither direction is better, both are worse.
    """
    if row["p_value"] is not None:
        return row["p_value"] < _SURE
    floor = row["floor"]
    if floor is None:
        return False
    below, above = row["high"] < floor["low"], row["low"] > floor["high"]
    return {True: below, False: above, None: below or above}[row["higher_is_better"]]


HEADER = f"  {'metric':22s} {'value':>10s}{'':7s} {'95 % interval':24s} {'floor':>10s}  space"


def line(row: Row) -> str:
    """A row of a table: value and interval beside the floor, under `HEADER`."""
    if "skipped" in row:
        return f"  {row['metric']:22s} not computed: {row['skipped']}"
    below = f"{row['floor']['value']:.4g}" if row["floor"] else ""
    of = f" of {row['of']}" if row["of"] else ""
    p = "" if row["p_value"] is None else f"p = {row['p_value']:.2g}"
    interval = f"[{row['low']:.4g}, {row['high']:.4g}]"
    figures = f"{row['value']:>10.4g}{of:7s} {interval:24s} {below:>10s}"
    verdict = " ".join(["worse than real data"] * row["worse"] + [p] * bool(p))
    return f"  {row['metric']:22s} {figures}  {row['space']:24s} {verdict}".rstrip()


def unsuited(rows: Sequence[Row]) -> str:
    """The metrics that have no meaning for these data, in a line; nothing if there are none."""
    names = [row["metric"] for row in rows if "skipped" in row and not row["applies"]]
    return f"  without meaning for these data: {', '.join(names)}" if names else ""


def best(rows: Sequence[Row]) -> Iterator[str]:
    """Which step each metric likes best."""
    for name in dict.fromkeys(row["metric"] for row in rows if row["higher_is_better"] is not None):
        mine = [row for row in rows if row["metric"] == name]
        top = (max if mine[0]["higher_is_better"] else min)(mine, key=lambda row: row["value"])
        interval = f"[{top['low']:.4g}, {top['high']:.4g}]"
        yield f"  {name:22s} {top['value']:>10.4g} {interval:24s} at step {top['step']:,}"
