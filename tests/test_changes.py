"""A steered run replays to the same bytes; a checkpoint of another form is passed over, not loaded."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from zerosum import recipe as recipes
from zerosum.recipe import Recipe, RecipeError
from zerosum.run import changes, checkpoints, seeds
from zerosum.run.changes import Change
from zerosum.run.log import Log, RunError
from zerosum.run.remedies import fork
from zerosum.run.run import Run
from zerosum.run.session import Session

SMALL = {"name": "mlp", "width": 4, "depth": 1}
ADAM = {"name": "adam", "lr": 0.01}
SCHEDULED = {"name": "scheduled", "base": ADAM, "lr": 0.02}
TINY = Recipe(
    name="tiny",
    data="ring",
    latent=2,
    G=SMALL,
    D=SMALL,
    g_optimizer=ADAM,
    d_optimizer={
        "name": "lookahead_minmax",
        "base": {"name": "scheduled", "base": ADAM, "lr": 0.02},
        "every": 3,
    },
    penalties=({"name": "r1", "every": 2}, "lecam"),
    batch=8,
    steps=12,
    log_every=1,
    sample_every=1000,
    checkpoint_every=2,
    keep=9,
    threads=1,
    watch="none",
)
WISHES: dict[str, dict[str, Any]] = {
    "rate": {"g_optimizer.lr": 0.003},
    "scheduled rate": {"d_optimizer.base.lr": 0.001},
    "k": {"k": 2},
    "batch": {"batch": 4},
    "weight": {"penalties.0.weight": 3.0},
    "penalties": {"penalties": [{"name": "r1", "weight": 0.5}]},
    "objective": {"objective": "hinge"},
    "average": {"ema": 0.5},
    "two": {"objective": "least_squares", "g_optimizer.lr": 0.02},
}


def weights(path: Path) -> str:
    newest = path / "checkpoints" / f"{checkpoints.steps(path / 'checkpoints')[-1]:06d}"
    whole = b"".join(file.read_bytes() for file in sorted(newest.glob("*.safetensors")))
    return f"{newest.name} {hashlib.sha256(whole).hexdigest()}"


def play(path: Path, recipe: Recipe = TINY, stop_at: int = 99, wish_at: int = 0, **start: Any) -> Run:
    """Start or take up; wish for something when step `wish_at` is reached, stop at step `stop_at`."""
    fields = start.pop("fields", {})
    with Run.start(path, recipe, **start) as run:
        for record in run.play():
            if record["step"] == wish_at:
                changes.wish(path, "mine", fields)
            if record["step"] == stop_at:
                run.stop("test")
    return run


@pytest.mark.parametrize("fields", WISHES.values(), ids=WISHES)
def test_a_steered_run_replays_to_the_same_bytes(fields: dict[str, Any], tmp_path: Path) -> None:
    steered = tmp_path / "steered"
    play(steered, wish_at=4, fields=fields)
    (event,) = (e for e in Log(steered).events() if e["event"] == "changed")
    assert (event["step"], event["fields"]) == (5, fields) and not list((steered / "changes").iterdir())
    play(tmp_path / "plain")
    assert weights(steered) != weights(tmp_path / "plain")
    for kept in (0, 4, 6, 10):  # taken up before the change, at it, after it
        again = Path(shutil.copytree(steered, tmp_path / f"from{kept}"))
        checkpoints.forget(again / "checkpoints", kept)
        play(again)
        assert weights(again) == weights(steered), kept
        assert [e["event"] for e in Log(again).events()].count("changed") == 1
    log = changes.written(Log(steered).events())
    play(tmp_path / "replayed", steered=log)
    assert weights(tmp_path / "replayed") == weights(steered)
    assert changes.written(Log(tmp_path / "replayed").events()) == log


def test_a_steered_run_is_opened_as_it_was_at_each_step(tmp_path: Path) -> None:
    play(tmp_path, wish_at=4, fields={"objective": "hinge"})
    names = [recipes.name_of(Run.open(tmp_path, step).recipe.objective) for step in (4, 6)]
    assert names == ["nonsaturating", "hinge"]
    begun = recipes.load(str(tmp_path / "recipe.yaml"))
    assert recipes.name_of(begun.objective) == "nonsaturating"


BAD = [
    *(
        b"",
        b"{",
        b"[]",
        b"[" * 10**5,
        b'{"fields": {}}',
        b'{"fields": {"G.width": 5}}',
        b'{"fields": {"seed": 2}}',
    ),
    *(
        b'{"fields": {"batch": -1}}',
        b'{"fields": {"batch": "many"}}',
        b'{"fields": {"objective": "no such"}}',
        b'{"fields": {"g_optimizer": "sgd"}}',
        b'{"fields": {"instruments": ["no_such"]}}',
        b'{"fields": {"faults": ["no_such"]}}',
        b'{"fields": {"steps": "45m"}}',
    ),
]


@pytest.mark.parametrize("content", BAD, ids=lambda content: content[:30].decode())
def test_a_wish_that_cannot_be_granted_is_refused(content: bytes, tmp_path: Path) -> None:
    play(tmp_path / "plain")
    path = tmp_path / "run"
    (path / "changes").mkdir(parents=True)
    (path / "changes/bad.json").write_bytes(content)
    play(path)
    assert [e["event"] for e in Log(path).events()] == ["started", "refused", "finished"]
    assert weights(path) == weights(tmp_path / "plain")


@pytest.mark.parametrize("steps", [5, 3, 1])
def test_a_wish_for_fewer_turns_than_are_played_ends_the_run_saved(steps: int, tmp_path: Path) -> None:
    play(tmp_path, wish_at=4, fields={"steps": steps})
    assert [e["event"] for e in Log(tmp_path).events()] == ["started", "changed", "finished"]
    assert checkpoints.steps(tmp_path / "checkpoints")[-1] == Log(tmp_path).records()[-1]["step"] == 5
    assert (tmp_path / "samples/000005.png").is_file()


def test_a_wish_granted_just_before_a_kill_is_not_granted_again(tmp_path: Path) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    play(straight, wish_at=4, fields={"k": 2})
    with Run.start(killed, TINY) as run:
        for record in run.play():
            if record["step"] == 4:
                changes.wish(killed, "mine", {"k": 2})
                saved = Path(shutil.copytree(killed / "changes", tmp_path / "saved"))
            if record["step"] == 5:
                break
    shutil.copytree(saved, killed / "changes", dirs_exist_ok=True)
    play(killed)
    assert weights(killed) == weights(straight)


def test_a_fork_begins_where_the_other_was(tmp_path: Path) -> None:
    play(tmp_path / "first")
    other = recipes.changed(TINY, {"g_optimizer.lr": 0.05})
    fork(tmp_path / "first", 6, other, tmp_path / "fork")
    assert Log(tmp_path / "fork").records()[-1]["step"] == 6
    run = play(tmp_path / "fork", other)
    assert run.game.step == 12 and weights(tmp_path / "fork") != weights(tmp_path / "first")
    for wrong in ({"G.width": 5}, {"penalties": ("lecam", {"name": "r1", "every": 0})}):
        with pytest.raises((RunError, RecipeError)):
            fork(tmp_path / "first", 6, recipes.changed(TINY, wrong), tmp_path / "no")
        assert not (tmp_path / "no").exists()


# a checkpoint is compared before it is loaded ---------------------------------------------------------------


def forge(path: Path, edit: Any) -> None:
    """Change state.pt and make its checksum right, as whoever forges a checkpoint can."""
    file = path / "state.pt"
    tree = torch.load(file, weights_only=True)
    edit(tree)
    torch.save(tree, file)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["sha256"]["state.pt"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))


def moment(value: Any) -> Any:
    def edit(tree: dict[str, Any]) -> None:
        tree["G"]["optimizer"]["state"][0]["exp_avg"] = value

    return edit


EDITS = {
    **{f"shape {shape}": moment(torch.zeros(shape)) for shape in ((1,), (3,), (0,), (1000,), (2, 4))},
    "dtype": moment(torch.zeros(4, 2, dtype=torch.float64)),
    "no tensor": moment([0.0]),
    "none": moment(None),
    "missing": lambda tree: tree["G"]["optimizer"]["state"][0].pop("exp_avg"),
    "inner": lambda tree: tree["D"]["optimizer"]["memory"].update(slow=[torch.zeros(1)]),
    "counter": lambda tree: tree["D"]["optimizer"]["memory"].update(turns="many"),
    "rate": lambda tree: tree["G"]["optimizer"]["param_groups"][0].update(lr="fast"),
    "groups": lambda tree: tree["G"]["optimizer"].update(param_groups=[]),
    "penalty": lambda tree: tree["penalties"]["lecam"].clear(),
    **{f"step {step!r}": lambda tree, step=step: tree.update(step=step) for step in (6.0, "6", True, None)},
    "step tensor": lambda tree: tree.update(step=torch.tensor(6)),
    "data": lambda tree: tree.update(data={"codec": {"codec": "numbers", "shape": [10**9, -1]}}),
    "recipe": lambda tree: tree.update(recipe="[" * 10**5),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_state_of_another_form_is_passed_over_like_any_other_damage(edit: Any, tmp_path: Path) -> None:
    play(tmp_path, replace(TINY, steps=6))
    before = weights(tmp_path)
    forge(tmp_path / "checkpoints/000006", edit)
    assert Run.open(tmp_path).game.step == 4
    with Run.start(tmp_path, replace(TINY, steps=6)) as run:
        assert run.game.step == 4 and any("falling back" in note for note in run.notes)
        list(run.play())
    assert weights(tmp_path) == before


def test_what_was_removed_is_noticed_and_nothing_is_touched(tmp_path: Path) -> None:
    play(tmp_path / "run")
    for ruin, recipe in (("checkpoints", TINY), ("recipe.yaml", replace(TINY, batch=4))):
        path = Path(shutil.copytree(tmp_path / "run", tmp_path / ruin))
        target = path / ruin
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
        with pytest.raises(RunError):
            Run.start(path, recipe)
        assert {p: p.read_bytes() for p in path.rglob("*") if p.is_file()} == before
    play(path)  # with the recipe that it was begun with
    assert (path / "recipe.yaml").exists()


def test_a_reader_never_sees_a_moment_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint that it has begun to read goes, since there is a newer one."""
    play(tmp_path, replace(TINY, keep=1))
    play(tmp_path / "longer", replace(TINY, steps=14, keep=1))
    load, newer = checkpoints.load, tmp_path / "longer/checkpoints/000014"

    def pruned_meanwhile(path: Path, device: Any = "cpu") -> Any:
        if path.name == "000012":
            newer.rename(tmp_path / "checkpoints/000014")
            shutil.rmtree(path)
        return load(path, device)

    monkeypatch.setattr(checkpoints, "load", pruned_meanwhile)
    run = Run.open(tmp_path)
    assert run.game.step == 14 and run.notes == []


