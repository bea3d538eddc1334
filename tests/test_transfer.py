"""A run that begins with the weights of another, and needs that other no more once it has begun."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from refusals import refused
from zerosum import cli
from zerosum import recipe as recipes
from zerosum.recipe import RecipeError
from zerosum.run import transfer
from zerosum.run.log import Log
from zerosum.run.run import Run

LAYERS = {"name": "mlp", "width": 4, "depth": 2}
TINY = {
    "data": "ring",
    "latent": 2,
    "G": LAYERS,
    "D": LAYERS,
    "g_optimizer": "adam",
    "d_optimizer": "adam",
    "penalties": [],
    "batch": 8,
    "threads": 1,
    "watch": "none",
}


def played(path: Path, steps: int = 3, **fields: Any) -> Run:
    with Run.start(path, recipes.load("ring", {**TINY, "steps": steps, **fields})) as run:
        for _ in run.play():
            pass
    return run


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three turns; beside it lies its recipe."""
    path = tmp_path_factory.mktemp("transfer") / "source"
    path.with_name("tiny.yaml").write_text(recipes.dump(recipes.load("ring", TINY)))
    return played(path).path


def words(source: Path, out: Path, *more: str, given: Path | None = None) -> list[str]:
    recipe = str((given or source).with_name("tiny.yaml"))
    return ["train", recipe, "--from", str(source), "--out", str(out), *more]


def state(path: Path) -> dict[str, torch.Tensor]:
    game = Run.open(path).game
    return {f"{p}.{k}": x for p in "GD" for k, x in getattr(game, p).network.state_dict().items()}


def test_players_begin_with_the_others_average_and_its_d(source: Path, tmp_path: Path) -> None:
    other = Run.open(source).game
    recipe, said = transfer.begin(tmp_path, recipes.load("ring", TINY | {"steps": 2}), source)
    with Run.start(tmp_path, recipe) as run:
        game = run.game
    assert other.G.average is not None and game.G.average is not None and game.step == 0
    for mine, theirs in (
        (game.G.network, other.G.average),
        (game.G.average, other.G.average),
        (game.D.network, other.D.network),
    ):
        assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))
    assert recipe.start is not None and recipe.start["run"] == str(source) and recipe.start["step"] == 3
    assert "all of G" in said[-1] and "all of D" in said[-1]


def test_a_transferred_run_resumes_to_the_same_bytes_without_the_other(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, whole, halved = (tmp_path / name for name in ("gone", "whole", "halved"))
    shutil.copytree(source, gone)
    assert cli.main(words(gone, whole, "--steps=4", given=source)) == 0
    assert f"begins with step 3 of {gone}" in capsys.readouterr().err
    assert cli.main(words(gone, halved, "--steps=2", given=source)) == 0
    shutil.rmtree(gone)
    assert cli.main(words(gone, halved, "--steps=4", given=source)) == 0
    mine, theirs = state(halved), state(whole)
    assert all(torch.equal(x, theirs[name]) for name, x in mine.items())
    assert [e["event"] for e in Log(halved).events()].count("started") == 1


def test_its_recipe_begins_there_again_unless_the_other_has_changed(source: Path, tmp_path: Path) -> None:
    other, first, again = (tmp_path / name for name in ("other", "first", "again"))
    shutil.copytree(source, other)
    assert cli.main(words(other, first, "--steps=2", given=source)) == 0
    assert cli.main(["train", str(first / "recipe.yaml"), "--out", str(again), "--quiet"]) == 0
    assert all(torch.equal(x, state(again)[name]) for name, x in state(first).items())
    shutil.rmtree(other)
    played(other, seed=1)
    with refused("start", by=RecipeError):
        transfer.begin(tmp_path / "third", recipes.load(str(first / "recipe.yaml")))


def test_what_does_not_fit_begins_anew_and_is_named(source: Path, tmp_path: Path) -> None:
    fields = TINY | {"latent": 3, "steps": 2}
    recipe, said = transfer.begin(tmp_path / "latent", recipes.load("ring", fields), source)
    assert "all of D" in said[-1] and "% of G (" in said[-1] and "weight anew)" in said[-1]
    with Run.start(tmp_path / "latent", recipe) as run:
        assert run.game.latent == (3,)
    other = {"G": {**LAYERS, "width": 5}, "D": {**LAYERS, "width": 5}}
    with refused("start", "G", by=RecipeError):
        transfer.begin(tmp_path / "width", recipes.load("ring", TINY | other), source)
    assert not (tmp_path / "width").exists()


def test_a_transfer_is_for_one_run(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words(source, tmp_path / "a", "--seeds", "2")) == 2
    assert "--from" in capsys.readouterr().err
    assert cli.main(words(tmp_path / "none", tmp_path / "b", given=source)) == 1
