"""Real data as metrics want them: what training saw, what it did not, and what there is to know besides."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from zerosum.data import Density
from zerosum.data.codec import Codec, Pixels
from zerosum.data.columns import Columns
from zerosum.data.sheet import Sheet
from zerosum.data.source import order
from zerosum.data.tables import Table
from zerosum.data.where import Where, conditions, rows_that_meet
from zerosum.evaluation.examples import Examples, gathered, room
from zerosum.metrics.table_models import choose_target
from zerosum.randomness import stream

__all__ = ["FEW", "Real", "real_data"]

FEW = 250
"""Fewer held-out examples than this are not judged against alone: all that there are are, and it is said."""
_UNSEEN = 50  # fewer held-out examples than this cannot tell a copy from chance
_HELD_OUT = "test", "valid", "val"
_NUMBERS = 2**22  # numbers of the data that are decoded at a time


@dataclass(frozen=True)
class Real:
    """Real data.

    split: what `judged` is, in words. judged: the examples that samples are compared with, and labels,
    theirs, int64. train, train_labels: what training saw. unseen: held-out examples, for the test of copies;
    None where there are too few. independent: whether `judged` has nothing of `train`, so that what is learnt
    of the one may judge the other. known: modes, std and weights of a mixture; classes, and expected (the
    shares of classes). where: the condition that all of them meet, in words. notes: what a person should be
    told of the data."""

    name: str
    split: str
    codec: Codec
    judged: Examples
    train: Examples
    labels: Tensor | None = None
    train_labels: Tensor | None = None
    unseen: Examples | None = None
    validation: Examples | None = None
    independent: bool = True
    learn_from: int = 0
    apart: int = 0
    class_names: tuple[str, ...] = ()
    known: Mapping[str, Any] = field(default_factory=dict[str, Any])
    label: str = "class"
    where: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def of_images(self) -> bool:
        return self.judged.of_images

    def classes_of(self, labels: Any) -> Tensor | None:
        """Labels ``[n]`` as class numbers, by what the classes are called here; None where one is not."""
        numbers = {name: i for i, name in enumerate(self.class_names)}
        found = [numbers.get(str(label)) for label in labels]
        return None if None in found or not found else torch.tensor(found)


def real_data(
    source: Any,
    name: str,
    n: int,
    seed: int = 0,
    label: str = "class",
    where: Where | None = None,
    predict: str | None = None,
    unseen: Sheet | None = None,
) -> Real:
    """The real data of a source: at most `n` held-out examples, and what training saw.

    Sources with splits are held to them: "test" (or "valid") is judged against, "train" is what may have been
    memorised. Where fewer than `FEW` are held out, or none, all real examples are judged against together. A
    density gives fresh points for both.

    Of tables: where: conditions that all of the real rows meet, so that rows under a condition are judged by
    real ones under it. predict: the column that utility is measured by, else `choose_target` says. unseen:
    rows that no software has learnt from, which are judged against; what training saw is all of the source.

    Raises ValueError for a source that is no table where one of the three is given, and for what it has not.
    """
    codec, of_images = source.codec, isinstance(source.codec, Pixels)
    n = min(n, room(source.shape, of_images))
    if isinstance(source, Density):
        fresh = [source.sample(n, stream(seed, "evaluation", which)) for which in ("held out", "train")]
        facts = ("modes", "std", "weights") if len(source.modes) else ()
        known = {name: getattr(source, name) for name in facts if hasattr(source, name)}
        judged, train = map(Examples, fresh)
        return Real(name, "fresh points", codec, judged, train, unseen=judged, apart=n, known=known)
    if not isinstance(source, Table) and (where or predict or unseen is not None):
        raise ValueError(f"{name} is no table: it has no columns to choose rows or a target by")
    train = source.split("train" if unseen is None else "all") if "train" in source.splits else source
    split = next((name for name in _HELD_OUT if name in source.splits), None)
    held_out = None if split is None else source.split(split)
    if isinstance(source, Table) and unseen is not None:
        split, held_out = "held-out rows of a file of their own", source.with_rows(unseen)
    if where is not None:
        train, held_out = train.only_where(where), held_out and held_out.only_where(where)
    most = room(source.shape, of_images)
    seen, seen_labels = _read(train, len(train) if hasattr(train, "__len__") else n, most, codec)
    classes = tuple(source.class_names)
    about: dict[str, Any] = {
        "codec": codec,
        "train": seen,
        "train_labels": seen_labels,
        "class_names": classes,
        "where": None if where is None else str(where),
        "notes": tuple(source.notes),
    }
    if classes and seen_labels is not None:
        about["known"] = {"classes": len(classes), "expected": torch.tensor(source.class_shares)}
    if isinstance(source, Table) and seen.sheet is not None:
        about["known"] = about.get("known", {}) | _known_of_table(seen.sheet, source.codec, where, predict)
    if held_out is None or split is None:
        first = seen.take(slice(n))
        labels = None if seen_labels is None else seen_labels[:n]
        of = "training examples (the source has no held-out split)"
        half = len(seen) // 2
        return Real(
            name, of, judged=first, labels=labels, independent=False, learn_from=half, apart=half, **about
        )
    judged, labels = _read(held_out, n, n, codec)
    real = Real(name, split, judged=judged, labels=labels, apart=len(judged), **about)
    if "valid" in source.splits and split not in ("valid", None) and unseen is None:
        real = replace(real, validation=_read(source.split("valid"), 1000, 1000, codec)[0])
    if len(judged) >= min(FEW, n) or unseen is not None:
        return replace(real, unseen=judged)
    both = None if labels is None or seen_labels is None else torch.cat([labels, seen_labels])[:n]
    return replace(
        real,
        split=f"held-out and training examples together (only {len(judged)} are held out)",
        judged=judged.joined(seen).take(slice(n)),
        labels=both,
        unseen=judged if len(judged) >= _UNSEEN else None,
        independent=False,
        learn_from=len(seen) // 2,
        apart=len(judged) + len(seen) // 2,
    )


def _read(source: Any, n: int, most: int, codec: Codec) -> tuple[Examples, Tensor | None]:
    """The first `n` examples of a source in its own order, at most `most`, and their labels."""
    n = min(n, most, len(source) if hasattr(source, "__len__") else n)
    labels: list[Tensor] = []

    def parts() -> Iterator[Tensor]:
        rows = min(n, max(1, _NUMBERS // math.prod(source.shape)))
        for step in range(-(-n // rows)):
            x, y = source.batch(step, rows)
            if y is not None and y.ndim == 1 and not y.is_floating_point():
                labels.append(y)
            yield _held(x, codec)

    values = gathered(parts(), n)
    rows = order(len(source), source.seed, 0, n).numpy() if isinstance(source, Table) else None
    sheet = None if rows is None else source.values.take(rows)
    return Examples(values, sheet=sheet), torch.cat(labels)[: len(values)] if labels else None


def _known_of_table(sheet: Sheet, codec: Columns, where: Where | None, predict: str | None) -> dict[str, Any]:
    """What metrics of rows are told: `target` of utility, and of a condition `obeys`, sheet -> bool [n]."""
    rows = codec.arrays(sheet.take(slice(2000)))
    if predict is not None and predict not in rows:
        raise ValueError(f"there is no column {predict!r} to predict: there are {', '.join(rows)}")
    found = predict or choose_target(rows)
    facts: dict[str, Any] = {} if found is None else {"target": found}
    if where is not None:
        facts["obeys"] = partial(rows_that_meet, found=conditions(where, codec))
    return facts


def _held(x: Tensor, codec: Codec) -> Tensor:
    return codec.view(x) if isinstance(codec, Pixels) else x.float().cpu().flatten(1)
