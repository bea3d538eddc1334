"""Evaluation: what metrics are given, and what a person at the keyboard is told."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from refusals import refused
from zerosum import data, metrics, recipe
from zerosum.cli import main
from zerosum.evaluation import (
    Examples,
    Judge,
    compare,
    compare_seeds,
    evaluate,
    judge_for,
    read_samples,
    real_data,
    summarised,
)
from zerosum.evaluation.examples import room
from zerosum.randomness import stream
from zerosum.run.run import Run

RING = data.ring()


def points(n: int, what: str) -> torch.Tensor:
    return RING.sample(n, stream("test", what))


# real data --------------------------------------------------------------------------------------------------


def test_finite_data_are_judged_by_what_training_never_saw() -> None:
    real = real_data(data.digits(), "digits", n=1000)
    assert real.split == "test" and len(real.judged) == 297 and len(real.train) == 1500 and real.independent
    seen = {tuple(x.flatten().tolist()) for x in real.train.values}
    assert not any(tuple(x.flatten().tolist()) in seen for x in real.judged.values)
    x = real.judged[:]
    assert x.min() == -1 and x.max() == 1 and x.shape[1:] == (1, 8, 8)
    assert real.known["classes"] == 10 and float(real.known["expected"].sum()) == pytest.approx(1)


def test_densities_give_fresh_points_for_both_parts() -> None:
    real = real_data(data.ring(std=0.02), "ring", n=500)
    assert real.known["std"] == 0.02 and len(real.judged) == len(real.train) == 500
    assert not torch.isin(real.judged.values[:, 0], real.train.values[:, 0]).any()


class NoSplits:
    shape, classes = (3,), 0

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def batch(self, step: int, n: int) -> tuple[torch.Tensor, None]:
        return torch.randn(n, 3, generator=stream(self.seed, step)), None


class Split(NoSplits):
    """A source of somebody's own that says how it is divided."""

    splits = "train", "test"

    def split(self, name: str) -> NoSplits:
        return Split(seed=["train", "test"].index(name))


def test_a_source_without_splits_says_so_and_one_with_is_heard() -> None:
    real = real_data(data.source(NoSplits()), "own", n=300)
    assert not real.independent and len(real.judged) == 300 and real.judged.shape == (3,)
    real = real_data(data.source(Split()), "own", n=300)
    assert real.independent and real.split == "test"
    wanted = Split(seed=1).batch(0, 300)[0]
    assert torch.equal(real.judged.values, wanted)


@pytest.mark.parametrize("side", [8, 64, 256])
def test_large_images_are_few_and_small_ones_are_seen_as_they_are(side: int) -> None:
    pixels = torch.randint(256, (6, 3, side, side), dtype=torch.uint8, generator=stream(side))
    examples = Examples(pixels)
    assert examples[:2].shape == (2, 3, min(side, 64), min(side, 64))
    assert examples.in_full[:2].shape == (2, 3, side, side)
    assert examples.viewed().mean().item() == pytest.approx(
        float(pixels.float().mean()) / 127.5 - 1, abs=1e-3
    )
    assert room((3, side, side), of_images=True) * 3 * side * side <= 2**28
    assert room((side,), of_images=False) * side * 4 <= 2**28


def test_classes_are_known_by_their_names() -> None:
    x, y = np.zeros((40, 3), dtype=np.float32), ["b", "a"] * 20
    real = real_data(data.source(x, y), "named", n=40)
    found = real.classes_of(["a", "b"])
    assert found is not None and found.tolist() == [0, 1] and real.classes_of(["c"]) is None


# judging ----------------------------------------------------------------------------------------------------


def test_perfect_points_score_at_their_floors() -> None:
    judge = Judge(real_data(data.ring(), "ring", n=1000))
    rows = {row["metric"]: row for row in evaluate(judge, points(1000, "perfect")) if "skipped" not in row}
    assert rows["mode_coverage"]["value"] == 8
    share = rows["high_quality_share"]
    assert share["low"] <= 0.98889 <= share["high"] and share["low"] <= share["floor"]["high"]
    assert rows["referee"]["low"] == 0 and rows["two_sample_test"]["p_value"] > 0.01
    for row in rows.values():
        assert row["low"] <= row["value"] <= row["high"] and row["space"] == "points" and row["n"] > 0
        json.dumps(row)


@pytest.mark.parametrize("weights", [[1, 1], [9, 1], [1, 2, 30]])
def test_modes_are_wanted_in_the_shares_that_the_data_have(weights: list[int]) -> None:
    means = [[float(4 * i), 0.0] for i in range(len(weights))]
    perfect, equal = data.mixture(means, 0.1, weights=weights), data.mixture(means, 0.1)
    judge = Judge(real_data(perfect, "mixture", n=2_000))
    right, wrong = (source.sample(2_000, stream("shares")) for source in (perfect, equal))
    of_right, of_wrong = (next(evaluate(judge, x, ["reverse_kl"])) for x in (right, wrong))
    assert of_right["low"] <= of_right["floor"]["high"] and not of_right["worse"]
    assert of_wrong["worse"] == (len(set(weights)) > 1)
    (row,) = compare(judge, right, wrong, ["reverse_kl"])
    assert row["significant"] == (len(set(weights)) > 1) and row["difference"] >= 0


