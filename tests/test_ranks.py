"""A run on several processes: one directory, led by rank 0, and the same run whatever their number."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from test_parallel import spawn
from zerosum import cli
from zerosum.run.run import Run

STEPS = 120
WORDS = [
    *("train", "digits", "--G.width", "8", "--D.width", "8", "--batch", "16", "--accumulate", "2"),
    *("--steps", str(STEPS), "--checkpoint_every", "20", "--log_every", "20", "--keep", "99"),
    *("--precision", "fp32", "--compile", "false", "--threads", "1", "--quiet"),
]
LEAD = "from zerosum import cli; raise SystemExit(cli.main(sys.argv[1:]))"


def begin(world: int, out: Path) -> list[subprocess.Popen[str]]:
    return spawn(world, LEAD, *WORDS, "--out", str(out))


def ended(ranks: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """The exit code and the errors of each."""
    return [(rank.returncode, err) for rank in ranks for _, err in [rank.communicate(timeout=300)]]


def wait_for(path: Path, ranks: list[subprocess.Popen[str]]) -> None:
    while not path.exists():
        assert all(rank.poll() is None for rank in ranks), "ended too early"
        time.sleep(0.01)


def weights(run: Path, step: int = STEPS) -> torch.Tensor:
    with Run.open(run, step) as opened:
        return torch.cat(
            [p.detach().flatten() for p in (*opened.game.G.parameters, *opened.game.D.parameters)]
        )


def events(run: Path, kind: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    return [event for event in lines if event["event"] == kind]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process and one of two."""
    folder = tmp_path_factory.mktemp("runs")
    assert cli.main([*WORDS, "--out", str(folder / "alone")]) == 0
    assert ended(begin(2, folder / "both")) == [(0, ""), (0, "")]
    return folder


def test_a_run_of_two_ranks_is_that_of_one(runs: Path) -> None:
    alone, both = weights(runs / "alone"), weights(runs / "both")
    assert float((alone - both).norm() / alone.norm()) < 1e-5
    (about,) = events(runs / "both", "started")
    assert (about["ranks"], about["parts"]) == (2, 2)
    records = [(runs / name / "metrics.jsonl").read_text().count("\n") for name in ("alone", "both")]
    assert records[0] == records[1] > 0


def test_a_signal_to_any_rank_saves_once_and_ends_all(runs: Path, tmp_path: Path) -> None:
    codes, out = [0, 0], tmp_path
    for attempt in range(5):  # a machine may be so quick that the run has ended before the signal comes
        out = tmp_path / f"run{attempt}"
        ranks = begin(2, out)
        wait_for(out / "checkpoints" / "000020", ranks)
        ranks[1].send_signal(signal.SIGTERM)
        codes = [code for code, _ in ended(ranks)]
        if codes != [0, 0]:
            break
    assert codes == [128 + signal.SIGTERM] * 2
    (stop,) = events(out, "stopped")
    assert stop["reason"] == "SIGTERM" and int(str(stop["step"])) < STEPS
    assert (out / "checkpoints" / f"{stop['step']:06d}").is_dir()
    assert cli.main([*WORDS, "--out", str(out)]) == 0  # one process goes on where two were
    assert float((weights(runs / "both") - weights(out)).norm() / weights(out).norm()) < 1e-5
    assert [event["ranks"] for event in events(out, "resumed")] == [1]


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_rank_ends_the_others_and_the_run_goes_on(runs: Path, tmp_path: Path, killed: int) -> None:
    out = tmp_path / "run"
    ranks = begin(2, out)
    wait_for(out / "checkpoints" / "000020", ranks)
    ranks[killed].kill()
    codes = ended(ranks)
    assert codes[killed][0] == -signal.SIGKILL
    code, said = codes[1 - killed]
    assert code == 1 and "another process" in said and said.count("\n") == 1
    assert ended(begin(2, out)) == [(0, ""), (0, "")]
    assert weights(out).equal(weights(runs / "both"))


STANDSTILL = 900  # seconds that six starts of Python do not take on any machine
DIES = f"""
import faulthandler, os, sys
faulthandler.dump_traceback_later({STANDSTILL // 2}, exit=True)  # where it waits, if it waits for ever
from zerosum import cli
from zerosum.game import parallel
orders, obey = iter(range(5)), parallel.Ranks.obey
def dies(ranks):
    if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and next(orders, None) is None:
        os.kill(os.getpid(), 9)
    return obey(ranks)
parallel.Ranks.obey = dies
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.timeout(STANDSTILL)
def test_torchrun_starts_a_sharded_run_again_and_one_process_opens_its_checkpoint(tmp_path: Path) -> None:
    alone, sharded, few = tmp_path / "alone", tmp_path / "sharded", ["--steps", "4", "--log_every", "2"]
    assert cli.main([*WORDS, *few, "--out", str(alone)]) == 0
    (tmp_path / "dies.py").write_text(DIES)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1"]
    command = [*torchrun, str(tmp_path / "dies.py"), *WORDS, *few, "--shard", "true", "--out", str(sharded)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=STANDSTILL)
    assert done.returncode == 0, done.stderr
    assert (len(events(sharded, "started")), len(events(sharded, "resumed"))) == (1, 1)
    assert float((weights(alone, 4) - weights(sharded, 4)).norm() / weights(alone, 4).norm()) < 1e-6
    lines = [json.loads((run / "metrics.jsonl").read_text().splitlines()[-1]) for run in (alone, sharded)]
    assert lines[0].keys() == lines[1].keys()  # the instruments looked on


def test_seeds_are_for_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main(["train", "ring", "--seeds", "2"]) == 2