# seeds ------------------------------------------------------------------------------------------------


def test_killed_between_the_saves_of_two_seeds_they_still_have_a_step_in_common(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(TINY, penalties=(), keep=1, checkpoint_every=4, d_optimizer=ADAM)
    after = Session.after
    for where in range(2):

        def dies(session: Session, turn: Any, where: int = where) -> Any:
            record = after(session, turn)
            if turn.step + 1 == 8 and session.run.recipe.seed == where:
                raise KeyboardInterrupt
            return record

        monkeypatch.setattr(Session, "after", dies)
        out = tmp_path / str(where)
        with pytest.raises(KeyboardInterrupt), seeds.StackedSeeds(out, recipe, 2) as playing:
            list(playing.play())
        monkeypatch.setattr(Session, "after", after)
        with seeds.StackedSeeds(out, recipe, 2) as playing:
            assert playing.step in (4, 8)
            list(playing.play())
        assert [checkpoints.steps(out / f"seed{seed}/checkpoints") for seed in (0, 1)] == [[12], [12]]


def test_seeds_that_all_break_at_once_and_seeds_beyond_the_last_are_a_line(tmp_path: Path) -> None:
    broken = replace(
        TINY, penalties=(), objective={"name": "nonsaturating", "d_weight": 1e308}, d_optimizer=ADAM
    )
    with seeds.StackedSeeds(tmp_path, broken, 2) as playing:
        list(playing.play())
    assert len(playing.broken) == 2
    with pytest.raises(RunError):
        seeds.summary(tmp_path, range(2))
    for kind in (seeds.StackedSeeds, seeds.SubprocessSeeds):
        with pytest.raises(RecipeError):
            kind(tmp_path / "new", replace(TINY, seed=2**63 - 1), 2)
    assert not (tmp_path / "new").exists()


def test_children_end_with_their_parent(tmp_path: Path) -> None:
    words = ["train", "ring", "--D.dropout", "0.1", "--steps", "100000", "--seeds", "2", "--batch", "16"]
    command = [sys.executable, "-m", "zerosum", *words, "--threads", "1", "--out", str(tmp_path)]
    parent = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not Log(tmp_path / "seed0").records() and parent.poll() is None:
        time.sleep(0.05)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    while True:  # as soon as it has ended the directory is free; the limit of the test is pytest's
        try:
            log = Log(tmp_path / "seed0")
            log.lock()
            break
        except RunError:
            time.sleep(0.05)
    log.unlock()


def test_changes_are_known_until_a_step() -> None:
    steered = [Change(2, {"k": 2}), Change(5, {"k": 3, "batch": 4})]
    assert [changes.until(steered, step) for step in (1, 2, 5)] == [{}, {"k": 2}, {"k": 3, "batch": 4}]
