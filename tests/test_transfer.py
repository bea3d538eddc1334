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


def begun(source: Path, path: Path, **fields: Any) -> Run:
    """A run of no turn yet that begins with the weights of `source`."""
    with Run.start(path, recipes.load("ring", TINY | fields | {"start": {"run": str(source)}})) as run:
        return run


def test_players_begin_with_the_others_average_and_its_d(source: Path, tmp_path: Path) -> None:
    other = Run.open(source).game
    run = begun(source, tmp_path)
    game, start = run.game, run.recipe.start
    assert other.G.average is not None and game.G.average is not None and game.step == 0
    for mine, theirs in (
        (game.G.network, other.G.average),
        (game.G.average, other.G.average),
        (game.D.network, other.D.network),
    ):
        assert all(torch.equal(a, b) for a, b in zip(mine.parameters(), theirs.parameters(), strict=True))
    assert start is not None and start["run"] == str(source) and start.get("step") == 3
    assert "all of G" in run.notes[-1] and "all of D" in run.notes[-1]


def test_a_transferred_run_resumes_to_the_same_bytes_without_the_other(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone, whole, halved = (tmp_path / name for name in ("gone", "whole", "halved"))
    shutil.copytree(source, gone)
    assert cli.main(words(gone, whole, "--steps=4", given=source)) == 0
    assert f"begins with step 3 of {gone}" in capsys.readouterr().err
    assert cli.main(words(gone, halved, "--steps=2", given=source)) == 0
    shutil.rmtree(gone)
    assert cli.main(words(gone, halved, "--steps=3", given=source)) == 0
    assert cli.main(["train", str(source.with_name("tiny.yaml")), "--out", str(halved), "--steps=4"]) == 0
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
        Run.start(tmp_path / "third", recipes.load(str(first / "recipe.yaml")))


def test_what_was_begun_without_a_checkpoint_begins_there_again(source: Path, tmp_path: Path) -> None:
    mine = begun(source, tmp_path).game.G.network.state_dict()
    shutil.rmtree(tmp_path / "checkpoints")
    (tmp_path / "events.jsonl").unlink()
    theirs = begun(source, tmp_path).game.G.network.state_dict()
    assert all(torch.equal(x, theirs[name]) for name, x in mine.items())


def test_what_does_not_fit_begins_anew_and_is_named(source: Path, tmp_path: Path) -> None:
    run = begun(source, tmp_path / "latent", latent=3)
    assert "all of D" in run.notes[-1] and "% of G (" in run.notes[-1] and "weight anew)" in run.notes[-1]
    assert run.game.latent == (3,)
    other = {"G": {**LAYERS, "width": 5}, "D": {**LAYERS, "width": 5}}
    with refused("start", "G", by=RecipeError):
        begun(source, tmp_path / "width", **other)
    assert begun(source, tmp_path / "width").game.latent == (2,)  # nothing was left


@pytest.mark.parametrize(
    "start", [{}, {"step": 3}, {"run": 3}, {"run": "x", "step": "y"}, {"run": "x", "to": 1}]
)
def test_a_start_that_names_no_checkpoint_is_refused(start: dict[str, Any]) -> None:
    with refused("start", by=RecipeError):
        recipes.load("ring", {"start": start})


def test_each_of_many_seeds_begins_there(source: Path, tmp_path: Path) -> None:
    assert cli.main(words(source, tmp_path, "--seeds", "2", "--steps=1", "--quiet")) == 0
    first, second = (Run.open(tmp_path / f"seed{seed}", 0).game.D.network for seed in (0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_a_run_that_is_not_there_is_refused(source: Path, tmp_path: Path) -> None:
    assert cli.main(words(tmp_path / "none", tmp_path / "b", given=source)) == 1
