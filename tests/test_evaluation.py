"""Evaluation: what metrics are given, and what a person at the keyboard is told."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zerosum import data, evaluation
from zerosum import recipe as recipes
from zerosum.cli import main
from zerosum.evaluation import Judge, compare, evaluate, read_samples, real_data
from zerosum.randomness import stream
from zerosum.run.run import Run

RING = data.ring()


def points(n: int, what: str) -> torch.Tensor:
    return RING.sample(n, stream("test", what))


# real data --------------------------------------------------------------------------------------------------


def test_finite_data_are_judged_by_what_training_never_saw() -> None:
    real = real_data("digits", n=1000)
    assert real.split == "test" and len(real.held_out) == 297 and len(real.train) == 1500
    seen = {tuple(x.flatten().tolist()) for x in real.train}
    repeats = sum(tuple(x.flatten().tolist()) in seen for x in real.held_out)
    assert repeats == 0
    assert real.held_out.min() == -1 and real.held_out.max() == 1 and real.held_out.shape[1:] == (1, 8, 8)
    assert real.known["classes"] == 10 and int(real.known["expected"].sum()) == 297


def test_densities_give_fresh_points_for_both_parts() -> None:
    real = real_data({"name": "ring", "std": 0.02}, n=500)
    assert real.split == "fresh points" and real.known["std"] == 0.02
    assert not torch.isin(real.held_out[:, 0], real.train[:, 0]).any()


def test_a_source_without_splits_says_so() -> None:
    real = real_data("test_evaluation:NoSplits", n=300)
    assert "no splits" in real.split and real.held_out.shape == (300, 3)


class NoSplits:
    shape, classes = (3,), 0

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def batch(self, step: int, n: int) -> tuple[torch.Tensor, None]:
        return torch.randn(n, 3, generator=stream(self.seed, step)), None


# samples of other software ----------------------------------------------------------------------------------


def test_arrays_and_folders_are_read_alike(tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (7, 8, 8), generator=stream("pixels"), dtype=torch.uint8).numpy()
    np.save(tmp_path / "x.npy", pixels)
    np.savez(tmp_path / "x.npz", pixels)
    (tmp_path / "folder").mkdir()
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "folder" / f"{i}.png")
    read = [read_samples(tmp_path / name) for name in ("x.npy", "x.npz", "folder")]
    assert read[0].shape == (7, 1, 8, 8) and torch.equal(read[0], read[1]) and torch.equal(read[0], read[2])


def unreadable(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files that hold no samples, and what should be said of each."""

    class Code:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (exec, ("raise SystemExit('a pickle was executed')",))

    made = {
        name: folder / name
        for name in ("pickled.npy", "text.npy", "sizes", "nothing", "nan.npy", "range.npy")
    }
    np.save(made["pickled.npy"], np.array([Code()], dtype=object), allow_pickle=True)
    made["text.npy"].write_text("no array")
    for name in ("sizes", "nothing"):
        made[name].mkdir()
    for side in (8, 9):
        Image.new("L", (side, side)).save(made["sizes"] / f"{side}.png")
    np.save(made["nan.npy"], np.full((5, 2), np.nan, dtype=np.float32))
    np.save(made["range.npy"], np.full((5, 8, 8), 255.0, dtype=np.float32))
    said = ("not an array", "not an array", "one size", "no image", "NaN", "uint8 or floats in [-1, 1]")
    return {name: (path, words) for (name, path), words in zip(made.items(), said, strict=True)}


@pytest.mark.parametrize("name", ["pickled.npy", "text.npy", "sizes", "nothing", "nan.npy", "range.npy"])
def test_what_holds_no_samples_is_named(tmp_path: Path, name: str) -> None:
    path, words = unreadable(tmp_path)[name]
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        read_samples(path)
    assert name in str(error.value) and words in str(error.value)


def test_pickles_in_the_sense_of_python_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(pickle.dumps([1, 2, 3]))
    with pytest.raises(ValueError, match="not an array"):
        read_samples(tmp_path / "x.npy")


