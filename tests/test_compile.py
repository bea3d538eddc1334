"""A compiled game is the game: the same draws, the same turns up to rounding, and it resumes exactly."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._inductor
from torch import Tensor, nn

import test_ensemble
from refusals import refused
from zerosum import Game, data, networks, objectives, penalties
from zerosum import recipe as recipes
from zerosum.game import Ensemble
from zerosum.run import autotune

needs_a_compiler = pytest.mark.skipif(not shutil.which("g++"), reason="no g++ here: games stay uncompiled")


def game(compile: bool, seed: int = 0) -> Game:
    torch.manual_seed(0)
    return Game(
        networks.mlp((3,), (2,), width=16, depth=2),
        networks.mlp((2,), (), width=16, depth=2),
        objectives.relativistic_pairing(),
        [penalties.r1(0.1), penalties.wgan_gp(0.1)],
        latent=3,
        batch=16,
        seed=seed,
        lr=(1e-3, 1e-3),
        compile=compile,
    )


def weights(one: Game) -> list[Tensor]:
    return [p.detach().clone() for player in (one.G, one.D) for p in player.parameters]


def played(one: Game, turns: int) -> list[Tensor]:
    for _ in one.play(data.ring(), turns):
        pass
    return weights(one)


@needs_a_compiler
def test_a_compiled_game_goes_where_the_game_goes_and_resumes_to_the_same_bytes() -> None:
    straight, first, second = game(True), game(True), game(True, seed=0)
    start = weights(straight)
    apart = max(
        float((a - b).abs().max()) for a, b in zip(played(straight, 12), played(game(False), 12), strict=True)
    )
    assert straight.compile and 0 < apart < 1e-5
    assert max(float((a - b).abs().max()) for a, b in zip(start, weights(straight), strict=True)) > 1e-3
    played(first, 5)
    second.load_state_dict(first.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(played(second, 7), weights(straight), strict=True))


# what is compiled: the recording of a turn, played as it stands --------------------------------------------


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler gives back what it is given."""
    monkeypatch.setattr(torch._inductor, "compile", lambda graph, *_: graph)


def recorded_differs(make: Callable[..., Game], turns: int = 4) -> float:
    """The largest difference that recording makes to a weight, buffer or average."""
    one, other = make(compile=True), make(compile=False)
    for each in (one, other):
        for _ in each.play(test_ensemble.source_of(0), turns):
            pass
    assert one.compile  # it was not given up
    return test_ensemble.distance(one, other)


PENALTIES = [*test_ensemble.PENALTIES, penalties.dragan, penalties.lecam, penalties.r1]


@pytest.mark.parametrize(
    ("name", "penalty"),
    [*zip(test_ensemble.OBJECTIVES, PENALTIES, strict=True)],
    ids=lambda part: getattr(part, "__name__", part),
)
def test_a_recording_of_every_objective_and_penalty_is_the_game(
    name: str, penalty: Any, recordings: None
) -> None:
    def make(compile: bool) -> Game:
        objective = test_ensemble.OBJECTIVES[name]
        return test_ensemble.game(0, objective, penalties=[penalty(0.3)], compile=compile)

    assert recorded_differs(make) < 1e-10


WAYS: dict[str, dict[str, Any]] = {
    **{name: {"optimizers": (one,) * 2} for name, one in test_ensemble.OPTIMIZERS.items()},
    **test_ensemble.CASES,
    "accumulate": {"accumulate": 2, "penalties": [penalties.r1(0.1)]},
    "numbers made as it plays": {
        "objective": replace(objectives.hinge(), g=lambda _, x: -x * torch.tensor(2.0))
    },
}


@pytest.mark.parametrize("way", WAYS)
def test_a_recording_of_every_way_to_play_is_the_game(way: str, recordings: None) -> None:
    assert recorded_differs(partial(test_ensemble.game, 0, **WAYS[way])) < 1e-10


def test_a_recording_of_an_ensemble_is_the_ensemble(recordings: None) -> None:
    def make(compile: bool) -> Game:
        games = [
            test_ensemble.game(seed, penalties=[penalties.r1(0.1)], compile=compile) for seed in range(3)
        ]
        return Ensemble(games)

    assert recorded_differs(make) < 1e-10


class Scaled(nn.Linear):
    """A layer that says what it is told to say, and may count how often it was asked."""

    scale = 1.0
    asked = 0
    counts = False

    def forward(self, x: Tensor) -> Tensor:
        self.asked += self.counts
        return super().forward(x) * self.scale * (1 + self.asked)


def scaled(compile: bool, counts: bool = False) -> tuple[Game, Scaled]:
    torch.manual_seed(0)
    layer = Scaled(3, 2)
    layer.scale, layer.asked, layer.counts = 1.0, 0, counts
    D = networks.mlp((2,), (), width=4, depth=1)
    return Game(layer, D, objectives.nonsaturating(), latent=3, batch=8, compile=compile), layer


def test_a_network_whose_attributes_change_is_recorded_anew(recordings: None) -> None:
    made = []
    for compile in (True, False):
        one, layer = scaled(compile)
        for layer.scale in (1.0, 3.0, 0.5):
            played(one, 2)
        assert one.compile is compile
        made.append(weights(one))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*made, strict=True))


def test_a_network_that_changes_itself_is_not_compiled(recordings: None) -> None:
    one, _ = scaled(True, counts=True)
    with pytest.warns(UserWarning, match="uncompiled"):
        played(one, 1)
    assert not one.compile


def test_without_a_compiler_the_game_goes_on_with_one_line(tmp_path: Path) -> None:
    nothing = {"CXX": str(tmp_path / "none"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    words = ["train", "ring", "--G.width", "8", "--D.width", "8", "--steps", "3", "--compile", "on"]
    ended = subprocess.run(
        [sys.executable, "-m", "zerosum", *words, "--out", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env={**os.environ, **nothing},
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("the game goes on uncompiled") == 1


def test_an_error_of_the_game_is_its_own() -> None:
    broken = game(True)
    broken.objective = replace(broken.objective, d=lambda real, fake: (real - fake) @ torch.ones(3))
    with warnings.catch_warnings(), refused(by=RuntimeError):
        warnings.simplefilter("ignore")
        played(broken, 1)


@pytest.mark.parametrize(
    ("changes", "compiled"),
    [
        ({"steps": 40_000}, bool(shutil.which("g++") or shutil.which("clang++"))),
        ({"steps": 1_000}, False),
        ({"steps": 40_000, "data": "digits", "G": "dcgan", "D": "dcgan"}, False),
    ],
)
def test_auto_compiles_long_games_of_dense_players(changes: dict[str, object], compiled: bool) -> None:
    recipe = recipes.load("ring", {"compile": "auto", **changes})
    settled, said = autotune.settled(recipe, recipes.build_source(recipe))
    assert settled.compile is compiled and said.startswith("compiled") is compiled
    assert settled == replace(recipe, compile=compiled)
