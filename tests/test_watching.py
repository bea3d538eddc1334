"""Runs that are watched: what is written, what a person is told, and what following the advice does."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from refusals import refused
from zerosum import cli
from zerosum import recipe as recipes
from zerosum.display import curve, format_diagnoses
from zerosum.run import checkpoints
from zerosum.run.examined import examine
from zerosum.run.log import Log
from zerosum.run.remedies import remedy
from zerosum.run.run import Run, RunError
from zerosum.watch.diagnosis import Advice, Finding, diagnose

SMALL = {"G.width": 16, "D.width": 16, "batch": 16, "log_every": 10, "checkpoint_every": 20}
LOG4 = math.log(4)
DARK = {"name": "digits", "low": 0.0}
MISMATCHED = ["--data.low", "0.0"]  # of digits, against the tanh of G


def trained(path: Path, name: str = "digits", stop: bool = False, **changes: Any) -> Run:
    recipe = recipes.load(name, {**SMALL, "steps": 60, **changes})
    with Run.start(path, recipe) as run:
        for _ in run.play(stop):
            pass
    return run


def weights(path: Path) -> dict[str, bytes]:
    newest = path / "checkpoints" / f"{checkpoints.steps(path / 'checkpoints')[-1]:06d}"
    return {file.name: file.read_bytes() for file in newest.glob("*.safetensors")}


def arguments(*words: str) -> list[str]:
    small = [word for name, value in SMALL.items() for word in (f"--{name}", str(value))]
    return [*words, *small]


# looking changes nothing --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits", "ring"])
def test_the_final_bytes_are_the_same_whoever_looks_on(tmp_path: Path, name: str) -> None:
    seen = [weights(trained(tmp_path / w, name, watch=w, steps=30).path) for w in ("none", "standard")]
    seen.append(weights(trained(tmp_path / "thorough", name, watch="thorough", steps=30).path))
    assert seen[0] == seen[1] == seen[2]


def test_a_resumed_run_reads_on(tmp_path: Path) -> None:
    trained(tmp_path / "run", steps=40)
    again = trained(tmp_path / "run", steps=60)
    steps = [record["step"] for record in Log(tmp_path / "run").records()]
    assert steps == [record["step"] for record in again.history] == sorted(set(steps))
    assert {*range(10, 70, 10)} <= {*steps}


# what is written ----------------------------------------------------------------------------------------


def test_records_hold_readings_with_their_intervals(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", watch="thorough", steps=20)
    first = Log(run.path).records()[0]
    assert {"d_loss", "accuracy", "g_gradient", "overfit_ratio", "coverage", "output_low"} <= first.keys()
    for name, (low, high) in first["intervals"].items():
        assert low <= first[name] <= high, name
    for line in (run.path / "metrics.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


SHIPPED = ["digits", "ring", "grid", "vectors", "table", "vanilla-minimax", "vanilla-nonsaturating"]


@pytest.mark.parametrize("name", SHIPPED)
def test_presets_raise_no_fault_in_their_first_turns(tmp_path: Path, name: str) -> None:
    recipe = recipes.load(name, {"steps": 210, "log_every": 10, "checkpoint_every": 1000, "threads": 1})
    with Run.start(tmp_path / "run", recipe) as run:
        for _ in run.play():
            assert not [f for f in run.findings if f.level != "note"]
    assert run.findings[0].name == "learning"


@pytest.mark.parametrize("log_every", [7, 25, 40])
def test_a_record_is_one_turn(tmp_path: Path, log_every: int) -> None:
    """Whatever the clocks: every reading is written, at its own step, beside the terms of that turn."""
    lazy = [{"name": "r1", "weight": 1.0, "every": 16}]
    run = trained(tmp_path / "run", steps=80, log_every=log_every, penalties=lazy)
    lines = Log(run.path).records()
    steps = [line["step"] for line in lines]
    assert steps == sorted(set(steps))
    assert {1, 25, 50, 75, 80, *range(log_every, 81, log_every)} <= set(steps)
    for line in lines:
        assert ("value_distance" in line) == (line["step"] in (1, 25, 50, 75))
        assert ("r1" in line) <= (line["step"] % 16 == 1)
        if "value_distance" in line:
            low, high = line["intervals"]["value"]
            assert line["value"] + LOG4 == pytest.approx(line["value_distance"], abs=1e-4)
            assert low <= line["value"] <= high
    assert any("r1" in line for line in lines)


def test_unwatched_runs_have_no_readings(tmp_path: Path) -> None:
    assert "g_gradient" not in Log(trained(tmp_path / "run", watch="none", steps=10).path).records()[0]


def test_faults_become_events_once(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", data=DARK)
    found = [e for e in Log(run.path).events() if e["event"] == "fault"]
    assert [e["name"] for e in found].count("range mismatch") == 1
    (fault,) = (e for e in found if e["name"] == "range mismatch")
    assert fault["evidence"] and fault["advice"][0]["field"] == "G.output"
    # a resumed run knows what stands already
    again = trained(tmp_path / "run", steps=80, data=DARK)
    names = [e["name"] for e in Log(again.path).events() if e["event"] == "fault"]
    assert names.count("range mismatch") == 1


# what a person is told ----------------------------------------------------------------------------------


def test_diagnose_explains_a_finished_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained(tmp_path / "run", data=DARK)
    assert cli.main(["diagnose", str(run.path)]) == 0
    said = capsys.readouterr().out
    assert "fault: range mismatch, since step" in said and "try --G.output Sigmoid" in said
    [first] = [
        line for line in format_diagnoses(run.path, [examine(run.path)]).splitlines() if "since step" in line
    ]
    assert "range mismatch" in first and "coverage" in first and "try --G.output Sigmoid" in first
    assert cli.main(["diagnose", str(run.path), "--json"]) == 0
    seen = json.loads(capsys.readouterr().out)
    assert seen["step"] == 60 and "range mismatch" in [f["name"] for f in seen["findings"]]


def test_diagnose_reads_files_only_and_passes_over_broken_lines(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", data=DARK)
    before = [f.name for f in examine(run.path).findings]
    for name in ("metrics.jsonl", "events.jsonl"):
        with (run.path / name).open("ab") as file:
            file.write(b'["no record"]\n{"step": "x"}\n\xff\xfe\n{"step": 70, "d_lo')
    assert [f.name for f in examine(run.path).findings] == before
    assert "range mismatch" in before


def test_diagnose_says_what_a_run_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diagnose", str(tmp_path)]) == 1
    assert "is not a run" in capsys.readouterr().err
    run = trained(tmp_path / "run", steps=10)
    (run.path / "events.jsonl").unlink()
    with refused(by=RunError):
        examine(run.path)
    begun = trained(tmp_path / "other", steps=10)
    (begun.path / "metrics.jsonl").unlink()
    assert cli.main(["diagnose", str(begun.path)]) == 0
    assert "train on" in capsys.readouterr().out


def test_a_curve_is_drawn_low_to_high() -> None:
    assert curve([0, 1, 2, 3]) == "▁▃▆█" and curve([2, 2]) == "▄▄"
    assert len(curve(list(range(1000)))) == 40 and curve(list(range(1000)))[::39] == "▁█"


# stopping, and following the advice ---------------------------------------------------------------------


def test_a_fault_stops_a_run_that_is_asked_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    words = arguments("train", "digits", "--out", out, "--steps", "60", "--on-fault", "stop", *MISMATCHED)
    assert cli.main(words) == 1
    said = capsys.readouterr()
    assert "stopped by the fault 'range mismatch' after step" in said.err
    assert f"zerosum diagnose {out}" in said.err and "state" in said.out
    assert Log(tmp_path / "run").records()[-1]["step"] < 60
    assert (
        checkpoints.steps(tmp_path / "run" / "checkpoints")[-1] == Log(tmp_path / "run").records()[-1]["step"]
    )


def test_advice_is_followed_beside_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = arguments("train", "digits", "--out", str(out), "--steps", "60", "--follow-advice", *MISMATCHED)
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "following the advice: --G.output Sigmoid" in said
    assert "it helped: range mismatch is gone" in said
    cured = recipes.load(str(tmp_path / "run-remedy1" / "recipe.yaml"))
    assert isinstance(cured.G, dict) and cured.G["output"] == "Sigmoid"
    assert Log(tmp_path / "run-remedy1").records()[-1]["step"] == 60
    assert recipes.load(str(out / "recipe.yaml")).G != cured.G, "the run that failed stays as it is"


def test_numbers_that_are_lost_are_advised_on_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the start: a rate that is no longer scheduled is not in the checkpoint."""
    out = tmp_path / "run"
    rate = "{name: ramp, start: 0.01, end: 1e30, begin: 42, steps: 1}"
    jump = f"{{name: scheduled, base: {{name: sgd, lr: 0.01}}, lr: {rate}}}"
    words = arguments("train", "ring", "--out", str(out), "--steps", "60", "--follow-advice")
    code = cli.main([*words, "--g_optimizer", jump, "--d_optimizer", jump])
    said = capsys.readouterr().out
    assert "non-finite values" in said and "from the start" in said and "it helped" in said
    assert Log(tmp_path / "run-remedy1").records()[-1]["step"] == 60 and code == 0


