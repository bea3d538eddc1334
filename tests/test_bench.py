"""The bench: a clock that covers the turn and changes nothing, work counted by hand, settings put back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

from zerosum import Game, cli, data, objectives, optimizers, penalties
from zerosum import recipe as recipes
from zerosum.run import autotune, bench
from zerosum.run.autotune import Setting
from zerosum.run.run import Run

LATENT, WIDTH, BATCH = 3, 5, 7
GAMES: dict[str, dict[str, Any]] = {
    "plain": {},
    "k = 3, in two parts": {"k": 3, "accumulate": 2, "batch": 8},
    "r1 and a lazy r2": {"penalties": [penalties.r1(0.1), penalties.r2(0.1, every=2)]},
    "wgan-gp": {"penalties": [penalties.wgan_gp()]},
    "simultaneous": {
        "simultaneous": True,
        "optimizers": (optimizers.extragradient(optimizers.sgd(0.01)),) * 2,
    },
    "relativistic": {"objective": objectives.relativistic_pairing()},
    "bf16": {"precision": "bf16", "penalties": [penalties.r1(0.1)]},
}
games = pytest.mark.parametrize("options", GAMES.values(), ids=[*GAMES])


def game(objective: objectives.Objective | None = None, **options: Any) -> Game:
    torch.manual_seed(0)
    G = nn.Sequential(nn.Linear(LATENT, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 2))
    D = nn.Sequential(nn.Linear(2, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1), nn.Flatten(0))
    return Game(G, D, objective or objectives.nonsaturating(), latent=LATENT, **{"batch": BATCH, **options})


def play(a_game: Game, turns: int) -> list[Tensor]:
    return [turn.d_loss for turn in a_game.play(data.ring(), turns)]


@pytest.fixture(autouse=True)
def unchanged() -> Iterator[None]:
    """Whatever a test measures, torch has as many threads and draws as before."""
    torch.manual_seed(3)
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before


def state() -> tuple[int, list[int]]:
    return torch.get_num_threads(), torch.get_rng_state().tolist()


# the clock ------------------------------------------------------------------------------------------------


@games
def test_phases_sum_to_the_turn_and_are_entered_as_algorithm_1_says(options: dict[str, Any]) -> None:
    a_game, turns = game(**options), 4
    with bench.clocked(a_game) as clock:
        begun = clock.since
        bench.play(a_game, data.ring(), turns, clock)
    phases = {phase.name: phase for phase in clock.phases(turns)}
    assert sum(phase.seconds for phase in phases.values()) * turns == pytest.approx(clock.since - begun)
    assert all(phase.seconds > 0 for phase in phases.values())

    k, parts, relativistic = a_game.k, a_game.accumulate, a_game.objective.needs_real_logits
    due = sum(p.due(step) for p in a_game.penalties for step in range(turns)) / turns
    assert phases["G forward, for D"].calls == phases["D loss and backward"].calls == k * parts
    assert phases["G forward"].calls == phases["G loss and backward"].calls == parts
    assert phases["D forward, for G"].calls == parts * (2 if relativistic else 1)
    assert phases["D forward"].calls == k * parts * (2 if a_game.penalties else 1)
    assert phases["D optimizer"].calls == k and phases["G optimizer"].calls == 1
    assert phases["data and noise"].calls == 1
    assert (phases["penalties"].calls if due else 0) == due


def test_a_penalty_of_g_has_a_phase_of_its_own() -> None:
    def distance(critic: Any, real: Tensor, fake: Tensor, **of_g: Any) -> Tensor:
        return (fake - real).abs().sum(1) + 0 * critic(fake + 1)

    a_game = game(penalties=[penalties.Penalty(distance, 1.0, of="G")])
    with bench.clocked(a_game) as clock:
        bench.play(a_game, data.ring(), 3, clock)
    assert clock.calls["penalties of G"] == clock.calls["D forward, for G"] == 3
    assert clock.calls["penalties"] == 0


@games
def test_a_clocked_game_takes_the_path_of_any_other(options: dict[str, Any]) -> None:
    clocked, plain = game(**options), game(**options)
    with bench.clocked(clocked) as clock:
        bench.play(clocked, data.ring(), 4, clock)
    ends = play(clocked, 2), play(plain, 6)[4:]
    assert torch.stack(ends[0]).equal(torch.stack(ends[1]))
    ours, theirs = (dict(recipes.leaves(g.state_dict())) for g in (clocked, plain))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]) if isinstance(value, Tensor) else value == theirs[name]


@games
def test_counting_takes_the_path_of_any_other(options: dict[str, Any]) -> None:
    """The counter plays turns of the game: the first of each kind."""
    counted, plain = game(**options), game(**options)
    bench.flops(counted, data.ring())
    play(plain, counted.step)
    for ours, theirs in zip(counted.D.parameters, plain.D.parameters, strict=True):
        assert torch.equal(ours, theirs)


def hooks(a_game: Game) -> list[int]:
    """How many hooks there are, of modules and of all optimizers."""
    modules = (a_game.G.network, a_game.D.network, *a_game.penalties)
    of_modules = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules]
    return [*of_modules, len(_global_optimizer_pre_hooks), len(_global_optimizer_post_hooks)]


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_behind(error: type[BaseException] | None) -> None:
    def penalty(critic: Any, real: Tensor, fake: Tensor) -> Tensor:
        if error is not None:
            raise error
        return critic(real)

    a_game = game(penalties=[penalties.Penalty(penalty, 1.0)])
    before = hooks(a_game)
    with suppress(*[error] if error else []), bench.clocked(a_game) as clock:
        assert all(now > then for now, then in zip(hooks(a_game), before, strict=True))
        bench.play(a_game, data.ring(), 1, clock)
    assert hooks(a_game) == before
    assert clock.phase == bench.REST and clock.calls["penalties"] == 1


# work -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_operations_of_a_turn_are_those_counted_by_hand(k: int, precision: str) -> None:
    """2 m n p for each product [m, n] [n, p]; what needs no gradient has no product backward."""
    G = 2 * BATCH * (LATENT * WIDTH + WIDTH * 2)
    D = 2 * BATCH * (2 * WIDTH + WIDTH)
    weights_of_D, inputs_in_D, hidden_in_G = 2 * D, 2 * 2 * BATCH * WIDTH, 2 * BATCH * WIDTH * 2
    step_of_D = (
        G + 2 * D + weights_of_D + inputs_in_D
    )  # fakes without a graph; D on both; x asks for no gradient
    step_of_G = G + D + D + G + hidden_in_G  # through a D whose weights are spared theirs
    assert bench.flops(game(k=k, precision=precision), data.ring()) == k * step_of_D + step_of_G


def test_operations_of_a_lazy_penalty_are_the_mean_of_its_cycle() -> None:
    def work(*found: penalties.Penalty) -> float:
        return bench.flops(game(penalties=found), data.ring())

    none, always = work(), work(penalties.r1(0.1))
    assert always > none
    assert work(penalties.r1(0.1, every=4)) == (always + 3 * none) / 4


def test_operations_of_convolutions_grow_with_the_batch() -> None:
    def work(batch: int) -> float:
        recipe = recipes.load("mnist-dcgan", {"batch": batch, "data": "digits", "G.width": 4, "D.width": 4})
        source = recipes.build_source(recipe)
        return bench.flops(recipes.build_game(recipe, source.shape), source)

    assert work(8) == 2 * work(4) > 0


def test_the_peak_leaves_threads_and_randomness_alone() -> None:
    before = state()
    assert bench.peak(Setting(2, "fp32"), seconds=0.01) > 0
    assert state() == before


# settings -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rates", "best"),
    [
        ({(1, "fp32"): 10, (1, "bf16"): 11.4, (2, "fp32"): 9, (2, "bf16"): 8}, (1, "fp32")),
        ({(1, "fp32"): 10, (1, "bf16"): 11.5, (2, "fp32"): 9, (2, "bf16"): 8}, (1, "bf16")),
        ({(1, "fp32"): 10, (1, "bf16"): 11.5, (2, "fp32"): 12, (2, "bf16"): 13}, (2, "fp32")),
        ({(1, "fp32"): 10, (1, "bf16"): 20, (2, "fp32"): 12, (2, "bf16"): 13}, (1, "bf16")),
    ],
)
def test_bf16_is_best_only_where_it_is_worth_it(
    rates: dict[tuple[int, str], float], best: tuple[int, str]
) -> None:
    found = {Setting(*name): [rate / 2, rate, rate * 9] for name, rate in rates.items()}
    assert autotune.best_of(found) == Setting(*best)


def automatic(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> tuple[recipes.Recipe, Any]:
    """A small recipe of precision auto, and its source; the trial is as short as may be."""
    short = autotune.alternate

    def alternate(*given: Any, seconds: float) -> Any:
        return short(*given, seconds=0.0)

    monkeypatch.setattr(autotune, "alternate", alternate)
    small = {"name": "mlp", "width": 4, "depth": 1}
    recipe = recipes.load("ring", {"G": small, "D": small, "batch": 8, "device": "cpu", **changes})
    return replace(recipe, precision="auto"), recipes.build_source(recipe)


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_settled_is_concrete_and_disturbs_nothing(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    recipe, source = automatic(monkeypatch, threads=threads)
    before = state()
    chosen, why = autotune.settled(recipe, source)
    assert state() == before
    assert chosen.precision in ("fp32", "bf16")
    assert (
        chosen.threads == threads if threads else 1 <= chosen.threads <= max(os.cpu_count() or 1, before[0])
    )
    assert replace(chosen, precision="auto", threads=threads) == recipe
    assert str(Setting(chosen.threads, chosen.precision)) in why and "\n" not in why


@pytest.mark.parametrize("name", ["bf16", "fp32"])
def test_settled_takes_the_faster(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    recipe, source = automatic(monkeypatch, threads=0)
    monkeypatch.setattr(
        autotune,
        "alternate",
        lambda game, source, settings, seconds: {s: [1.0 + (s.precision == name)] for s in settings},
    )
    assert autotune.settled(recipe, source)[0].precision == name


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_settled_leaves_what_is_concrete(precision: str) -> None:
    recipe = recipes.load("ring", {"precision": precision})
    assert autotune.settled(recipe, data.ring()) == (recipe, "")


def test_a_time_becomes_turns_when_the_run_begins_and_stays(tmp_path: Path) -> None:
    small = {"name": "mlp", "width": 4, "depth": 1}
    fields = {"G": small, "D": small, "batch": 8, "device": "cpu", "watch": "none"}
    falling = {
        "name": "scheduled",
        "base": "adam",
        "lr": {"name": "ramp", "start": 1e-3, "end": 1e-4, "steps": "50%"},
    }
    recipe = recipes.load("ring", {**fields, "g_optimizer": falling, "steps": "0.002m"})
    assert recipe.seconds == pytest.approx(0.12)
    with Run.start(tmp_path, recipe) as run:
        turns = run.recipe.turns
        assert run.recipe.steps == turns and run.log.recipe().steps == turns
        assert run.recipe.g_optimizer["lr"]["steps"] == max(1, round(turns / 2))
        list(run.play())
        assert run.game.step == turns
    with Run.start(tmp_path, recipe) as run:  # the same command again: no other trial
        assert (run.recipe.turns, run.game.step) == (turns, turns)
    for text in ("h", "1d", "-1h", "1e3h", ""):
        with pytest.raises(recipes.RecipeError):
            recipes.load("ring", {"steps": text})


# all of it ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("preset", "cores"), [("ring", 2), ("mnist-conditional", 1), ("goodfellow2014", 1)])
def test_what_is_measured_is_whole(preset: str, cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of games with labels, and of those that begin at the mean of the data."""
    small = {"data": "ring"} if preset == "ring" else {"data": "digits", "G.width": 8}
    recipe = recipes.load(preset, {**small, "batch": 8, "threads": 1, "device": "cpu"})
    monkeypatch.setattr(bench, "cores", lambda: cores)
    monkeypatch.setattr(bench, "peak", lambda setting, device, seconds: 1e9 * setting.threads)
    before, said = state(), list[str]()
    found = bench.measure(recipe, 0.01, said.append)
    assert state() == before and said
    assert found.setting == Setting(1, recipe.precision)
    assert {speed.setting for speed in found.speeds} == {
        Setting(n, p) for n in {1, cores} for p in ("fp32", "bf16")
    }
    for speed in found.speeds:
        assert 0 < speed.low <= speed.steps_per_second <= speed.high and speed.windows >= 1
        assert speed.images_per_second == speed.steps_per_second * recipe.batch * recipe.k
        assert speed.share == pytest.approx(speed.flops_per_second / (1e9 * speed.setting.threads))
        assert speed.flops_per_second == found.flops * speed.steps_per_second
    assert found.memory > 2**20 and found.device_memory == 0 and found.own.setting == found.setting
    text = bench.format_speed(found)
    assert text.splitlines()[-1].startswith(f"best: {found.best.options} (")
    assert all(phase.name in text for phase in found.phases)
    sure = tuple(replace(speed, windows=3) for speed in found.speeds)
    quiet = replace(found, load=0.1, speeds=sure)
    assert "note:" not in bench.format_speed(quiet)
    assert "other programs" in bench.format_speed(replace(quiet, load=found.cores + 1.0))
    assert "more --seconds" in bench.format_speed(
        replace(quiet, speeds=(*sure[1:], replace(sure[0], windows=2)))
    )