# judging ----------------------------------------------------------------------------------------------------


def test_perfect_points_score_at_their_floors() -> None:
    judge = Judge(real_data("ring", n=1000), "pixels")
    rows = {row["metric"]: row for row in evaluate(judge, points(1000, "perfect"))}
    assert rows["mode_coverage"]["value"] == 8
    share = rows["high_quality_share"]
    assert share["low"] <= 0.98889 <= share["high"] and share["low"] <= share["floor"]["high"]
    assert rows["referee"]["low"] == 0 and rows["two_sample_test"]["p_value"] > 0.01
    for row in rows.values():
        assert row["low"] <= row["value"] <= row["high"] and row["space"] == "points" and row["n"] > 0
        json.dumps(row)


def test_a_lost_mode_is_seen_and_significant() -> None:
    judge = Judge(real_data("ring", n=1000), "pixels")
    perfect, again = points(1000, "perfect"), points(1000, "again")
    lost = again[(again - RING.modes[0]).norm(dim=1) > 0.3]
    rows = {row["metric"]: row for row in compare(judge, perfect, lost, ["reverse_kl", "prdc"])}
    assert rows["reverse_kl"]["significant"] and rows["reverse_kl"]["difference"] > 0
    assert rows["recall"]["significant"] and rows["recall"]["difference"] < 0
    same = list(compare(judge, perfect, perfect, ["reverse_kl", "sliced_wasserstein"]))
    assert same and all(row["difference"] == 0 and not row["significant"] for row in same)


def test_a_metric_asked_for_and_impossible_is_an_error_otherwise_a_note() -> None:
    judge = Judge(real_data({"name": "swiss_roll"}, n=200), "pixels")
    fake = torch.randn(200, 2, generator=stream("fake"))
    skipped = {row["metric"]: row["skipped"] for row in evaluate(judge, fake) if "skipped" in row}
    assert (
        set(skipped) == {"mode_coverage", "high_quality_share", "reverse_kl"}
        and "modes" in skipped["reverse_kl"]
    )
    with pytest.raises(ValueError, match="mode_coverage: it needs data with known modes"):
        list(evaluate(judge, fake, ["mode_coverage"]))
    with pytest.raises(ValueError, match="did you mean 'referee'"):
        list(evaluate(judge, fake, ["refere"]))


def test_labelled_images_are_judged_in_the_space_of_their_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    train = evaluation.metrics.train_classifier
    monkeypatch.setattr(evaluation.metrics, "train_classifier", lambda *a, **k: train(*a, **k, steps=150))
    judge = Judge(real_data("digits", n=297), "classifier")
    fake = real_data("digits", n=297).train[:297]
    rows = {
        row["metric"]: row
        for row in evaluate(judge, fake, ["kernel_distance", "class_coverage", "memorisation_test"])
    }
    assert (
        rows["kernel_distance"]["space"] == "classifier of digits"
        and rows["kernel_distance"]["floor"]["value"] < 1
    )
    assert rows["class_coverage"]["value"] == 10
    assert rows["memorisation_test"]["p_value"] < 1e-6  # the samples are training images


# the command ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ring_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "ring"
    small = {"steps": 40, "checkpoint_every": 20, "G.width": 8, "D.width": 8, "batch": 16}
    run = Run.start(path, recipes.load("ring", small))
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "no such run, file or folder"),
        (["{run}/samples"], "is not a run"),
        (["nowhere", "--data", "ring"], "no such run, file or folder"),
        (["{run}", "--n", "1"], "at least two"),
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
    judge = evaluation.judge_for(ring_run, None, "pixels", 300)
    for row in evaluate(judge, points(300, "floors")):
        assert row["floor"]["low"] <= row["floor"]["value"] <= row["floor"]["high"]
    assert judge.floors["mode_coverage"]["mode_coverage"].value == 8


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
