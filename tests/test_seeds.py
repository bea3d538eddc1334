"""`zerosum train RECIPE --seeds N`: together or in processes, and the same after any interruption."""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from refusals import refused
from zerosum import Turn, cli
from zerosum import recipe as recipes
from zerosum.page import watched
from zerosum.run import checkpoints, seeds
from zerosum.run.log import Log, RunError
from zerosum.run.run import Run
from zerosum.run.session import Session

SMALL = ["--G.width", "16", "--D.width", "16", "--batch", "32", "--log_every", "10", "--sample_every", "1000"]
LENGTHS = [
    x
    for name in ("g_optimizer.lr", "d_optimizer.lr", "penalties.0.weight", "penalties.1.weight")
    for x in (f"--{name}.steps", "1000")
]
"""In turns, so that a run of other --steps is the same game, longer or shorter."""
COMMAND = [sys.executable, "-m", "zerosum", "train"]


def train(*words: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """The verb, in this process: that it is one of its own is the matter of the tests that kill it."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.main(["train", *map(str, words)])
    assert code == 0 or not check, err.getvalue()
    return subprocess.CompletedProcess([], code, out.getvalue(), err.getvalue())


def weights(folder: Path) -> str:
    newest = max((folder / "checkpoints").iterdir())
    return hashlib.sha256(
        b"".join(file.read_bytes() for file in sorted(newest.glob("*.safetensors")))
    ).hexdigest()


def test_each_seed_is_a_run_and_the_table_has_all(tmp_path: Path) -> None:
    out = tmp_path / "many"
    said = train("ring", *SMALL, "--steps", 30, "--seeds", 3, "--seed", 5, "--out", out).stdout
    assert "as one computation" in said and "mean" in said and "95 %" in said
    found = json.loads((out / "seeds.json").read_text())
    assert list(found["seeds"]) == ["5", "6", "7"]
    values = [Log(seeds.folder(out, seed)).records()[-1]["d_loss"] for seed in (5, 6, 7)]
    mean = found["means"]["d_loss"]
    assert mean["mean"] == pytest.approx(statistics.fmean(values)) and len(set(values)) == 3
    reach = 4.302653 * statistics.stdev(values) / 3**0.5  # Student's t with two degrees of freedom
    assert (mean["low"], mean["high"]) == pytest.approx(
        (mean["mean"] - reach, mean["mean"] + reach), rel=1e-5
    )
    for seed in (5, 6, 7):
        with Run.open(seeds.folder(out, seed)) as run:
            assert run.game.step == 30 and run.recipe.seed == seed
            assert len({float(x) for x in run.game.sample(8).flatten()}) > 8


def test_a_member_ends_where_the_lone_run_does(tmp_path: Path) -> None:
    recipe = recipes.load("ring", {"steps": 20, "batch": 32, "G.width": 16, "D.width": 16})
    with seeds.StackedSeeds(tmp_path / "many", recipe, 3) as together:
        for _ in together.play():
            pass
    with Run.start(tmp_path / "alone", recipes.changed(recipe, {"seed": 1})) as alone:
        for _ in alone.play():
            pass
    member = together.runs[1].game.sample(64)
    assert float((member - alone.game.sample(64)).abs().max()) < 1e-4


def test_killed_at_any_instant_all_seeds_resume_to_the_same_bytes(tmp_path: Path) -> None:
    words = ["ring", *SMALL, "--steps", 120, "--checkpoint_every", 10, "--seeds", 3, "--quiet"]
    train(*words, "--out", tmp_path / "straight")
    out = tmp_path / "killed"
    process = subprocess.Popen([*COMMAND, *map(str, words), "--out", str(out)])
    newest = out / "seed1" / "checkpoints" / "000030"
    while not newest.exists() and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    train(*words, "--out", out)
    for seed in range(3):
        assert weights(out / f"seed{seed}") == weights(tmp_path / "straight" / f"seed{seed}")


def test_seeds_at_different_checkpoints_go_back_to_a_common_one(tmp_path: Path) -> None:
    words = [
        "ring",
        *SMALL,
        "--steps",
        40,
        "--checkpoint_every",
        10,
        "--seeds",
        2,
        "--quiet",
        "--out",
        tmp_path,
    ]
    train(*words)
    straight = [weights(tmp_path / f"seed{seed}") for seed in range(2)]
    newest = tmp_path / "seed1" / "checkpoints" / "000040"
    for file in newest.iterdir():
        file.unlink()
    newest.rmdir()
    train(*words)
    assert [weights(tmp_path / f"seed{seed}") for seed in range(2)] == straight


def test_a_signal_between_two_seeds_lets_both_save_at_the_same_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"G.width": 16, "D.width": 16, "batch": 32, "watch": "none", "steps": 50}
    after = Session.after
    with seeds.StackedSeeds(tmp_path, recipes.load("ring", small), 2) as playing:

        def interrupted(session: Session, turn: Turn) -> object:
            if turn.step == 6 and session.run is playing.runs[1]:
                playing.stop("SIGINT")  # seed 0 has already seen to this turn
            return after(session, turn)

        monkeypatch.setattr(Session, "after", interrupted)
        list(playing.play())
    newest = [max(checkpoints.steps(seeds.folder(tmp_path, seed) / "checkpoints")) for seed in (0, 1)]
    assert newest == [8, 8]


def test_an_interrupt_saves_every_seed_and_says_how_to_go_on(tmp_path: Path) -> None:
    words = ["ring", *SMALL, "--steps", 100_000, "--seeds", 2, "--out", tmp_path]
    process = subprocess.Popen(
        [*COMMAND, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not Log(tmp_path / "seed1").records() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGINT and "to go on: zerosum train ring" in said
    steps = {seeds._common([tmp_path / f"seed{seed}"]) for seed in range(2)}
    assert len(steps) == 1 and steps != {0}


def test_what_auto_finds_is_written_down_and_kept(tmp_path: Path) -> None:
    words = ["ring", *SMALL, *LENGTHS, "--precision", "auto", "--checkpoint_every", 10, "--out", tmp_path]
    said = train(*words, "--steps", 20)
    assert "after a trial" in said.stderr
    begun = recipes.load(str(tmp_path / "recipe.yaml"))
    assert begun.precision in ("fp32", "bf16") and begun.threads >= 1
    assert "after a trial" not in train(*words, "--steps", 40).stderr
    assert recipes.load(str(tmp_path / "recipe.yaml")).precision == begun.precision
    straight = tmp_path / "straight"
    settings = ["--precision", begun.precision, "--threads", begun.threads]
    train("ring", *SMALL, *LENGTHS, *settings, "--checkpoint_every", 10, "--steps", 40, "--out", straight)
    assert weights(tmp_path) == weights(straight)


def test_killed_before_all_have_begun_they_begin(tmp_path: Path) -> None:
    words = ["ring", *SMALL, *LENGTHS, "--steps", 20, "--seeds", 3, "--quiet"]
    train(*words, "--out", tmp_path / "straight")
    train(
        "ring",
        *SMALL,
        *LENGTHS,
        "--steps",
        20,
        "--quiet",
        "--out",
        tmp_path / "begun" / "seed0",
        "--steps",
        1,
    )
    begun = tmp_path / "begun" / "seed0" / "checkpoints"
    shutil.rmtree(begun / "000001")
    train(*words, "--out", tmp_path / "begun")
    for seed in range(3):
        assert weights(tmp_path / "begun" / f"seed{seed}") == weights(tmp_path / "straight" / f"seed{seed}")


def test_a_checkpoint_that_cannot_be_read_takes_all_back_to_one_that_can(tmp_path: Path) -> None:
    words = [
        "ring",
        *SMALL,
        "--steps",
        40,
        "--checkpoint_every",
        10,
        "--seeds",
        2,
        "--quiet",
        "--out",
        tmp_path,
    ]
    train(*words)
    straight = [weights(tmp_path / f"seed{seed}") for seed in range(2)]
    (tmp_path / "seed1" / "checkpoints" / "000040" / "G.safetensors").write_bytes(b"damaged")
    train(*words)
    assert [weights(tmp_path / f"seed{seed}") for seed in range(2)] == straight


def test_a_termination_reaches_the_processes_which_save(tmp_path: Path) -> None:
    words = ["ring", *SMALL, "--D.dropout", 0.1, "--steps", 100_000, "--seeds", 2, "--out", tmp_path]
    process = subprocess.Popen(
        [*COMMAND, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not Log(tmp_path / "seed0").records() and process.poll() is None:
        time.sleep(0.05)
    process.terminate()
    _, said = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGTERM and "to go on: zerosum train ring" in said
    assert Log(tmp_path / "seed0").events()[-1]["event"] == "stopped"
    with Run.start(tmp_path / "seed0", Log(tmp_path / "seed0").recipe()) as again:  # nobody holds it
        assert again.game.step > 0


def test_networks_that_draw_at_random_play_in_processes(tmp_path: Path) -> None:
    words = ["ring", *SMALL, "--D.dropout", 0.1, "--steps", 10, "--seeds", 2, "--out", tmp_path]
    said = train(*words).stdout
    assert "each seed in a process of its own" in said and "seed 1: finished" in said
    assert {str(seed) for seed in range(2)} == json.loads((tmp_path / "seeds.json").read_text())[
        "seeds"
    ].keys()


def test_convolutions_play_in_processes(tmp_path: Path) -> None:
    recipe = recipes.load("digits", {"G": {"name": "dcgan", "width": 4}, "D": {"name": "dcgan", "width": 4}})
    with refused():
        seeds.StackedSeeds(tmp_path, recipe, 2)
    assert not (tmp_path / "seed0").exists()  # which its own process would have to go on with
    words = ["digits", "--G", "{name: dcgan, width: 4}", "--D", "{name: dcgan, width: 4}", "--watch", "none"]
    for steps in (4, 6):
        train(*words, "--threads", 0, "--seeds", 2, "--steps", steps, "--batch", 8, "--out", tmp_path / "out")
        assert [Log(tmp_path / f"out/seed{i}").records()[-1]["step"] for i in range(2)] == [steps] * 2


def test_seeds_in_processes_go_on_from_where_each_is(tmp_path: Path) -> None:
    words = ["ring", *SMALL, *LENGTHS, "--D.dropout", 0.1, "--watch", "none", "--threads", 1, "--keep", 1]
    train(*words, "--seeds", 2, "--steps", 10, "--out", tmp_path)
    train(*words, "--seed", 1, "--steps", 20, "--out", tmp_path / "seed1")
    train(*words, "--seeds", 2, "--steps", 30, "--out", tmp_path)
    assert [Log(tmp_path / f"seed{i}").records()[-1]["step"] for i in range(2)] == [30, 30]


def test_a_seed_that_breaks_leaves_the_others_be(tmp_path: Path) -> None:
    recipe = recipes.load("ring", {"steps": 20, "log_every": 5, "batch": 32, "G.width": 16, "D.width": 16})
    with seeds.StackedSeeds(tmp_path, recipe, 3) as together:
        for step, _ in enumerate(together.play()):
            if step == 0:
                next(iter(together.runs[1].game.D.network.parameters())).data.fill_(float("nan"))
    assert [run.saved for run in together.runs] == [20, 0, 20]
    assert [note.split(":")[0] for note in together.notes] == ["seed 1"]
    assert Log(tmp_path / "seed1").events()[-1]["event"] == "fault"
    found = seeds.summary(tmp_path, range(3))
    assert found["step"] == 20 and found["means"]["d_loss"]["n"] == 2
    with seeds.StackedSeeds(tmp_path, recipes.changed(recipe, {"steps": 30}), 3) as again:
        assert [run.recipe.seed for run in again.runs] == [0, 2] and "seed 1" in again.notes[0]
        for _ in again.play():
            pass
    assert [Log(tmp_path / f"seed{seed}").records()[-1]["step"] for seed in range(3)] == [30, 5, 30]


def test_an_error_inside_a_turn_is_a_line_and_an_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipes.load("ring", {"steps": 20, "batch": 32, "G.width": 16, "D.width": 16})
    with seeds.StackedSeeds(tmp_path, recipe, 2) as together:
        monkeypatch.setattr(type(together.runs[1].source), "batch", lambda *_: 1 / 0)
        with refused("1", by=RunError):
            list(together.play())
    assert Log(tmp_path / "seed0").events()[-1]["name"] == "ZeroDivisionError"


def test_a_full_disk_ends_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipes.load("ring", {"steps": 20, "batch": 32, "G.width": 16, "D.width": 16})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with seeds.StackedSeeds(tmp_path, recipe, 2) as together, refused(by=RunError):
        monkeypatch.setattr(checkpoints, "save", full)
        list(together.play())


@pytest.mark.parametrize("words", [["--seeds", "0"], ["--seeds", "two"], ["--seeds", "2", "--follow-advice"]])
def test_bad_numbers_are_one_line(words: list[str], tmp_path: Path) -> None:
    ended = train("ring", *words, "--out", tmp_path / "x", check=False)
    assert ended.returncode == 2 and len(ended.stderr.splitlines()) == 1 and "--seeds" in ended.stderr


_FAULTS = """
import resource, sys, torch
from zerosum.run import runtime
if sys.argv[1] == "kept":
    runtime.keep_memory()
def turn():
    held = [torch.ones(2**18) for _ in range(32)]
for _ in range(3):
    turn()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    turn()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "mallopt"),
    reason="the C library has no mallopt, so nothing is asked of it",
)
def test_memory_is_kept_from_turn_to_turn() -> None:
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    faults = {
        how: int(subprocess.check_output([sys.executable, "-c", _FAULTS, how], text=True, env=one_thread))
        for how in ("kept", "given back")
    }
    if faults["given back"] == 0:
        pytest.skip("the kernel counts no page faults, by which kept memory is told")
    assert faults["kept"] < 0.5 * faults["given back"], faults