class Stubborn(nn.Linear):
    """A network that fits its data, and does not train."""

    def __init__(self, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> None:
        super().__init__(*inputs, *outputs)

    def forward(self, input: Tensor) -> Tensor:
        if self.training:
            raise KeyError("not today")
        return super().forward(input)


def test_a_turn_that_cannot_be_played_is_one_line() -> None:
    recipe = recipes.load("ring", {"batch": 8, "G": f"{__name__}:Stubborn"})
    with pytest.raises(
        recipes.RecipeError, match=r"^a turn of the game: KeyError: 'not today' .*line \d+\)$"
    ):
        bench.measure(recipe, 0.01)


def test_the_default_needs_no_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ZEROSUM_DATA", str(tmp_path))
    assert bench.default() == "digits"
    (tmp_path / "mnist").mkdir()
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz"):
        assert bench.default() == "digits"
        (tmp_path / "mnist" / name).touch()
    assert bench.default() == "mnist-dcgan"


# the verb -------------------------------------------------------------------------------------------------


def test_the_verb_in_a_process_of_its_own(tmp_path: Path) -> None:
    """As a user gives it: a table and its last line, progress beside it, everything in the file."""
    command = "bench digits --seconds 2 --threads 1 --G.width 16 --D.width 16 --batch=32 --json speed.json"
    done = subprocess.run(
        [sys.executable, "-m", "zerosum", *command.split()], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "speed.json").read_text())
    best = found["best"]
    lines = done.stdout.splitlines()
    assert lines[0].startswith("digits, batch 32, k 1, on ")
    assert lines[-1].startswith(f"best: --threads {best['threads']} --precision {best['precision']} (")
    assert all(line.startswith("zerosum: ") for line in done.stderr.splitlines()) and done.stderr

    assert found.keys() == set(bench.Measured.__dataclass_fields__)
    assert found["setting"] == {"threads": 1, "precision": "fp32"}
    assert best in [speed["setting"] for speed in found["speeds"]]
    for rows, kind in ((found["speeds"], bench.Speed), (found["phases"], bench.Phase)):
        assert rows and all(row.keys() == set(kind.__dataclass_fields__) for row in rows)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("bench digts", "digits"),
        ("bench ring --seconds 0", "--seconds"),
        ("bench ring --seconds nan", "--seconds"),
        ("bench ring --json nowhere/x.json", "nowhere"),
        ("bench ring --bach 3", "batch"),
        ("bench ring --data nosuch", "nosuch"),
        ("bench ring --batch", "batch"),
    ],
)
def test_a_mistake_is_one_line(wrong: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(wrong.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and says in err
