"""Evaluation: samples judged against real data that training never saw, each figure with its interval and
its floor.

Samples come from a run, from one of its checkpoints, or from anybody's files. The metrics are those of
`zerosum.metrics`; what is decided
here is only what they are given: which real data, how many, in which feature space.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from zerosum import metrics
from zerosum import recipe as recipes
from zerosum.data import Density, Images, Table, Vectors, order
from zerosum.metrics import Classifier, Estimate, FeatureSpace, Metric
from zerosum.metrics.estimate import jackknife, student
from zerosum.metrics.inputs import as_images
from zerosum.randomness import stream
from zerosum.run import checkpoints
from zerosum.run.run import Run

__all__ = [
    "HEADER",
    "Judge",
    "Real",
    "Subject",
    "best",
    "check_names",
    "compare",
    "difference_line",
    "evaluate",
    "judge_for",
    "line",
    "read_samples",
    "real_data",
    "subjects",
]

Row = dict[str, Any]

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


# real data ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Real:
    """Real data as metrics want them: what training saw, what it did not, and what is known besides.

    held_out, train, validation: images float ``[N, C, H, W]`` in [-1, 1] or points ``[N, d]``. split: what
    held_out is, in words.
    known: modes and std of a density; classes and expected (counts) of labelled images. encode: samples in
    the units of a table to those of its source.
    """

    name: str
    split: str
    held_out: Tensor
    train: Tensor
    labels: Tensor | None = None
    validation: Tensor | None = None
    known: Mapping[str, Any] = field(default_factory=dict)
    encode: Callable[[Tensor], Tensor] = field(default=lambda samples: samples)

    @property
    def is_images(self) -> bool:
        return self.held_out.ndim == 4


def real_data(part: recipes.Component, n: int, seed: int = 0) -> Real:
    """The real data that a recipe's `data` names: at most `n` held-out examples, and all that training saw.

    Finite sources with splits are held to them: "test" is judged against, "train" is what may have been
    memorised. A density gives fresh points for both. A source without splits has only what it trains on,
    and `split` says so.
    """
    name = part if isinstance(part, str) else str(part["name"])
    source = recipes.build_data(part, seed)
    if isinstance(source, Density):
        fresh = [source.sample(n, stream(seed, "evaluation", which)) for which in ("held out", "train")]
        known = {"modes": source.modes, "std": source.std} if len(source.modes) else {}
        return Real(name, "fresh points", fresh[0], fresh[1], known=known)
    if not isinstance(source, Images | Vectors | Table):
        x = torch.cat([source.batch(step, 256)[0] for step in range(-(-n // 256))])[:n]
        return Real(name, "training batches (the source has no splits)", x, x)
    splits = {
        name: cast("Images | Vectors | Table", source.split(name))
        for name in source.splits
        if name in ("test", "valid")
    }
    held_out = splits.get("test", source)
    rows = order(len(held_out), seed, 0, min(n, len(held_out)))
    known = order(len(source), seed, 0, _room(source)).sort().values
    return Real(
        name,
        "test" if "test" in splits else "train (the source has no held-out split)",
        _array(held_out, rows),
        _array(source, known),
        None if source.labels is None else source.labels[known],
        _array(splits["valid"], torch.arange(1000)) if "valid" in splits else None,
        _classes(held_out),
        source.codec.encode if isinstance(source, Table) else lambda samples: samples,
    )


def _classes(source: Images | Vectors | Table) -> dict[str, Any]:
    if source.labels is None:
        return {}
    return {"classes": source.classes, "expected": torch.bincount(source.labels, minlength=source.classes)}


def _room(source: Images | Vectors | Table) -> int:
    """How many training examples are looked at: all, or as many as a gigabyte holds."""
    return min(len(source), max(1, 2**28 // math.prod(source.shape)))


def _array(source: Images | Vectors | Table, rows: Tensor) -> Tensor:
    rows = rows[rows < len(source)]
    return as_images(source.pixels[rows]) if isinstance(source, Images) else source.at(rows)[0]


def read_samples(path: Path) -> Tensor:
    """Samples that other software made: .npy, .npz (its first or only array), or a folder of images of one
    size.

    Raises ValueError in one line that says what the file holds and what is wanted.
    """
    if path.is_dir():
        return as_images(_read_folder(path), str(path))
    try:
        loaded = np.load(path, allow_pickle=False)
        array = loaded[loaded.files[0]] if isinstance(loaded, np.lib.npyio.NpzFile) else loaded
    except (OSError, ValueError, IndexError, EOFError) as error:
        raise ValueError(f"{path}: not an array in .npy or .npz form, nor a folder of images") from error
    x = torch.from_numpy(np.ascontiguousarray(array))
    if x.ndim > 2 and x.is_floating_point() and x.min() >= 0 and x.max() <= 1:
        raise ValueError(
            f"{path}: floats from 0 up look like images in [0, 1]: give uint8, or floats in [-1, 1]"
        )
    return as_images(x, str(path)) if x.ndim > 2 else metrics.matched(least=1, **{str(path): x})[0]


def _read_folder(path: Path) -> Tensor:
    from PIL import Image, UnidentifiedImageError

    images, sizes = [], set()
    for file in sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith(".")):
        try:
            with Image.open(file) as image:
                images.append(np.asarray(image.convert("L" if image.mode in ("1", "L", "I;16") else "RGB")))
        except (UnidentifiedImageError, OSError) as error:
            raise ValueError(f"{file}: not an image that can be read: {error}") from error
        sizes.add(images[-1].shape)
    if len(sizes) != 1:
        found = ", ".join(" x ".join(map(str, s)) for s in sorted(sizes)[:3]) or "no image"
        raise ValueError(f"{path}: images of one size are wanted, it holds {found}")
    return torch.from_numpy(np.stack(images))


# judging ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judge:
    """Real data and the feature space that samples are seen in; what is costly is made once for all samples.

    features: pixels, classifier (trained on the data's labels), encoder (self-supervised on the data),
    efficientnet or inception.
    """

    real: Real
    features: str
    seed: int = 0

    @cached_property
    def classifier(self) -> Classifier | None:
        real = self.real
        if real.labels is None or not real.is_images:
            return None
        name = f"classifier of {real.name}"
        return metrics.train_classifier(
            real.train, real.labels, classes=real.known["classes"], seed=self.seed, name=name
        )

    @cached_property
    def space(self) -> FeatureSpace:
        if not self.real.is_images or self.features == "pixels":
            return FeatureSpace("pixels" if self.real.is_images else "points", lambda x: x)
        if self.features == "classifier":
            if self.classifier is None:
                raise ValueError(
                    f"--features classifier: {self.real.name} has no labels; use encoder or pixels"
                )
            return self.classifier.space
        makers: dict[str, Callable[[], FeatureSpace]] = {
            "encoder": lambda: metrics.train_encoder(
                self.real.train, seed=self.seed, name=f"encoder of {self.real.name}"
            ),
            "efficientnet": metrics.efficientnet,
            "inception": metrics.inception,
        }
        return makers[self.features]()

    def view(self, x: Tensor, kind: str) -> Tensor:
        """Examples as a metric of this view wants them: samples, features, probabilities or labels."""
        if kind == "samples" or (kind == "features" and not self.real.is_images):
            return x
        if kind == "features":
            return self.space(x)
        if self.classifier is None:
            raise ValueError("it needs labelled real images")
        return self.classifier.probabilities(x) if kind == "probabilities" else self.classifier.labels(x)

    @cached_property
    def views(self) -> dict[str, Views]:
        """The sets of real examples that there are, by the names that metrics have for them."""
        sets = {"real": self.real.held_out, "train": self.real.train, "validation": self.real.validation}
        return {name: Views(self, x) for name, x in sets.items() if x is not None}

    def sets(self, metric: Metric, fake: Views, wanted: Tensor | None = None) -> dict[str, Tensor]:
        """The sets that a metric needs, in its view. Raises ValueError where one cannot be had.

        wanted: the labels that a conditional generator was asked for, ``[n]``.
        """
        views: dict[str, Mapping[str, Tensor]] = {**self.views, "fake": fake}
        views |= {} if wanted is None else {"wanted": {"labels": wanted}}
        absent = [name for name in metric.sets if name not in views]
        if absent:
            raise ValueError(f"it needs {_ABSENT[absent[0]]}")
        return {name: views[name][metric.view] for name in metric.sets}

    def known(self, metric: Metric) -> dict[str, Any]:
        absent = [name for name in metric.known if name not in self.real.known]
        if absent:
            raise ValueError(f"it needs data with known {' and '.join(absent)}")
        return {name: self.real.known[name] for name in metric.known}

    def space_of(self, metric: Metric) -> str:
        """The name of the space that a metric's figure is of."""
        if metric.view == "samples":
            return "pixels" if self.real.is_images else "points"
        return self.space.name if metric.view == "features" else f"classifier of {self.real.name}"

    @cached_property
    def floors(self) -> dict[str, Mapping[str, Estimate]]:
        return {}

    def floor(self, name: str, metric: Metric) -> Mapping[str, Estimate]:
        """What real data score: one half of the held-out examples in the place of samples; made once.

        A metric that sees nothing but samples gets all of the held-out examples.
        """
        if name not in self.floors:
            sets = self.sets(metric, self.views["real"])

            def score(**halves: Tensor) -> dict[str, Estimate]:
                return metric(sets | halves, space=self.space_of(metric), known=self.known(metric))

            def halved(real: Tensor, fake: Tensor) -> dict[str, Estimate]:
                return score(real=real, fake=fake)

            self.floors[name] = (
                metrics.floor(halved, sets["real"], seed=self.seed) if "real" in sets else score()
            )
        return self.floors[name]


class Views(dict[str, Tensor]):
    """One set of examples as each view shows it, made when it is first asked for."""

    def __init__(self, judge: Judge, examples: Tensor) -> None:
        super().__init__()
        self.judge = judge
        self.examples = examples

    def __missing__(self, kind: str) -> Tensor:
        return self.setdefault(kind, self.judge.view(self.examples, kind))


_ABSENT = {"validation": "a validation split", "wanted": "labels that a conditional generator was asked for"}


def table(real: Real) -> dict[str, Metric]:
    """The metrics that suit this kind of data."""
    return metrics.IMAGES if real.is_images else metrics.POINTS


def _fitting(judge: Judge, *samples: Tensor) -> None:
    wanted = tuple(judge.real.held_out.shape[1:])
    for fake in samples:
        if tuple(fake.shape[1:]) != wanted:
            raise ValueError(
                f"the samples have shape {tuple(fake.shape[1:])} each, {judge.real.name} {wanted}: "
                "say with --data what data of their shape they are to be judged against"
            )


def check_names(names: Sequence[str], real: Real) -> None:
    """Raise ValueError for a metric that does not exist, or not for this kind of data."""
    known = table(real)
    for name in names:
        if name in metrics.PRDC._fields:
            raise ValueError(
                f"--metrics {name}: precision, recall, density and coverage are one metric, prdc"
            )
        if name not in known:
            raise ValueError(
                f"--metrics {name}: no such metric for this data{recipes.suggest(name, list(known))}"
            )


def evaluate(
    judge: Judge, fake: Tensor, names: Sequence[str] = (), wanted: Tensor | None = None, **about: Any
) -> Iterator[Row]:
    """Each metric of `fake` as a plain row, or as {"metric", "skipped": why} where it needs what is not
    there.

    wanted: the labels that G was asked for. about: facts for every row, such as the step. Raises ValueError
    for a metric that is unknown, or that was asked for by name and is impossible.
    """
    known = table(judge.real)
    check_names(names, judge.real)
    fake = judge.real.encode(fake)
    _fitting(judge, fake)
    views = Views(judge, fake)
    for name in names or known:
        metric = known[name]
        try:
            sets, facts = judge.sets(metric, views, wanted), judge.known(metric)
            floors = judge.floor(name, metric)
            estimates = metric(sets, space=judge.space_of(metric), known=facts)
        except ValueError as error:
            if names:
                raise ValueError(f"--metrics {name}: {error}") from error
            yield {"metric": name, "skipped": str(error)}
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
    return {
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


def compare(judge: Judge, first: Tensor, second: Tensor, names: Sequence[str] = ()) -> Iterator[Row]:
    """Differences second - first of each metric, paired: the same real data, and blocks deleted from both
    at once.

    The interval is that of the delete-a-block jackknife of the difference (10 blocks of samples, Student; the
    real examples are the same for both and held fixed); a difference is significant if 0 lies outside of it.
    Of many metrics, one in twenty shows a difference that is not there.
    """
    fakes = [judge.real.encode(x[: min(len(first), len(second))]) for x in (first, second)]
    _fitting(judge, *fakes)
    views = [Views(judge, x) for x in fakes]
    for name, metric in table(judge.real).items():
        if name not in (names or _PAIRED):
            continue
        try:
            sets, facts = [judge.sets(metric, x) for x in views], judge.known(metric)
            rows = [
                {"metric": part, "space": judge.space_of(metric), **_difference(part, metric, facts, sets)}
                for part in metric(sets[0], space="", known=facts)
            ]
        except ValueError as error:
            rows = [{"metric": name, "skipped": str(error)}]
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


# what is to be judged -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    """Samples with a name: of a run at a step, or of a file."""

    name: str
    samples: Tensor
    about: Mapping[str, Any]
    results: Path
    """where its rows are kept: evaluation.jsonl"""
    wanted: Tensor | None = None
    """the labels that a conditional generator was asked for"""


def subjects(
    target: Path, n: int, seed: int = 0, step: int | None = None, every: bool = False, live: bool = False
) -> Iterator[Subject]:
    """A run at one step or at `every` checkpoint, or the samples in a file or folder.

    Raises RunError for a run that cannot be opened, ValueError for a file that holds no samples.
    """
    if not (target / "recipe.yaml").is_file():
        if not target.exists():
            raise ValueError(f"{target}: no such run, file or folder")
        samples = read_samples(target)[:n]
        yield Subject(str(target), samples, {"samples": str(target)}, Path(f"{target}.evaluation.jsonl"))
        return
    for at in checkpoints.steps(target / "checkpoints") if every else [step]:
        run = Run.open(target, at)
        arrays = torch.from_numpy(np.concatenate(list(run.samples(n, seed, live))))
        samples = as_images(arrays) if arrays.dtype == torch.uint8 else arrays
        about = {"step": run.game.step, "average": not live and run.game.G.average is not None}
        wanted = run.game.labels(len(samples)).cpu() if run.game.classes else None
        name = f"{target} at step {run.game.step:,}"
        yield Subject(name, samples, about, target / "evaluation.jsonl", wanted)


def judge_for(target: Path, data: str | None, features: str | None, n: int, seed: int = 0) -> Judge:
    """Real data and a feature space for a target: what is not said follows from the run's recipe and from
    the data."""
    if not target.exists():
        raise ValueError(f"{target}: no such run, file or folder")
    if data is None and not (target / "recipe.yaml").is_file():
        raise ValueError(
            f"{target} is not a run: say with --data what real data its samples are to be judged against"
        )
    part = (
        recipes.data_component(data) if data is not None else recipes.load(str(target / "recipe.yaml")).data
    )
    real = real_data(part, n, seed)
    return Judge(real, features or ("classifier" if real.labels is not None else "encoder"), seed)


def line(row: Row) -> str:
    """A row of a table: value and interval beside the floor, under `HEADER`."""
    if "skipped" in row:
        return f"  {row['metric']:22s} not computed: {row['skipped']}"
    below = f"{row['floor']['value']:.4g}" if row["floor"] else ""
    of = f" of {row['of']}" if row["of"] else ""
    p = "" if row["p_value"] is None else f"p = {row['p_value']:.2g}"
    interval = f"[{row['low']:.4g}, {row['high']:.4g}]"
    figures = f"{row['value']:>10.4g}{of:7s} {interval:24s} {below:>10s}"
    return f"  {row['metric']:22s} {figures}  {row['space']:24s} {p}"


def difference_line(row: Row) -> str:
    """A row of `compare`, with its verdict."""
    if "skipped" in row:
        return f"  {row['metric']:22s} not computed: {row['skipped']}"
    verdict = "significant" if row["significant"] else "not significant"
    interval = f"[{row['low']:+.4g}, {row['high']:+.4g}]"
    return f"  {row['metric']:22s} {row['difference']:>+10.4g} {interval:24s} {verdict}"


def best(rows: Sequence[Row]) -> Iterator[str]:
    """Which step each metric likes best."""
    for name in dict.fromkeys(row["metric"] for row in rows if row["higher_is_better"] is not None):
        mine = [row for row in rows if row["metric"] == name]
        top = (max if mine[0]["higher_is_better"] else min)(mine, key=lambda row: row["value"])
        interval = f"[{top['low']:.4g}, {top['high']:.4g}]"
        yield f"  {name:22s} {top['value']:>10.4g} {interval:24s} at step {top['step']:,}"


HEADER = f"  {'metric':22s} {'value':>10s}{'':7s} {'95 % interval':24s} {'floor':>10s}  space"
