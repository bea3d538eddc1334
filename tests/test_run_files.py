"""Any bytes, and any kind of node, in any file of a run: each verb answers in a line, and nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import cases
from zerosum import cli
from zerosum.run import files
from zerosum.run.log import Log, Record, RunError

OLD = Path(__file__).parent / "fixtures" / "runs_ee8671b" / "ring"
FILES = [
    *("recipe.yaml", "metrics.jsonl", "events.jsonl", "evaluation.jsonl", "samples/000020.png"),
    *(f"checkpoints/000020/{name}" for name in ("manifest.json", "state.pt", "G.safetensors")),
]
FOLDERS = ["samples", "checkpoints", "checkpoints/000020", "changes"]
VERBS: dict[str, list[str]] = {
    "sample": ["sample", "RUN", "--n", "4", "--out", "OUT.npy"],
    "diagnose": ["diagnose", "RUN"],
    "report": ["report", "RUN", "--out", "OUT.html", "--quiet"],
    "evaluate": ["evaluate", "RUN", "--n", "60", "--metrics", "prdc", "--quiet"],
    "train": ["train", "ring.yaml", "--out", "RUN", "--steps", "22", "--quiet"],
}


def missing(path: Path, outside: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def pipe(path: Path, outside: Path) -> None:
    os.mkfifo(path)


def device(path: Path, outside: Path) -> None:
    path.symlink_to("/dev/zero")  # a device node needs root


def link(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def dangling(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "nothing")


def folder(path: Path, outside: Path) -> None:
    path.mkdir()


def file(path: Path, outside: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path, outside: Path) -> None:
    source = OLD / path.relative_to(path.parents[len(path.parts) - path.parts.index("RUN") - 2])
    path.write_bytes(source.read_bytes()[:-9] if source.is_file() else b"{")


def locked(path: Path, outside: Path) -> None:
    path.mkdir() if str(path).endswith(tuple(FOLDERS)) else path.write_bytes(b"{}")
    path.chmod(0)


NODES: list[Callable[[Path, Path], None]] = [missing, pipe, device, link, dangling, folder, file, cut, locked]
ABOVE_MODES = os.geteuid() == 0 and "ZEROSUM_CASES" not in os.environ  # root reads what is locked


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(OLD, tmp_path / "RUN")
    shutil.copy(OLD / "recipe.yaml", tmp_path / "ring.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answer(verb: str) -> int:
    """The exit code; an exception that gets here is a traceback at the user's."""
    return cli.main(VERBS[verb])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.is_symlink()}