# every verb on a directory of seeds ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of seeds `many`, a run `one`, and what looks like a sweep."""
    place = tmp_path_factory.mktemp("verbs")
    train("ring", *SMALL, "--steps", 4, "--seeds", 2, "--quiet", "--out", place / "many")
    (place / "one").symlink_to(place / "many" / "seed0")
    (place / "sweep" / "trials").mkdir(parents=True)
    (place / "sweep" / "sweep.yaml").write_text("study: a\n")
    (place / "sweep" / "trials" / "0000").symlink_to(place / "many")
    return place


VERBS = [
    ("diagnose", "2 of 2", "seed0", "seed1"),
    ("sample --n 4 --out x.csv", "x-seed0.csv", "x-seed1.csv"),
    ("report", "many/report.html"),
    ("evaluate --metrics sliced_wasserstein --n 100", "sliced_wasserstein", "worse than real data"),
    ("evaluate --metrics sliced_wasserstein --n 100 --compare many", "not significant"),
    ("log --to tensorboard", "many/seed0", "many/seed1"),
]


@pytest.mark.parametrize("line", [verb for verb, *_ in VERBS])
def test_every_verb_takes_a_directory_of_seeds(
    line: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    verb, *options = line.split()
    assert cli.main([verb, "many", *options]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in next(words for name, *words in VERBS if name == line))


def test_a_directory_of_seeds_trains_again_and_is_watched(place: Path) -> None:
    assert train("ring", *SMALL, "--steps", 4, "--seeds", 2, "--out", place / "many").returncode == 0
    assert [run.name for run in watched.runs(place / "many")] == ["seed0", "seed1"]


@pytest.mark.parametrize("verb", ["diagnose", "sample --out x.csv", "report", "evaluate", "export --to x"])
def test_a_verb_that_needs_a_run_says_what_else_it_was_given(
    verb: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    name, *options = verb.split()
    assert cli.main([name, "sweep", *options]) == 1
    assert "sweep/trials/0000" in capsys.readouterr().err
    if name == "export":
        assert cli.main([name, "many", *options]) == 1
        assert "many/seed0" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        *("train ring --steps 2 --out many", "train ring --steps 2 --out sweep"),
        *("train ring --steps 2 --seeds 2 --out one", "train ring --steps 2 --seeds 2 --out sweep"),
        "train ring --steps 2 --seeds 2 --D.dropout 0.1 --out one",
        *("sweep ring --G.width 4,8 --trials 1 --out many", "sweep ring --G.width 4,8 --trials 1 --out one"),
    ],
)
def test_a_run_seeds_and_a_sweep_do_not_share_a_directory(
    words: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    before = sorted(place.rglob("*"))
    assert cli.main(words.split()) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "--out" in err
    assert sorted(place.rglob("*")) == before
