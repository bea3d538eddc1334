"""The command line from a shell: closed outputs, any encoding and name, modules that leave, completion."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import zerosum
from zerosum import cli
from zerosum.cli.parsing import stopping
from zerosum.display import curve

SMALL = [f"--{who}.{option}={n}" for who in "GD" for option, n in (("width", 4), ("depth", 1))]
SMALL += ["--batch=8", "--threads=1"]
MINE = """
import sys, time
import torch
from torch import nn

class Leaves:
    shape = (2,)
    def batch(self, step, n):
        if step > 2:
            sys.exit(3)
        return torch.randn(n, 2), None

def slow(seed):
    open("begun", "w").close()
    time.sleep(60)

G = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2))

class D(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, x):
        return self.layer(x).squeeze(1)
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


def shell(command: str, here: Path, **env: str) -> subprocess.CompletedProcess[bytes]:
    """A line of a shell in which zerosum is at hand; no traceback comes out of it."""
    source = str(Path(zerosum.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1", **env}
    line = command.replace("zerosum", f"'{sys.executable}' -m zerosum", 1)
    done = subprocess.run(["bash", "-c", line], capture_output=True, cwd=here, env=environment)
    assert b"Traceback" not in done.stderr + done.stdout, done.stderr
    return done


def train(out: str, *more: str) -> str:
    return " ".join(["zerosum train ring", *SMALL, "--steps 12 --log_every 4", *more, "--out", out])


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_output_is_no_error(closed: str, here: Path) -> None:
    assert shell(f"zerosum recipes ring {closed}", here).returncode == 0


def test_a_run_without_outputs_ends_as_any_other(here: Path) -> None:
    assert shell(f"{train('run')} <&- >&- 2>&-", here).returncode == 0
    assert (here / "run/checkpoints/000012").is_dir()


@pytest.mark.parametrize("reader", ["true", "head -n 1", "head -n 3"])
def test_a_reader_that_is_gone_does_not_end_a_run(reader: str, here: Path) -> None:
    shell(f"{train('run', '--log_every 1')} | {reader}", here)
    assert (here / "run/checkpoints/000012").is_dir()
    assert '"finished"' in (here / "run/events.jsonl").read_text()


@pytest.mark.parametrize(("before", "said"), [(signal.SIG_DFL, ["SIGHUP"]), (signal.SIG_IGN, [])])
def test_a_closed_terminal_ends_a_run_as_ctrl_c_does_unless_it_is_ignored(
    before: Any, said: list[str]
) -> None:
    reasons: list[str] = []
    outside = signal.signal(signal.SIGHUP, before)
    try:
        with stopping(SimpleNamespace(stop=reasons.append)):
            signal.raise_signal(signal.SIGHUP)
        assert reasons == said and signal.getsignal(signal.SIGHUP) == before
    finally:
        signal.signal(signal.SIGHUP, outside)


def test_a_usage_error_with_a_closed_output_keeps_its_code(here: Path) -> None:
    assert shell("zerosum train rign 2>&-", here).returncode == 2


@pytest.mark.parametrize("encoding", ["ascii", "utf-16"])
def test_any_encoding_shows_a_run(encoding: str, here: Path) -> None:
    assert shell(train("'é→日'"), here, PYTHONIOENCODING=encoding).returncode == 0
    done = shell("zerosum diagnose 'é→日'", here, PYTHONIOENCODING=encoding)
    assert done.returncode == 0 and "step 12" in done.stdout.decode(encoding)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", None])
def test_a_curve_keeps_its_shape_in_any_encoding(encoding: str | None) -> None:
    line = curve([0, 1, 2, 3, 2, 0], encoding=encoding)
    assert line.encode(encoding or "ascii") and len(line) == 6
    assert line[0] == line[5] != line[3] and line[2] == line[4]


def test_a_directory_whose_name_is_no_text_is_a_run(here: Path) -> None:
    name = "$(printf 'r\\377\\033[31m')"
    for command in (train(f'"{name}"'), f'zerosum diagnose "{name}"', f'zerosum sample "{name}" --out x.npy'):
        done = shell(command, here)
        assert done.returncode == 0 and b"\x1b" not in done.stdout + done.stderr
    assert (here / "x.npy").is_file()


def test_a_module_that_leaves_is_a_line(here: Path) -> None:
    done = shell(train("run", "--data mine:Leaves --watch none --quiet"), here)
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1
    assert b"sys.exit(3)" in done.stderr and b"mine.py" in done.stderr


def test_modules_that_need_no_shapes_just_play(here: Path) -> None:
    done = shell("zerosum train ring --G mine:G --D mine:D --latent 2 --steps 3 --batch 8", here)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("field", "amount"),
    [("--G.depth=2 --G.width", 10**7), ("--G.width=8 --D.depth=2 --D.width", 10**6)],
)
def test_what_no_memory_holds_is_a_line_with_advice(field: str, amount: int, here: Path) -> None:
    done = shell(train("run", field, str(amount)), here)
    assert done.returncode in (1, 2) and done.stderr.count(b"\n") == 1
    assert b"memory" in done.stderr


def test_too_little_memory_for_a_turn_is_a_line(here: Path) -> None:
    """A process of limited address space: what it takes for a turn it finds before the first one."""
    limit = f"ulimit -v {3 * 2**20}; "
    wide = "--G.width 4096 --D.width 4096 --batch 65536 --watch none"
    done = shell(limit + f"zerosum train ring {wide} --steps 2 --threads 1 --out run", here)
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1 and b"memory" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_starting_ends_it_at_once(number: signal.Signals, here: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(zerosum.__file__).parents[1])}
    words = [sys.executable, "-m", "zerosum", "train", "ring", "--data", "mine:slow"]
    child = subprocess.Popen(words, stderr=subprocess.PIPE, cwd=here, env=environment)
    while not (here / "begun").exists() and child.poll() is None:
        time.sleep(0.05)
    time.sleep(0.3)
    child.send_signal(number)
    _, err = child.communicate(timeout=300)
    assert b"Traceback" not in err
    assert child.returncode == (130 if number == signal.SIGINT else -signal.SIGTERM)


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("train ring --out ''", "--out"),
        ("train ring --data ''", "--data"),
        ("sample run --out ''", "--out"),
        ("evaluate ''", "target"),
        ("report ' '", "run"),
        ("train ring --unheard --steps 20", "--unheard"),
        ("train ring --steps", "--steps"),
        ("train ring --G.width --steps 5", "--G.width"),
        ("train ring --lr 1e-3", "--g_optimizer.lr"),
        ("train ring --G.width 32,64", "G.width"),
        ("train ring --name ../../x", "name"),
        ("train ring --device meta", "device"),
        ("train ring --G '&a [*a]'", "&a [*a]"),
        ("train ring --seed 9223372036854775807 --seeds 2", "seed"),
        ("train ring --seeds 0", "--seeds"),
        *((f"train ring --{field} 1000000000", field) for field in ("latent", "batch", "k", "D.width")),
        ("train ring --batch 99999999999999999999", "batch"),
        ("train ring --G.depth 1000000000", "G.depth"),
        ("train ring --data.modes 1000000000", "modes"),
        ("train photos --data . --data.size 1000000000", "size"),
        ("train ring --penalties.0.every 0", "every"),
        ("evaluate run --metrics ,", "--metrics"),
        ("sample run --class=", "--class"),
        ("bench digits --seconds -1", "--seconds"),
    ],
)
def test_what_is_wrong_is_named(
    command: str, named: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import shlex

    monkeypatch.chdir(here)
    assert cli.main(shlex.split(command)) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and named in err
    assert not (here / "runs").exists()


@pytest.mark.parametrize("verb", cli.VERBS)
def test_the_help_of_a_verb_fits_a_screen_and_teaches(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    assert cli.main([verb, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 55 and max(map(len, lines)) <= 110
    assert sum(f"zerosum {verb}" in line for line in lines[1:]) >= 2, "examples"


@pytest.mark.parametrize("columns", ["0", "1", "-3", "many", "1000000000"])
def test_help_fits_a_terminal_of_any_width(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert cli.main(["report", "--help"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 110


# completion -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("", "train"),
        ("train", "photos"),
        ("train ring", "--g_optimizer.base.lr"),
        ("train ring --on-fault", "stop"),
        ("train ring --quiet", "--seeds"),
        ("recipes", "mnist-r3"),
        ("diagnose", "--json"),
    ],
)
def test_what_may_follow_is_offered(words: str, offered: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "words", *words.split()]) == 0
    assert offered in capsys.readouterr().out.split("\n")


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_script_is_one_of_its_shell(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"no {name} here")
    assert cli.main(["completion", name]) == 0
    (here / "script").write_text(capsys.readouterr().out)
    subprocess.run([name, "-n", "script"], check=True, cwd=here)


def test_bash_completes(here: Path) -> None:
    script = (
        'zerosum() { "$PYTHON" -m zerosum "$@"; }; source <(zerosum completion bash); '
        "COMP_WORDS=(zerosum train ring --G.); COMP_CWORD=3; _zerosum; echo ${COMPREPLY[@]}"
    )
    source = str(Path(zerosum.__file__).parents[1])
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": source}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment)
    assert {"--G.width", "--G.depth"} <= set(done.stdout.split()), done.stderr