@pytest.mark.parametrize("name", [*FILES, *FOLDERS])
@pytest.mark.parametrize("node", NODES, ids=lambda f: f.__name__)
def test_any_node_in_the_place_of_any_file(
    name: str, node: Callable[[Path, Path], None], place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if node is locked and (ABOVE_MODES or name not in ("recipe.yaml", "events.jsonl", *FOLDERS)):
        pytest.skip("root may read it, or it is as another")
    if name in FOLDERS and node in (folder, cut):
        pytest.skip("it is one")
    outside = place / "outside"
    outside.mkdir() if name in FOLDERS else outside.write_bytes(b"mine\n")
    path = place / "RUN" / name
    missing(path, outside)
    node(path, outside)
    guarded = contents(outside) if outside.is_dir() else {"": outside.read_bytes()}
    turn = (NODES.index(node) + [*FILES, *FOLDERS].index(name)) % len(VERBS)
    few = [*VERBS, *VERBS][turn : turn + 2]  # all take minutes: with ZEROSUM_CASES
    for verb in VERBS if "ZEROSUM_CASES" in os.environ else few:
        assert answer(verb) in (0, 1, 2)
        said = capsys.readouterr().err
        assert all(line.startswith("zerosum: ") for line in said.splitlines()), said
    if node is locked:
        path.chmod(0o700)
    after = contents(outside) if outside.is_dir() else {"": outside.read_bytes()}
    assert after == guarded, "nothing outside the run is written to"
    if name != "metrics.jsonl":
        steps = [[record["step"] for record in Log(run).records()] for run in (OLD, place / "RUN")]
        assert steps[1][: len(steps[0])] == steps[0], "no record is lost"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
EVENTS = ["started", "resumed", "fell_back", "changed", "refused", "fault", "recovered", "stopped", "odd"]
KEYS = ["step", "event", "name", "judged", "scales", "evidence", "fields", "intervals", "accuracy", "time"]
LINES = st.one_of(
    st.binary(max_size=40),
    JSON.map(lambda tree: json.dumps(tree).encode()),
    st.dictionaries(st.sampled_from(KEYS), JSON | st.sampled_from([5, 60.0, -5, 10**400, *EVENTS])).map(
        lambda tree: json.dumps(tree).encode()
    ),
    st.sampled_from(
        [b"[" * 100_000, b'{"step": 3, "x": ' + b"[" * 100_000, b'{"event": "fault", "step": 1}']
    ),
)


@given(
    lines=st.lists(LINES, max_size=6),
    name=st.sampled_from(["metrics.jsonl", "events.jsonl", "evaluation.jsonl"]),
)
@cases(60)
def test_whatever_lines_are_in_a_log_what_is_read_fits_the_schema(
    lines: list[bytes], name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"\n".join(lines))
    log = Log(tmp_path)
    try:
        records, events, rows = log.records(), log.events(), log.evaluations()
    except RunError:  # of a format of the future
        return
    assert [r["step"] for r in records] == sorted({r["step"] for r in records if r["step"] >= 0})
    for record in records:
        numbers = [x for key, x in record.items() if key != "intervals"]
        assert all(type(x) in (int, float) and abs(x) < 1e309 for x in numbers)
    for event in events:
        assert event["event"] in [*EVENTS, "data_changed", "finished"] and event["step"] >= 0
        assert event["event"] != "fault" or isinstance(event["name"], str)
    for row in rows:
        assert isinstance(row["metric"], str) and type(row["step"]) is int
    log.keep_until(2**63)
    assert log.records() == records, "what fits is kept"


def test_what_does_not_fit_is_counted(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text(
        '{"step": -5}\n[]\n{"step": 2, "accuracy": {}, "d_loss": 1.5}\n{"st'
    )
    log = Log(tmp_path)
    assert log.records() == [{"step": 2, "d_loss": 1.5}] and log.skipped == {"metrics.jsonl": 3}


# what is written -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
def test_a_file_that_is_replaced_keeps_its_mode(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    path.chmod(mode)
    files.write(path, b"new")
    assert path.read_bytes() == b"new" and stat.S_IMODE(path.stat().st_mode) == mode


def test_a_link_is_written_through_outside_of_a_run_and_refused_in_one(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    run = tmp_path / "run"
    run.mkdir()
    for path in (tmp_path / "link", run / "link"):
        path.symlink_to(target)
    files.write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and target.read_bytes() == b"new"
    for act in (lambda: files.write(run / "link", b"no", run), lambda: files.append(run / "link", {}, run)):
        with pytest.raises(OSError):
            act()
    assert target.read_bytes() == b"new"
    files.write(Path("/dev/null"), b"gone")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_pipe_is_written_to_whole(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError):
        files.write(tmp_path / "pipe", b"nobody reads")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    while reader.is_alive() and not got:
        try:
            files.write(tmp_path / "pipe", b"whole" * 50_000)
            break
        except OSError:  # the reader is not there yet
            continue
    reader.join()
    assert got == [b"whole" * 50_000]


def test_a_line_that_was_cut_is_ended_before_the_next(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n{"ste')
    log = Log(tmp_path)
    record: Record = {"step": 2, "d_loss": 0.5}
    log.add_record(record)
    assert log.records() == [{"step": 1}, record]


def test_the_lock_cannot_be_removed_from_under_its_holder(tmp_path: Path) -> None:
    holder: Any = Log(tmp_path)
    holder.lock()
    for left in tmp_path.iterdir():
        left.unlink()
    with pytest.raises(RunError):
        Log(tmp_path).lock()
    tmp_path.rename(tmp_path.with_name("elsewhere"))
    tmp_path.mkdir()
    with pytest.raises(OSError):
        holder.add_record({"step": 1})
    assert not list(tmp_path.iterdir())
    holder.unlock()
    Log(tmp_path).lock()