def test_a_lost_mode_is_seen_and_significant() -> None:
    judge = Judge(real_data(data.ring(), "ring", n=400))
    perfect, again = points(400, "perfect"), points(400, "again")
    lost = again[(again - RING.modes[0]).norm(dim=1) > 0.3]
    rows = {row["metric"]: row for row in compare(judge, perfect, lost, ["reverse_kl", "prdc"])}
    assert rows["reverse_kl"]["significant"] and rows["reverse_kl"]["difference"] > 0
    assert rows["recall"]["significant"] and rows["recall"]["difference"] < 0
    same = list(compare(judge, perfect, perfect, ["reverse_kl", "sliced_wasserstein"]))
    assert same and all(row["difference"] == 0 and not row["significant"] for row in same)


def test_a_metric_asked_for_and_impossible_is_an_error_otherwise_a_note() -> None:
    judge = Judge(real_data(data.swiss_roll(), "swiss_roll", n=200))
    fake = torch.randn(200, 2, generator=stream("fake"))
    skipped = {row["metric"]: row["skipped"] for row in evaluate(judge, fake) if "skipped" in row}
    assert {"mode_coverage", "high_quality_share", "reverse_kl", "agreement", "class_kl"} <= set(skipped)
    for name in ("mode_coverage", "refere", "recall"):
        with pytest.raises(ValueError):
            list(evaluate(judge, fake, [name]))