def test_all_of_it_is_on_by_default_and_in_the_recipe(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", steps=10)
    assert recipes.load(str(run.path / "recipe.yaml")).watch == "standard"
    assert torch.isfinite(torch.tensor([f.confidence for f in run.findings])).all()


def test_a_run_ends_at_the_fault_that_it_was_asked_to_end_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even one that would be gone at the next look."""
    once = Finding("oscillation", "fault", 10, 0.5, (), (Advice("batch", 8, "because"),))

    def diagnose(history: Any, *about: Any) -> list[Finding]:
        return [once] if history and history[-1]["step"] == 10 else []

    monkeypatch.setattr("zerosum.watch.diagnosis.diagnose", diagnose)
    run = trained(tmp_path / "run", stop=True)
    assert run.game.step == 10 and run.stopped_by_fault and "oscillation" in run.stop_reason
    assert checkpoints.steps(run.path / "checkpoints")[-1] == 10


def test_advice_that_a_recipe_cannot_take_is_passed_over(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", steps=10)
    advice = (Advice("D.cardinality", 3, "no such field"), Advice("batch", 8, "there is"))
    run.findings = [Finding("mode collapse", "fault", 0, 0.9, (), advice)]
    cure = remedy(run)
    assert cure is not None and cure.advice.field == "batch" and cure.recipe.batch == 8
    assert remedy(run, [advice[1]]) is None


def test_what_was_changed_before_is_changed_again_last(tmp_path: Path) -> None:
    """One cure is built on the other: the second fault's is no second thought about the first."""
    run = trained(tmp_path / "run", steps=10)
    advice = Advice("batch", 8, "more", {"k": 1}), Advice("k", 2, "another"), Advice("G.width", 8, "a third")
    run.findings = [Finding("mode collapse", "fault", 20, 0.9, (), advice)]
    first = remedy(run, [Advice("k", 3, "before")])
    assert first is not None and first.recipe.G["width"] == 8 and first.recipe.batch == run.recipe.batch
    second = remedy(run)
    assert second is not None and (second.recipe.batch, second.recipe.k) == (8, 1)
    assert "--batch 8 --k 1" in str(second) and second.begins == 10


def test_advice_for_a_discriminator_within_another_is_followed(tmp_path: Path) -> None:
    inner = {"name": "mlp", "width": 16, "depth": 1}
    D = {"name": "augmented", "network": inner, "augment": {"name": "diffaugment", "probability": 0.5}}
    recipe = recipes.changed(recipes.load("digits", {**SMALL, "steps": 10}), {"D": D})
    with Run.start(tmp_path / "run", recipe) as run:
        assert [*run.play()][-1]["step"] == 10
    seen = [
        {"step": 50 * i, "overfit_ratio": 0.9, "accuracy_train": 0.9, "accuracy_held": 0.5} for i in range(60)
    ]
    run.findings = diagnose(seen, run.judged)
    _, dropout, width = run.findings[0].advice
    assert (dropout.field, width.field) == ("D.network.dropout", "D.network.width")
    cure = remedy(run, [advice for advice in run.findings[0].advice if advice != width])
    assert cure is not None and cure.recipe.D["network"] == {**inner, "width": 32}


def test_events_are_json_that_any_program_reads(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "ring", steps=10)  # of no end of examples
    for line in (run.path / "events.jsonl").read_text().splitlines():
        json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert examine(run.path).findings == run.findings
