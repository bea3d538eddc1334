"""A compiled game is the game: the same draws, the same turns up to rounding, and it resumes exactly."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from refusals import refused
from zerosum import Game, data, networks, objectives, penalties
from zerosum import recipe as recipes
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


@pytest.fixture(scope="module", autouse=True)
def anew() -> Iterator[None]:
    """Nothing that other tests left in the compiler's memory."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@needs_a_compiler
def test_a_compiled_game_goes_where_the_game_goes_and_resumes_to_the_same_bytes() -> None:
    straight, first, second = game(True), game(True), game(True, seed=0)
    start = weights(straight)
    apart = max(
        float((a - b).abs().max()) for a, b in zip(played(straight, 12), played(game(False), 12), strict=True)
    )
    assert apart < 1e-5
    assert max(float((a - b).abs().max()) for a, b in zip(start, weights(straight), strict=True)) > 1e-3
    with torch._dynamo.config.patch(recompile_limit=1):  # as if these were the ninth game and the tenth
        played(first, 5)
    second.load_state_dict(first.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(played(second, 7), weights(straight), strict=True))


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
