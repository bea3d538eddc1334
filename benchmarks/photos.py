"""Does `zerosum train photos --data FOLDER` with no option end in about an hour, with pictures worth showing?

    python benchmarks/photos.py                          the folders of folders.py, an hour each on two cores
    python benchmarks/photos.py flags emoji --before OLD  the same by the package in OLD/src, at the same hour

Each command is given as a user gives it and played to its end: seconds until the first record and until the
end, the most memory, the size and the turns that were chosen. Then as many samples as there are pictures,
1,000 at most, are judged as in pictures.py, and a grid of the first goes to docs/images/photos. A folder that
was played is not played again; a command that was stopped goes on, and its sessions are added up. OLD is a
checkout of another commit, whose run is stopped after as many seconds as ours took, and sampled by its code.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import numpy as np

import ledger
import pictures
from folders import folder
from pictures_parts import on_white
from zerosum.data.codec import Pixels
from zerosum.pictures import tiles
from zerosum.run import autotune
from zerosum.run.log import Log

RESULT = ledger.RESULTS / "photos.json"
RUNS, GRIDS = Path("runs/photos"), ledger.ROOT / "docs" / "images" / "photos"
FOLDERS = ("flags", "emoji", "landscapes", "many")
NOW = "now"
"""What the package of this checkout is called; another is called as its folder."""
LEAST, MOST, MEMORY = 40, 80, 4.0
"""Minutes that a run may take, and GiB."""


def environment(source: Path | None) -> dict[str, str]:
    return dict(os.environ) if source is None else {**os.environ, "PYTHONPATH": str(source / "src")}


def command(words: list[str], source: Path | None, out: Path, seconds: float | None) -> dict[str, float]:
    """A zerosum command to its end, or interrupted with this one or after so many seconds: how long it took,
    until a record of a run in `out` too, and the most memory in GiB."""
    before, begun, first = len(records(out)), time.monotonic(), None
    child = subprocess.Popen([sys.executable, "-m", "zerosum", *words], env=environment(source))
    stopped = False
    while True:
        try:
            ended, status, usage = os.wait4(child.pid, os.WNOHANG)
            spent = time.monotonic() - begun
            if first is None and len(records(out)) > before:
                first = spent
            if ended:
                break
            if seconds is not None and spent > seconds and not stopped:
                child.send_signal(signal.SIGINT)
                stopped = True
            time.sleep(0.5)
        except KeyboardInterrupt:  # which the terminal has sent to the command too
            stopped, seconds = True, None
    child.returncode = code = os.waitstatus_to_exitcode(status)
    if code and not stopped:
        raise SystemExit(f"zerosum {' '.join(words)} ended with {code}")
    end = {"ended": float(code == 0 or seconds is not None)}
    return end | {
        "seconds": round(spent, 1),
        "first": round(first or spent, 1),
        "memory": usage.ru_maxrss / 2**20,
    }


def records(out: Path) -> list[Any]:
    return Log(out).records() if (out / "metrics.jsonl").exists() else []


def played(
    place: str, name: str, source: Path | None, seconds: float | None, args: Namespace
) -> dict[str, Any]:
    """The sessions of a folder's run, added up, and what it is."""
    out = RUNS / f"{place}-{name}"
    sessions_file, done = RUNS / f"{place}-{name}.jsonl", RUNS / f"{place}-{name}.json"
    if done.exists():
        return json.loads(done.read_text())
    RUNS.mkdir(parents=True, exist_ok=True)
    words = ["train", "photos", "--data", str(folder(place)), "--out", str(out), "--quiet", *args.options]
    session = command(words, source, out, seconds)
    with sessions_file.open("a") as file:
        file.write(json.dumps(session) + "\n")
    if not session["ended"]:
        raise SystemExit("stopped; the same command goes on")
    sessions = [json.loads(line) for line in sessions_file.read_text().splitlines()]
    samples = RUNS / f"{place}-{name}.npy"
    n = min(pictures.MOST, len(list(folder(place).iterdir())))
    command(
        ["sample", str(out), "--n", str(n), "--seed", "1", "--out", str(samples), "--quiet"],
        source,
        out,
        None,
    )
    made = np.load(samples)
    found = {
        "folder": place,
        "package": name,
        "cores": autotune.cores(),
        "seconds": round(sum(s["seconds"] for s in sessions), 1),
        "first": sessions[0]["first"],
        "memory": round(max(s["memory"] for s in sessions), 2),
        "size": made.shape[1],
        "turns": records(out)[-1]["step"],
        **judged(place, made),
    }
    GRIDS.mkdir(parents=True, exist_ok=True)
    tiles(made[:40].reshape(40, *made.shape[1:3], -1).transpose(0, 3, 1, 2), 10).save(
        GRIDS / f"{place}-{name}.png"
    )
    ledger.write(done, found)
    return found


