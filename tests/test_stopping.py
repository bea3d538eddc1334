"""A run that knows when it is done, and its best checkpoint: `--stop-when-done`, and `--step best`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import zerosum
from pages import evaluation
from refusals import refused
from zerosum import Game, cli, data, networks, objectives
from zerosum import recipe as recipes
from zerosum.run import changes, checkpoints
from zerosum.run.examined import examine
from zerosum.run.log import Log
from zerosum.run.run import Run, RunError
from zerosum.watch import instruments
from zerosum.watch.best import READING, best

# D never moves, and G leaves the data for where D is highest: done five readings after the first
AWAY: dict[str, Any] = {
    "watch": "standard",
    "g_optimizer": {"name": "adam", "lr": 0.05},
    "d_optimizer": {"name": "sgd", "lr": 0.0},
    "ema": 0.5,
    "G.width": 8,
    "D.width": 8,
    "batch": 8,
    "log_every": 10,
    "checkpoint_every": 10,
    "keep": 1,
    "steps": 200,
}
DONE = 60


def away(**changes: Any) -> recipes.Recipe:
    return recipes.load("vanilla-nonsaturating", {**AWAY, **changes})


def played(path: Path, when_done: bool = True, at_most: int = 10**9, **changes: Any) -> Run:
    """A run, interrupted at a turn at most."""
    with Run.start(path, away(**changes)) as run:
        for record in run.play(stop_when_done=when_done):
            if record["step"] >= at_most:
                run.stop("SIGTERM")
    return run


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return played(tmp_path_factory.mktemp("stopping") / "run").path


def weights(path: Path, step: int) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in (path / "checkpoints" / f"{step:06d}").glob("*.safetensors")}


# what the readings say ----------------------------------------------------------------------------------


def readings(*values: float, error: float = 0.01) -> list[dict[str, Any]]:
    rows = [(100 * (i + 1), x) for i, x in enumerate(values)]
    return [{"step": s, READING: x, "intervals": {READING: [x - error, x + error]}} for s, x in rows]


def test_without_a_reading_nothing_is_best() -> None:
    assert best([]) is None and best([{"step": 100, "d_loss": 1.0}]) is None


def test_readings_that_fall_by_a_tenth_now_and_then_go_on() -> None:
    falling = [0.95**i for i in range(40)]
    for n in range(1, 40):
        found = best(readings(*falling[:n]))
        assert found is not None and not found.done and found.step == 100 * n


def test_readings_that_fall_no_more_are_done_after_five_of_them_and_two_fifths_of_the_turns() -> None:
    stages = [best(readings(1.0, 0.5, 0.2, *[0.19] * n)) for n in range(8)]
    assert [stage is not None and stage.done for stage in stages] == [False] * 5 + [True] * 3
    late = [best(readings(*(2.0**-i for i in range(5)), *[0.06] * n, error=1e-4)) for n in range(8)]
    assert [stage is not None and stage.done for stage in late] == [False] * 5 + [True] * 3
    later = [best(readings(*(0.8**i for i in range(15)), *[0.043] * n, error=1e-4)) for n in range(12)]
    assert [stage is not None and stage.done for stage in later].index(True) == 10  # of 25 readings


def test_what_differs_by_chance_is_no_gain_and_the_newest_of_it_the_best() -> None:
    found = best(readings(1.0, 0.1, 0.009, 0.007, 0.008, 0.0065, 0.0075, 0.0066))
    assert found is not None and found.done and (found.since, found.step) == (300, 800)
    scattered = best(readings(1.0, 0.4, 0.3, 0.32, 0.3, 0.31, 0.3, 0.303))
    assert scattered is not None and scattered.step == 800
    rising = best(readings(1.0, 0.4, 0.3, 0.302, 0.305, 0.309, error=0.02))
    assert rising is not None and rising.step == 400  # they are of the same examples, and keep rising


def test_what_cannot_be_told_from_0_gains_no_more() -> None:
    stages = [best(readings(1.0, 0.1, *(0.008 - 0.001 * i for i in range(n)), error=0.01)) for n in range(8)]
    assert [stage is not None and stage.done for stage in stages].index(True) == 6


def test_more_of_the_data_covered_is_a_gain_that_the_distance_does_not_see() -> None:
    def records(*shares: float) -> list[dict[str, Any]]:
        rows = readings(*(0.001 * i for i in range(9)), error=0.001)
        return [row | {"coverage": x} for row, x in zip(rows, shares, strict=True)]

    rising = best(records(*(0.05 * 1.4**i for i in range(9))))
    assert rising is not None and not rising.done and rising.step == 900
    level = best(records(*[0.4] * 9))
    assert level is not None and level.done and (level.since, level.step) == (100, 100)
    whole = best(records(*(0.9 + 0.01 * i for i in range(9))))
    assert whole is not None and whole.done and whole.step == 100


def test_what_got_worse_does_not_change_what_was_best() -> None:
    found = best(readings(1.0, 0.2, 0.1, 0.3, 0.9, 5.0, 5.0, 5.0))
    assert found is not None and (found.step, found.since, found.done) == (300, 300, True)


# the reading --------------------------------------------------------------------------------------------


def test_the_reading_is_of_the_average_that_samples_are_drawn_from() -> None:
    torch.manual_seed(0)
    G, D = networks.mlp((2,), (2,), width=8, depth=1), networks.mlp((2,), (), width=8, depth=1)
    game = Game(G, D, objectives.nonsaturating(), latent=2, batch=8, ema=0.5)
    turn = next(game.play(data.ring(), 1))
    real = data.ring().batch(0, 200)[0]
    instrument = instruments.sample_distance(real, n=200)
    first, again = (instrument(game, turn)[0] for _ in range(2))
    assert first == again and first.low is not None and first.low < first.value < (first.high or 0)
    with torch.no_grad():
        for p in game.G.network.parameters():
            p.add_(1.0)
    assert instrument(game, turn)[0] == first  # the live G is not asked
    assert game.G.average is not None
    with torch.no_grad():
        for p in game.G.average.parameters():
            p.add_(1.0)
    assert instrument(game, turn)[0].value > first.value


def test_real_data_are_at_no_distance_from_themselves() -> None:
    class Copy(torch.nn.Module):
        """G(z) is the n-th example, whatever z is."""

        def __init__(self, x: torch.Tensor) -> None:
            super().__init__()
            self.x = torch.nn.Parameter(x)
            self.n = 0

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            self.n += len(z)
            return self.x[self.n - len(z) : self.n]

    real = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    D = networks.mlp((2,), (), width=8, depth=1)
    game = Game(Copy(real[200:]), D, objectives.nonsaturating(), latent=1, batch=10, ema=None)
    turn = next(
        Game(networks.mlp((1,), (2,)), D, objectives.nonsaturating(), latent=1, batch=10).play(real, 1)
    )
    [reading] = instruments.sample_distance(real[:200], n=200)(game, turn)
    assert reading.low is not None and reading.high is not None
    assert abs(reading.value) < 0.02 and reading.low <= 0.01 and reading.high >= -0.01


# the run ------------------------------------------------------------------------------------------------


def test_a_run_ends_when_it_is_done_and_says_why(done: Path) -> None:
    last = Log(done).events()[-1]
    assert (last["event"], last["step"]) == ("stopped", DONE)
    assert last.get("best") == 10 and "10" in last.get("reason", "")
    assert checkpoints.steps(done / "checkpoints") == [10, DONE]  # keep: 1, and the best


def test_the_same_command_again_plays_nothing(done: Path) -> None:
    before = weights(done, DONE)
    assert played(done).game.step == DONE and weights(done, DONE) == before


def test_asked_or_not_the_game_is_the_same_and_goes_on(done: Path, tmp_path: Path) -> None:
    run = played(tmp_path / "run", when_done=False, keep=100, steps=90)
    assert run.game.step == 90 and run.best is not None and run.best.done
    assert weights(run.path, DONE) == weights(done, DONE)


@pytest.mark.parametrize("at", [20, 50])
def test_an_interrupted_run_ends_at_the_same_turn(at: int, done: Path, tmp_path: Path) -> None:
    assert played(tmp_path / "run", at_most=at).game.step == at + 1  # off the clock of the readings
    assert played(tmp_path / "run").game.step == DONE
    assert weights(tmp_path / "run", DONE) == weights(done, DONE)
    assert Log(tmp_path / "run").events()[-1].get("best") == 10


def test_the_last_checkpoint_is_judged_whatever_the_clock(tmp_path: Path) -> None:
    run = played(tmp_path / "run", when_done=False, steps=25)
    assert [r["step"] for r in run.history if READING in r] == [10, 20, 25]


def test_a_run_that_cannot_tell_refuses(tmp_path: Path) -> None:
    with refused("watch", by=RunError):
        played(tmp_path / "run", watch="none")


# schedules ----------------------------------------------------------------------------------------------

FALLS: dict[str, Any] = {
    "g_optimizer": {
        "name": "scheduled",
        "base": {"name": "adam", "lr": 0.05},
        "lr": {"name": "ramp", "start": 0.05, "end": 0.01, "steps": 200},
    },
}
COOLED = 80  # four thirds of the turns at which it was done


@pytest.fixture(scope="module")
def cooled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return played(tmp_path_factory.mktemp("stopping") / "cooled", **FALLS).path


def test_a_schedule_comes_to_its_end_before_a_run_that_is_done_ends(cooled: Path) -> None:
    *_, changed, ended = Log(cooled).events()
    assert (changed["event"], changed["step"], ended["event"], ended["step"]) == (
        "changed",
        60,
        "finished",
        80,
    )
    assert changed.get("reason") == "no longer improving since step 10"
    run = Run.open(cooled)
    assert run.game.step == COOLED and run.recipe.steps == COOLED
    assert run.game.G.optimizer.param_groups[0]["lr"] == pytest.approx(0.01, abs=0.0025)
    assert checkpoints.steps(cooled / "checkpoints") == [10, COOLED]


@pytest.mark.parametrize("steps", [60, 75])
def test_interrupted_before_or_after_that_it_ends_in_the_same_bytes(
    steps: int, cooled: Path, tmp_path: Path
) -> None:
    if steps == 60:  # saved, and ended before it was changed
        played(tmp_path / "run", when_done=False, steps=60, **FALLS)
    else:
        played(tmp_path / "run", at_most=70, **FALLS)
    assert played(tmp_path / "run", **FALLS).game.step == COOLED
    assert weights(tmp_path / "run", COOLED) == weights(cooled, COOLED)


def test_the_report_says_why_it_ended_before_its_last_step(cooled: Path) -> None:
    assert cli.main(["report", str(cooled), "--out", str(cooled / "report.html")]) == 0
    assert "80 of 200 steps" in (page := (cooled / "report.html").read_text())
    assert "no longer improving since step 10." in page


def test_more_steps_go_on_from_there(cooled: Path, tmp_path: Path) -> None:
    shutil.copytree(cooled, tmp_path / "run")
    assert played(tmp_path / "run", when_done=False, **FALLS).game.step == COOLED
    for _ in range(2):  # and once more, now that it is in the recipe
        assert played(tmp_path / "run", False, **FALLS, steps=90).game.step == 90
    assert played(tmp_path / "run", **FALLS, steps=300).game.step == 90  # done, and nothing falls


def test_schedules_go_on_from_where_they_stand_in_what_time_is_left() -> None:
    recipe = away(
        **FALLS, k=2, penalties=[{"name": "r1", "weight": {**FALLS["g_optimizer"]["lr"], "begin": 150}}]
    )
    fields = changes.sooner(recipe, 60)
    assert fields is not None and fields.keys() == {"g_optimizer", "penalties", "steps"}
    ramp = fields["g_optimizer"]["lr"]
    assert (ramp["begin"], ramp["steps"]) == (60, 20) and ramp["start"] == pytest.approx(0.038)
    ramp = fields["penalties"][0]["weight"]  # 2 steps of D a turn: it begins at turn 75, and ends at 175
    assert (ramp["begin"], ramp["steps"], ramp["start"]) == (124, 29, 0.05)
    assert changes.sooner(recipe, 160) is None  # would not end sooner
    assert changes.sooner(away(), 60) == {}


# the best checkpoint ------------------------------------------------------------------------------------


def test_best_is_a_step_for_every_verb(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Run.open(done, "best").game.step == zerosum.load(done, "best").about["step"] == 10
    for verb in (
        ["sample", str(done), "--n", "4", "--out", str(tmp_path / "x.npy")],
        ["export", str(done), "--to", str(tmp_path / "exported")],
        ["evaluate", str(done), "--n", "100", "--metrics", "mode_coverage"],
    ):
        assert cli.main([*verb, "--step", "best"]) == 0
    said = capsys.readouterr().out
    assert said.count("of step 10") + said.count("step 10,") + said.count("step 10:") >= 2
    assert cli.main(["sample", str(done), "--step", "worst"]) == 2


def test_what_was_evaluated_says_which_is_best(done: Path) -> None:
    log = Log(done)
    rows = [{"metric": "frechet_distance", "low": 0.0, "high": 9.0, "higher_is_better": False}] * 3
    for row, (step, value) in zip(rows, [(10, 2.0), (DONE, 1.0), (30, 0.0)], strict=True):  # 30 is not there
        log.add_evaluation({**row, "step": step, "value": value})
    assert checkpoints.numbered(log, "best") == DONE
    (done / "evaluation.jsonl").unlink()
    assert checkpoints.numbered(log, "best") == 10
    assert checkpoints.numbered(log, "60") == 60
    with refused("best", by=RunError):
        checkpoints.numbered(log, "worst")


@pytest.mark.parametrize(
    "other",
    [
        {"space": "inception"},
        {"split": "training examples"},
        {"data": "mnist"},
        {"average": False},
        {"n": 100},
        {"where": "sex=Female"},
    ],
    ids=str,
)
def test_the_best_is_sought_among_figures_that_were_made_alike(done: Path, other: dict[str, Any]) -> None:
    log, metric = Log(done), "kernel_distance"
    for step, value in ((10, 4.0), (DONE, 3.0), (10, 2.0), (DONE, 2.5)):  # judged twice: the newer ones count
        log.add_evaluation(evaluation(step, metric, value, average=True, where=None))
    log.add_evaluation(evaluation(DONE, metric, 0.1, **{"average": True, **other}))
    assert checkpoints.numbered(log, "best") == 10
    log.add_evaluation(evaluation(10, metric, 0.2, **{"average": True, **other}))
    assert checkpoints.numbered(log, "best") == (10 if "where" in other else DONE)
    (done / "evaluation.jsonl").unlink()


def test_diagnose_and_the_report_name_it(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["diagnose", str(done), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said.keys() == {"run", "step", "best", "findings"}  # as docs/diagnosis.md has them
    assert said["best"].keys() == {"step", "value", "low", "high", "since", "done"}
    assert said["best"]["step"] == 10 and said["best"]["done"] is True
    [state] = [f for f in said["findings"] if f["name"] == "no longer improving"]
    assert state["since"] == 10 and READING in [e["quantity"] for e in state["evidence"]]
    assert examine(done).best == best(Log(done).records())
    assert cli.main(["report", str(done), "--out", str(done / "report.html")]) == 0
    page = (done / "report.html").read_text()
    assert "<dt>best checkpoint</dt><dd>step 10</dd>" in page and "<dt>state</dt><dd>" in page


def test_the_command_line_says_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("away.yaml").write_text(recipes.dump(away(steps=80)))
    assert cli.main(["train", "away.yaml", "--out", "run", "--stop-when-done"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "no longer improving since step 10" in said[-4] and "step 10," in said[-3]
    assert said[-1].endswith("zerosum sample run --step best --n 64 --out samples.png")