def spread(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    return (fake.std(0) / real.std(0)).mean()


def farthest(modes: torch.Tensor, *, fake: torch.Tensor, space: str) -> metrics.Estimate:
    value = float(torch.cdist(fake, modes).min(1).values.max())
    return metrics.Estimate(value, value, value, len(fake), space, "farthest", "none")


FAULTY = {
    "an argument that there is not": (lambda real, fake, theirs: 0.0, "theirs"),
    "no samples": (lambda real: 0.0, "fake"),
    "an error inside": (lambda fake: fake.nothing, "AttributeError"),
    "no number": (lambda fake: fake, "Estimate"),
    "not finite": (lambda fake: fake.sum() * float("nan"), "nan"),
}


def test_a_metric_of_ones_own_has_an_interval_and_a_floor_and_a_verdict() -> None:
    judge = Judge(real_data(data.ring(), "ring", n=1000))
    fake = points(1000, "own")
    own = metrics.Metric.of(spread)
    for one, wide in ((fake, False), (2 * fake, True)):
        row, far, known = evaluate(judge, one, [spread, farthest, "mode_coverage"])
        assert row["metric"] == "spread" and row["low"] < row["value"] < row["high"] and row["n"] == 1000
        assert row["worse"] is wide and abs(row["floor"]["value"] - 1) < 0.1
        assert far["metric"] == "farthest" and (far["value"] > 0.5) is wide
        assert known["metric"] == "mode_coverage"
    assert (own, 1000) in judge.floors  # so that the floor is made once, however the metric was given
    (difference,) = compare(judge, fake, 2 * fake, [spread])
    assert difference["significant"] and abs(difference["difference"] - 1) < 0.1


@pytest.mark.parametrize("what", FAULTY)
def test_a_metric_of_ones_own_that_cannot_be_is_a_line(what: str) -> None:
    judge = Judge(real_data(data.ring(), "ring", n=100))
    function, named = FAULTY[what]
    with refused(named):
        list(evaluate(judge, points(100, "own"), [function]))


@pytest.mark.parametrize("spoilt", [False, True])
def test_labelled_images_are_judged_in_the_space_of_their_classifier(
    spoilt: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = metrics.train_classifier
    monkeypatch.setattr(metrics, "train_classifier", lambda *a, **k: train(*a, **k, steps=200))
    judge = Judge(real_data(data.digits(), "digits", n=297))
    fake, wanted = judge.real.train.take(slice(297)), judge.real.train_labels
    assert wanted is not None
    wanted = wanted[:297].roll(1) if spoilt else wanted[:297]
    names = ["kernel_distance", "class_coverage", "memorisation_test", "agreement"]
    rows = {row["metric"]: row for row in evaluate(judge, fake, names, wanted)}
    assert rows["kernel_distance"]["space"] == "classifier of digits"
    assert rows["kernel_distance"]["floor"]["value"] < 1 and rows["class_coverage"]["value"] == 10
    assert rows["memorisation_test"]["p_value"] < 1e-6  # the samples are training images
    assert rows["agreement"]["worse"] is spoilt and (rows["agreement"]["value"] > 0.8) is not spoilt
    assert {name for name in rows if rows[name]["worse"]} == {"memorisation_test", *["agreement"] * spoilt}


def test_what_takes_time_is_told() -> None:
    told: list[str] = []
    judge = Judge(real_data(data.ring(), "ring", n=300), progress=told.append)
    list(evaluate(judge, points(300, "told"), ["high_quality_share", "sliced_wasserstein"]))
    assert told == ["high_quality_share", "sliced_wasserstein"]


# over seeds -------------------------------------------------------------------------------------------------


def seed_rows(values: list[float]) -> list[dict[str, Any]]:
    about = {"metric": "m", "floor": {"value": 0.5}, "space": "points", "worse": False}
    return [{**about, "value": value, "run_seed": seed} for seed, value in enumerate(values)]


def test_methods_are_compared_over_seeds_in_pairs() -> None:
    base = [3.0, 9.0, 5.0, 7.0]  # seeds differ far more than the methods do
    (row,) = compare_seeds(seed_rows(base), seed_rows([v + 1 + 0.01 * i for i, v in enumerate(base)]))
    assert row["difference"] == pytest.approx(1.015) and row["significant"] and row["seeds"] == [0, 1, 2, 3]
    assert row["low"] < 1.015 < row["high"]
    (row,) = compare_seeds(seed_rows(base), seed_rows(base[::-1]))
    assert not row["significant"] and row["difference"] == pytest.approx(0)
    with pytest.raises(ValueError):
        list(compare_seeds(seed_rows(base), seed_rows([1.0])))
    (row,) = summarised(seed_rows(base))
    assert row["value"] == 6 and row["low"] < 3.1 and row["high"] > 8.9 and row["floor"] == 0.5


# the command ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ring_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "ring"
    small = {"steps": 40, "checkpoint_every": 20, "G.width": 8, "D.width": 8, "batch": 16}
    run = Run.start(path, recipe.load("ring", small))
    for _ in run.play():
        pass
    return path


def test_a_run_is_judged_and_the_rows_are_kept(ring_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(ring_run), "--n", "300", "--metrics", "mode_coverage,prdc"]) == 0
    out = capsys.readouterr().out
    assert "real data: ring, fresh points, 300 examples" in out and "coverage" in out and "floor" in out
    rows = [json.loads(line) for line in (ring_run / "evaluation.jsonl").read_text().splitlines()]
    assert {row["metric"] for row in rows} == {"mode_coverage", "precision", "recall", "density", "coverage"}
    assert all(row["step"] == 40 and row["average"] for row in rows)


def test_every_checkpoint_and_which_was_best(ring_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(ring_run), "--all", "--n", "300", "--metrics", "sliced_wasserstein"]) == 0
    out = capsys.readouterr().out
    assert "at step 0:" in out and "at step 20:" in out and "best of" in out