def judged(place: str, made: np.ndarray) -> dict[str, Any]:
    size = made.shape[1]
    codec = Pixels((made.shape[3] if made.ndim == 4 else 1, size, size))
    fake = on_white(codec.encode(made))
    real = pictures.real_features(place, size)
    found = pictures.compared(
        real, {name: space(fake) for name, space in pictures.spaces(place, size).items()}
    )
    return {**found, "floor": pictures.floor(place, size)}


def measure(args: Namespace) -> None:
    result = ledger.read(RESULT, {"rows": []})
    for place in args.folders or FOLDERS:
        rows = [played(place, NOW, None, None, args)]
        if args.before is not None:
            name = args.before.resolve().name
            rows.append(played(place, name, args.before.resolve(), rows[0]["seconds"], args))
        old = [
            r
            for r in result["rows"]
            if (r["folder"], r["package"]) not in {(place, r["package"]) for r in rows}
        ]
        result = {**ledger.origin(), "rows": [*old, *rows]}
        ledger.write(RESULT, result)
        print(place, rows, flush=True)


def options(parser: ArgumentParser) -> None:
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help=", ".join(FOLDERS))
    parser.add_argument("--before", type=Path, metavar="OLD", help="a checkout of another commit")
    parser.add_argument("--options", nargs="*", default=[], help="of the command (default: none)")


def table() -> str:
    rows = ledger.read(RESULT, {"rows": []})["rows"]
    if not rows:
        return "Not measured yet."
    lines: list[list[Any]] = []
    for r in rows:
        if r["package"] == NOW:
            real = [f"{r['floor'][m][0]:.3f}" for m in pictures.MEASURES]
            lines.append([r["folder"], "*real pictures*", "", f"{r['size']}²", "", "", "", "", *real])
        lines.append(
            [
                *(r["folder"], f"`{r['package']}`", r["cores"], f"{r['size']}²", f"{r['turns']:,}"),
                *(f"{r['seconds'] / 60:.0f}", f"{r['first']:.0f}", f"{r['memory']:.1f}"),
                *(f"{r[m][0]:.3f} [{r[m][1]:.3f}, {r[m][2]:.3f}]" for m in pictures.MEASURES),
            ]
        )
    head = ["folder", "package", "cores", "size", "turns", "minutes", "first record, s", "GiB"]
    found = ledger.table([*head, *(m.replace("_", " ") for m in pictures.MEASURES)], lines)
    return "\n".join([found, "", *nearer(rows)])


def nearer(rows: list[dict[str, Any]]) -> list[str]:
    """How many times nearer to the floor the package of today is, with the ends of both intervals."""
    said: list[str] = []
    for now in (r for r in rows if r["package"] == NOW):
        for before in (r for r in rows if r["folder"] == now["folder"] and r["package"] != NOW):
            times = []
            for m in pictures.DISTANCES:
                (value, low, high), (was, least, most), floor = now[m], before[m], now["floor"][m][0]
                ratios = [(a - floor) / (b - floor) for a, b in ((was, value), (least, high), (most, low))]
                times.append(f"{m.replace('_', ' ')} {ratios[0]:.1f} [{ratios[1]:.1f}, {ratios[2]:.1f}]")
            said.append(f"{now['folder']}, times nearer than `{before['package']}`: {', '.join(times)}.")
    return said


def lacks() -> list[str]:
    found: list[str] = []
    for r in ledger.read(RESULT, {"rows": []})["rows"]:
        if r["package"] == NOW and not LEAST <= r["seconds"] / 60 <= MOST:
            found.append(f"{r['folder']}: {r['seconds'] / 60:.0f} minutes, not {LEAST} to {MOST}")
        if r["package"] == NOW and r["memory"] > MEMORY:
            found.append(f"{r['folder']}: {r['memory']:.1f} GiB, more than {MEMORY}")
    return found


BENCHMARK = ledger.Benchmark(__doc__, measure, options, {"photos": table}, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
