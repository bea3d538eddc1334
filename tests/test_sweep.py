"""`zerosum sweep`: what is searched, the same trials after any interruption, and what is left of them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from refusals import refused
from zerosum import cli
from zerosum import recipe as recipes
from zerosum.evaluation import runs_of_seeds
from zerosum.recipe import RecipeError
from zerosum.run.log import Log, RunError
from zerosum.sweep import Goal, Sweep, Worker, divided
from zerosum.watch import Evidence, Finding

RANGES = {"G.width": "4,8", "g_optimizer.lr,d_optimizer.lr": "1e-4:1e-2:log"}
SMALL: dict[str, Any] = {
    "G.width": 8,
    "D.width": 8,
    "g_optimizer.lr": 1e-3,
    "d_optimizer.lr": 1e-3,
    "steps": 6,
    "batch": 16,
    "latent": 2,
    "log_every": 3,
    "checkpoint_every": 3,
    "watch": "none",
}
WORDS = [word for field, value in SMALL.items() for word in (f"--{field}", str(value))]


def sweep(path: Path, ranges: dict[str, str] = RANGES, goal: str = "", seeds: int = 2, **more: Any) -> Sweep:
    recipe = recipes.load("ring", SMALL | more)
    sought = Goal.of(recipes.build_source(recipe), goal, "lowest", n=64)
    return Sweep.begin(path, recipe, divided(ranges)[0], sought, seeds)


def leaves(recipe: recipes.Recipe) -> dict[str, Any]:
    return dict(recipes.leaves(recipes.resolved(recipe)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """A sweep of four trials that nothing disturbed."""
    made = sweep(tmp_path_factory.mktemp("sweeps") / "whole")
    assert len([*Worker(made).work(trials=4)]) == 4
    return made


@pytest.mark.parametrize(
    ("text", "distribution"),
    [
        ("32,64,128", CategoricalDistribution(("32", "64", "128"))),
        ("[0.0, 0.9],[0.5, 0.9]", CategoricalDistribution(("[0.0, 0.9]", "[0.5, 0.9]"))),
        ("0.0:0.9", FloatDistribution(0.0, 0.9)),
        ("1e-4:1e-2:log", FloatDistribution(1e-4, 1e-2, log=True)),
        ("1:8", IntDistribution(1, 8)),
        ("4:512:log", IntDistribution(4, 512, log=True)),
    ],
)
def test_a_range_is_what_it_says(text: str, distribution: object) -> None:
    ((found,), fixed) = divided({"k": text})
    assert (found.distribution, fixed) == (distribution, {})


@pytest.mark.parametrize(
    "text", ["64", "mine.networks:linear", "{name: mlp, width: 4}", "[0.0, 0.99]", "null"]
)
def test_what_is_no_range_is_a_value(text: str) -> None:
    assert divided({"G": text}) == ([], {"G": text})


@pytest.mark.parametrize(
    "fields",
    [
        *({"k": text} for text in ("3:1", "2:2", "0:1:log", "-1:1:log", "1:x", "1:2:lin", "1,1", "1,,2")),
        {"G.width,D.width": "8"},
        {"G.width,": "8:16"},
        {"k": "1:2", "k,batch": "1:2"},
    ],
)
def test_a_range_that_cannot_be_is_refused(fields: dict[str, str]) -> None:
    with refused(by=RecipeError):
        divided(fields)


def test_a_sweep_plays_seeds_and_begins_with_the_recipe(whole: Sweep) -> None:
    outcomes = whole.outcomes()
    assert [o.number for o in outcomes] == [*range(4)] and {o.state for o in outcomes} == {"complete"}
    assert outcomes[0].settings == {"G.width": 8, "g_optimizer.lr": 1e-3, "d_optimizer.lr": 1e-3}
    for outcome in outcomes:
        runs = runs_of_seeds(whole.path / "trials" / f"{outcome.number:04d}")
        assert [Log(run).recipe().seed for run in runs] == [0, 1] == [*outcome.values]
        assert all(outcome.settings.items() <= leaves(Log(run).recipe()).items() for run in runs)
        assert outcome.low is not None and outcome.low <= (outcome.value or 0) <= (outcome.high or 0)
        rows = [row["value"] for run in runs for row in Log(run).evaluations()]
        assert rows == [*outcome.values.values()]
    assert set(whole.importances()) == {r.name for r in whole.ranges}


def test_the_winner_is_the_lowest_and_its_recipe_trains(whole: Sweep, tmp_path: Path) -> None:
    best = min(whole.outcomes(), key=lambda outcome: outcome.value or 0.0)
    assert whole.ranked()[0] == best
    won = whole.write_best()
    assert won is not None
    assert leaves(recipes.load(str(won))).items() >= best.settings.items()
    assert cli.main(["train", str(won), "--steps", "1", "--quiet", "--out", str(tmp_path / "run")]) == 0


def test_a_sweep_in_pieces_is_the_same_sweep(whole: Sweep, tmp_path: Path) -> None:
    for trials in (1, 3, 4):  # each time as a new process would
        assert all(outcome.value is not None for outcome in Worker(sweep(tmp_path)).work(trials))
    assert sweep(tmp_path).outcomes() == whole.outcomes()


def test_a_trial_that_its_process_left_goes_on(whole: Sweep, tmp_path: Path) -> None:
    here = sweep(tmp_path)
    claim, other = here.claim(), sweep(tmp_path).claim()
    assert claim is not None and other is not None and (claim.trial.number, other.trial.number) == (0, 1)
    worker = Worker(here)
    worker.stop("SIGTERM")
    worker._play(claim, recipes.changed(here.recipe, claim.settings))
    claim.lock.release()  # as the death of a process does
    assert next(Worker(sweep(tmp_path)).work(trials=1)).number == 0
    assert here.outcomes()[0] == whole.outcomes()[0] and here.outcomes()[1].state == "playing"
    events = [event["event"] for event in Log(tmp_path / "trials" / "0000" / "seed0").events()]
    assert events == ["started", "stopped", "resumed", "finished"]


def test_a_trial_over_which_processes_die_is_given_up(tmp_path: Path) -> None:
    for _ in range(3):
        claim = sweep(tmp_path).claim()
        assert claim is not None and claim.trial.number == 0
        claim.lock.release()
    claim = sweep(tmp_path).claim()
    assert claim is not None and claim.trial.number == 1
    assert [outcome.state for outcome in sweep(tmp_path).outcomes()] == ["failed", "playing"]


def ill(history: Any, facts: Any) -> Finding | None:
    """A fault from step 3 on."""
    step = history.step
    return Finding("made up", "fault", step, 1.0, (Evidence("d_loss", 1.0, 0.0),)) if step >= 3 else None


JUDGED: list[float] = []


def ill_first(history: Any, facts: Any) -> Finding | None:
    """A fault of the seed that is judged first, from step 3 on."""
    found = ill(history, facts)
    if found:
        JUDGED.append(history.all[0]["d_loss"])
    return found if found and JUDGED[-1] == JUDGED[0] else None


def test_a_fault_of_one_seed_ends_the_trial_as_ill(tmp_path: Path) -> None:
    JUDGED.clear()
    found = sweep(tmp_path, {"k": "1:2"}, "d_loss", 2, faults=["test_sweep:ill_first"])
    (outcome,) = Worker(found).work(trials=1)
    assert (outcome.state, outcome.reason) == ("ill", "made up at step 3 of seed0")
    ends = [Log(run).events()[-1]["reason"] for run in runs_of_seeds(tmp_path / "trials" / "0000")]
    assert ends == ["the fault 'made up'", "another seed's fault"]


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize(
    ("fault", "more"), [("made up", {"faults": ["test_sweep:ill"]}), ("non-finite", {"g_optimizer.lr": 1e30})]
)
def test_an_ill_trial_is_ended_by_its_fault(tmp_path: Path, seeds: int, fault: str, more: Any) -> None:
    found = sweep(tmp_path, {"k": "1:2"}, "d_loss", seeds, **more)
    (outcome,) = Worker(found).work(trials=1)
    assert (outcome.state, outcome.value, outcome.reason[: len(fault)]) == ("ill", None, fault)
    assert all(record["step"] < 6 for record in Log(tmp_path / "trials" / "0000" / "seed0").records())
    assert found.write_best() is None


def test_settings_that_do_not_go_together_fail_alone(tmp_path: Path) -> None:
    found = sweep(tmp_path, {"batch": "16,18", "accumulate": "1,4"}, "d_loss", 1)
    outcomes = [*Worker(found).work(trials=8)]
    for outcome in outcomes:
        cannot_be = outcome.settings["batch"] % outcome.settings["accumulate"]
        assert outcome.state == ("failed" if cannot_be else "complete")
    assert {outcome.state for outcome in outcomes} == {"failed", "complete"}


def test_another_sweep_is_refused_in_the_same_folder(whole: Sweep) -> None:
    with refused("seeds", by=RunError):
        sweep(whole.path, seeds=3)
    with refused("G.width", by=RunError):
        sweep(whole.path, {**RANGES, "G.width": "4,16"})


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--G.width", "8:4"],
        ["--G.width", "-4:4"],
        ["--G.widht", "4:8"],
        ["--seed", "1,2"],
        ["--k", "1,2", "--goal", "d_loss"],
        ["--k", "1,2", "--minutes", "0"],
        ["--k", "1,2", "--best", "middle"],
    ],
)
def test_a_sweep_that_cannot_be_is_refused_before_it_begins(words: list[str], tmp_path: Path) -> None:
    assert cli.main(["sweep", "ring", *words, "--out", str(tmp_path / "sweep")]) == 2
    assert not (tmp_path / "sweep").exists()


def test_killed_while_it_plays_another_worker_ends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sweep"
    words = [
        "sweep",
        "ring",
        *WORDS,
        "--G.width",
        "4,8",
        "--trials",
        "2",
        "--goal",
        "d_loss",
        "--best",
        "lowest",
    ]
    words += ["--steps", "200", "--out", str(out)]
    with subprocess.Popen([sys.executable, "-m", "zerosum", *words, "--quiet"]) as worker:
        while not (out / "trials" / "0000" / "seed0" / "checkpoints" / "000003").exists():
            assert worker.poll() is None or (out / "best.yaml").exists(), "ended too early"
            if worker.poll() is not None:  # a machine so quick that all was over
                break
            time.sleep(0.005)
        worker.send_signal(signal.SIGKILL)
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "2 complete" in said and "best.yaml" in said
    assert "trial" in (out / "sweep.html").read_text()