def test_samples_of_other_software(
    ring_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", points(300, "other").numpy())
    command = ["evaluate", str(tmp_path / "x.npy"), "--n", "300", "--metrics", "mode_coverage"]
    assert main([*command, "--data", "ring"]) == 0
    assert "8 of 8" in capsys.readouterr().out
    assert json.loads((tmp_path / "x.npy.evaluation.jsonl").read_text())["value"] == 8
    compared = [
        "evaluate",
        str(tmp_path / "x.npy"),
        "--data",
        "ring",
        "--compare",
        str(ring_run),
        "--n",
        "300",
    ]
    assert main([*compared, "--metrics", "high_quality_share"]) == 0
    assert "significant" in capsys.readouterr().out


def test_a_folder_is_judged_at_its_own_size_and_what_readers_skipped_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], own_cache: Path
) -> None:
    for name, side, n in (("real", 24, 16), ("made", 20, 12)):
        (tmp_path / name).mkdir()
        for i in range(n):
            pixels = np.random.default_rng(i).integers(0, 256, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
        (tmp_path / name / f"broken-{name}.png").write_bytes(b"\x89PNG")
    command = ["evaluate", str(tmp_path / "made"), "--data", str(tmp_path / "real"), "--metrics", "prdc"]
    assert main(command) == 0
    err = capsys.readouterr().err
    assert "3 x 20 x 20" in err and "broken-real.png" in err and "broken-made.png" in err


def test_what_is_no_number_is_not_computed(tmp_path: Path) -> None:
    for name, n in (("real", 60), ("made", 8)):
        rows = np.random.default_rng(n).normal(size=(n, 2))
        np.savetxt(tmp_path / f"{name}.csv", rows, delimiter=",", header="a,b", comments="")
    judge = judge_for(tmp_path / "made.csv", str(tmp_path / "real.csv"))
    samples, _ = read_samples(tmp_path / "made.csv", judge.real)
    rows = {row["metric"]: row for row in evaluate(judge, samples, ["table_quality"])}
    assert "skipped" in rows["column_pairs"] and rows["column_pairs"]["applies"]
    assert math.isfinite(rows["quality"]["value"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "no such run, file or folder"),
        (["{run}/samples"], "is not a run"),
        (["nowhere", "--data", "ring"], "no such run, file or folder"),
        (["{run}", "--n", "1"], "between 2"),
        (["{run}", "--n", "1000000000000"], "33,554,432"),
        (["{run}", "--metrics", "fid"], "no such metric"),
        (["{run}", "--step", "7"], "no checkpoint of step 7"),
        (["{run}", "--features", "vgg"], "invalid choice"),
        (["{run}", "--data", "mnits"], "did you mean 'mnist'"),
        (["{run}", "--data", "digits", "--features", "pixels"], "shape"),
    ],
)
def test_wrong_input_is_one_line(
    ring_run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    code = main(["evaluate", *(a.format(run=ring_run) for a in arguments)])
    error = capsys.readouterr().err
    assert code in (1, 2) and words in error and error.count("\n") == 1


def test_every_metric_has_a_floor(ring_run: Path) -> None:
    judge = judge_for(ring_run, n=300)
    for row in evaluate(judge, points(300, "floors")):
        if row.get("applies", True):
            assert row["floor"]["low"] <= row["floor"]["value"] <= row["floor"]["high"]
    assert judge.floors[metrics.POINTS["mode_coverage"], 300]["mode_coverage"].value == 8


def test_float_images_in_0_1_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((300, 8, 8), dtype=np.float32))
    assert main(["evaluate", str(tmp_path / "x.npy"), "--data", "digits", "--features", "pixels"]) == 1
    assert "[0, 1]" in capsys.readouterr().err


def test_comparisons_are_kept_and_what_cannot_be_compared_is_said(
    ring_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, samples in {"good": points(300, "good"), "far": points(300, "far") + 50}.items():
        np.save(tmp_path / f"{name}.npy", samples.numpy())
    command = ["evaluate", str(tmp_path / "good.npy"), "--data", "ring", "--n", "300"]
    assert (
        main([*command, "--compare", str(tmp_path / "far.npy"), "--metrics", "reverse_kl,sliced_wasserstein"])
        == 0
    )
    out = capsys.readouterr().out
    assert "not computed" in out and "sliced_wasserstein" in out and " significant" in out
    rows = [json.loads(line) for line in (tmp_path / "good.npy.evaluation.jsonl").read_text().splitlines()]
    assert [row["metric"] for row in rows] == ["sliced_wasserstein"] and rows[0]["second"].endswith("far.npy")
    assert main([*command, "--metrics", "recall"]) == 1 and "prdc" in capsys.readouterr().err
    assert main([*command, "--all", "--step", "3"]) == 2 and "--all" in capsys.readouterr().err


def test_a_directory_of_seeds_is_judged_and_compared(
    ring_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"steps": 3, "G.width": 8, "D.width": 8, "batch": 16}
    for method, lr in (("a", 1e-3), ("b", 1e-4)):
        for seed in (0, 1):
            settings = {**small, "seed": seed, "g_optimizer.lr": lr}
            with Run.start(tmp_path / method / f"seed{seed}", recipe.load("ring", settings)) as run:
                for _ in run.play():
                    pass
    few = ["--n", "100", "--metrics", "sliced_wasserstein"]
    assert main(["evaluate", str(tmp_path / "a"), *few]) == 0
    out = capsys.readouterr().out
    assert "over the seeds" in out and out.count("sliced_wasserstein") == 3
    assert main(["evaluate", str(tmp_path / "a"), "--compare", str(tmp_path / "b"), *few]) == 0
    assert "paired by seed" in capsys.readouterr().out
    assert len((tmp_path / "b" / "seed1" / "evaluation.jsonl").read_text().splitlines()) == 1
    for one, other in ((tmp_path / "a", ring_run), (ring_run, tmp_path / "a")):  # like with like
        assert main(["evaluate", str(one), "--compare", str(other), *few]) == 1
        assert capsys.readouterr().err.count("\n") == 1
    made = [str(tmp_path / "made.csv"), str(tmp_path / "report.html")]
    for words in (["diagnose"], ["sample", "--n", "8", "--out", made[0]], ["report", "--out", made[1]]):
        assert main([words[0], str(tmp_path / "a"), *words[1:]]) == 0
        assert "seed1" in capsys.readouterr().out or "seed1" in Path(made[1]).read_text()
    assert main(["export", str(tmp_path / "a"), "--to", str(tmp_path / "G")]) == 1  # of one: which?
    assert "seed0" in capsys.readouterr().err
