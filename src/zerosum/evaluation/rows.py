"""The rows of an evaluation: each metric with its interval, its floor and its verdict."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor

from zerosum import metrics
from zerosum.data.columns import Columns
from zerosum.evaluation.examples import Examples
from zerosum.evaluation.judge import Inapplicable, Judge, Views
from zerosum.evaluation.real import Real
from zerosum.metrics import Estimate, Metric
from zerosum.metrics.tables import QualityEstimates
from zerosum.recipe import call, suggest
from zerosum.recipe.components import bound, cause

__all__ = [
    "HEADER",
    "Row",
    "Wanted",
    "best",
    "check_fit",
    "chosen",
    "evaluate",
    "line",
    "table",
    "unsuited",
    "worse_than_floor",
]

Row = dict[str, Any]
Wanted = Sequence[str | Metric | Callable[..., Any]]
"""Metrics by name, by ``package.module:name``, or as objects."""
_PARTS = {"prdc": metrics.PRDC._fields, "table_quality": QualityEstimates._fields}
_SURE = 0.001  # a p-value below this speaks; of a dozen metrics one in a hundred perfect evaluations has one


def table(real: Real) -> dict[str, Metric]:
    """The metrics that suit this kind of data."""
    if isinstance(real.codec, Columns):
        return metrics.TABLES
    return metrics.IMAGES if real.of_images else metrics.POINTS


def check_fit(real: Real, *samples: Examples) -> None:
    """Raise ValueError for samples of another shape than the real data."""
    for fake in samples:
        if fake.shape != real.judged.shape:
            raise ValueError(
                f"the samples have shape {fake.shape} each, {real.name} {real.judged.shape}: "
                "say with --data what data of their shape they are to be judged against"
            )


def chosen(wanted: Wanted, real: Real) -> dict[str, Metric]:
    """The metrics that are wanted by what they are called, each with what it needs; if none is, all that
    suit the data.

    Raises ValueError for a metric that does not exist, or not for this kind of data; RecipeError for one of
    somebody's own that cannot be imported, or that takes what there is not.
    """
    there, found = table(real), dict[str, Metric]()
    for one in wanted:
        if not isinstance(one, str):
            metric = one if isinstance(one, Metric) else Metric.of(one)
            found[metric.name] = metric
        elif ":" in one:
            own = bound(one, "--metrics", "zerosum.metrics").func
            found[one] = own if isinstance(own, Metric) else call(partial(Metric.of, own), f"--metrics {one}")
        elif one in there:
            found[one] = there[one]
        elif whole := next((name for name, parts in _PARTS.items() if one in parts and name in there), None):
            *rest, last = _PARTS[whole]
            raise ValueError(f"--metrics {one}: {', '.join(rest)} and {last} are one metric, {whole}")
        else:
            raise ValueError(f"--metrics {one}: no such metric for this data{suggest(one, list(there))}")
    return found or there


def evaluate(
    judge: Judge,
    samples: Examples | Tensor,
    names: Wanted = (),
    wanted: Tensor | None = None,
    **about: Any,
) -> Iterator[Row]:
    """Each metric of the samples as a plain row, or as {"metric", "skipped": why, "applies"} where it cannot
    be told.

    names: the metrics, by name or as objects; a function is taken as `zerosum.metrics.Metric.of` says.
    wanted: the labels that G was asked for. about: facts for every row, such as the step. Raises ValueError
    for a metric that is unknown, or that was asked for and is impossible.
    """
    fake = judge.examples(samples)
    check_fit(judge.real, fake)
    views = Views(judge, fake)
    for name, metric in chosen(names, judge.real).items():
        judge.progress(name)
        try:
            facts, sets = judge.known(metric), judge.sets(metric, views, wanted)
            floors = judge.floor(metric, len(fake))
            estimates = metric(sets, space=judge.space_of(metric), known=facts)
        except ValueError as error:
            if names:
                raise ValueError(f"--metrics {name}: {error}") from error
            yield {"metric": name, "skipped": str(error), "applies": not isinstance(error, Inapplicable)}
            continue
        except Exception as error:  # whatever somebody's own raises
            if metric in table(judge.real).values():
                raise
            raise ValueError(f"--metrics {name}: {cause(error)}") from error
        for part, estimate in estimates.items():
            if math.isnan(estimate.value):
                why = f"these {estimate.n:,} samples, or the real examples, have nothing that it compares"
                yield {"metric": part, "skipped": why, "applies": True}
                continue
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
        "split": judge.compared.split,
        "data": judge.real.name,
        "where": judge.real.where,
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
