"""Properties over many cases: what was tried, with which seeds, and what it found.

    python benchmarks/properties.py             10,000 cases of each family; writes results/properties.json
    python benchmarks/properties.py --cases 50  a look

A family of a run's files draws a case from (seed, number); the others are laws of the tests, which hypothesis
tries on more cases than the suite does. A case fails if anything but the errors that are meant is raised, or
if what is read is not what was written. Each family is recorded when it is through; those that are recorded
without a failure are passed over.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ledger
from zerosum.run import checkpoints
from zerosum.run.checkpoints import CheckpointError
from zerosum.run.log import Log, RunError
from zerosum.run.run import Run

RESULT = ledger.RESULTS / "properties.json"
RUN = ledger.ROOT / "tests/fixtures/runs_ee8671b/ring"
SEED = 20261129


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Bytes flipped, cut out, put in, or doubled, at one to four places."""
    for _ in range(chance.randint(1, 4)):
        at, n = chance.randrange(len(content) + 1), chance.randint(0, 40)
        middle = chance.choice(
            [
                b"",
                chance.randbytes(n),
                content[at : at + n] * 2,
                bytes(b ^ 1 << chance.randrange(8) for b in content[at : at + 1]),
                chance.choice([b"null", b"-1", b"1e999", b'""', b"[" * 2000, b"{}", b"\n", b"true", b"60.0"]),
            ]
        )
        content = content[:at] + middle + content[at + chance.choice([0, len(middle), n]) :]
    return content


def logs(chance: random.Random, place: Path) -> str:
    """Any damage to a log: what is read fits, and keeping what fits loses none of it."""
    name = chance.choice(["metrics.jsonl", "events.jsonl"])
    (place / name).write_bytes(damaged((RUN / name).read_bytes(), chance))
    log = Log(place)
    try:
        records, events = log.records(), log.events()
    except RunError:
        return "refused"
    assert [r["step"] for r in records] == sorted({r["step"] for r in records if r["step"] >= 0})
    assert all(type(x) in (int, float) for r in records for name, x in r.items() if name != "intervals")
    assert all(e["event"] != "fault" or isinstance(e["name"], str) for e in events)
    log.keep_until(2**63)
    assert log.records() == records
    return "passed over" if any(log.skipped.values()) else "read"


def forged(chance: random.Random, place: Path) -> str:
    """Any damage to a file of the newest checkpoint, with or without its checksum made right."""
    newest = place / "checkpoints/000020"
    if not (place / "recipe.yaml").exists():
        shutil.copytree(RUN, place, dirs_exist_ok=True)
    name = chance.choice(checkpoints.FILES)
    good = (RUN / "checkpoints/000020" / name).read_bytes()
    (newest / name).write_bytes(damaged(good, chance))
    if name != "manifest.json" and chance.random() < 0.7:
        manifest = json.loads((newest / "manifest.json").read_bytes())
        manifest["sha256"][name] = hashlib.sha256((newest / name).read_bytes()).hexdigest()
        (newest / "manifest.json").write_text(json.dumps(manifest))
    try:
        checkpoints.load(newest)
        outcome = "read"
    except CheckpointError:
        outcome = "passed over"
    except RunError:
        outcome = "refused"
    if outcome == "read" and chance.random() < 0.2:  # then it fits the game, or is passed over
        outcome = f"opened at step {Run.open(place).game.step}"
    for one in checkpoints.FILES:
        shutil.copy(RUN / "checkpoints/000020" / one, newest / one)
    return outcome


FAMILIES: dict[str, Callable[[random.Random, Path], str]] = {"logs": logs, "checkpoints": forged}
LAWS = {  # tests over families of inputs, tried here on many more cases than in the suite
    "tables": "test_columns.py::test_any_table_comes_back_exactly",
    "rows": "test_columns.py::test_whatever_G_makes_is_a_row_that_can_be",
    "table files": "test_table_files.py::test_any_bytes_are_a_table_or_an_error_in_one_line",
    "text": "test_table_files.py::test_any_text_survives_quoting",
    "image files": "test_image_files.py::test_a_grey_is_that_grey_in_any_mode_format_size_and_channels",
    "damaged images": "test_image_files.py::test_damage_of_any_kind_is_a_cause_or_a_picture",
    "splits": "test_layout.py::test_every_image_is_in_one_split_or_outside_of_all",
    "names of folders": "test_layout.py::test_neither_case_nor_a_folder_round_all_matters",
    "folders": "test_layout.py::test_any_tree_is_a_folder_of_images_or_an_error_in_one_line",
    "recipe overrides": "test_recipe_values.py::test_any_overrides_give_a_recipe_or_a_line",
    "recipe files": "test_recipe_values.py::test_any_file_gives_a_recipe_or_a_line",
    "recipe words": "test_recipe_values.py::test_any_words_are_a_value_or_a_line",
    "built recipes": "test_recipe_values.py::test_a_recipe_that_loads_is_built_or_refused_in_a_line",
    "arrays": "test_sources.py::test_any_array_comes_back",
    "lines of logs": "test_run_files.py::test_whatever_lines_are_in_a_log_what_is_read_fits_the_schema",
}


def tried(name: str, cases: int) -> dict[str, Any]:
    outcomes, failures = Counter[str](), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        for i in range(cases):
            try:
                outcomes[FAMILIES[name](random.Random(f"{SEED} {name} {i}"), Path(folder))] += 1
            except Exception as error:  # what the families are here to find
                failures.append(f"case {i}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
    return {"cases": cases, "seed": SEED, "outcomes": dict(sorted(outcomes.items())), "failures": failures}


def obeyed(law: str, cases: int) -> dict[str, Any]:
    """A law of the tests on `cases` cases for each of its parameters, drawn by hypothesis from the seed."""
    pytest = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n0",
        "-p",
        "no:cacheprovider",
        "--hypothesis-show-statistics",
        "-o",
        "timeout=0",  # the suite's limit is for a few cases
    ]
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is removed by other test runs
        done = subprocess.run(
            [*pytest, f"--basetemp={folder}/pytest", f"--hypothesis-seed={SEED}", f"tests/{law}"],
            env={**os.environ, "ZEROSUM_CASES": str(cases)},
            cwd=ledger.ROOT,
            capture_output=True,
            text=True,
        )
    found = re.findall(r"^E   .*|^(?:FAILED|ERROR) .*", done.stdout, re.MULTILINE)
    passing = [int(n) for n in re.findall(r"(\d+) passing", done.stdout)]
    failures = [line[:300] for line in found[:8]] if done.returncode else []
    return {"cases": sum(passing), "seed": SEED, "law": law, "failures": failures}


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--only", nargs="*", choices=[*FAMILIES, *LAWS], help="these families")
    parser.add_argument("--again", action="store_true", help="those that are recorded without a failure, too")


def measure(args: argparse.Namespace) -> None:
    result = ledger.read(RESULT, {})
    for name in args.only or [*FAMILIES, *LAWS]:
        before = result.get(name, {"failures": ["not tried"]})
        if not (args.again or before["failures"]) and before["cases"] >= args.cases:
            continue
        begun = time.perf_counter()
        one = tried(name, args.cases) if name in FAMILIES else obeyed(LAWS[name], args.cases)
        print(name, f"{time.perf_counter() - begun:.0f} s", json.dumps(one, indent=1), flush=True)
        if args.cases >= 10_000:
            result = {**ledger.read(RESULT, {}), name: one}
            ledger.write(RESULT, result)


def lacks() -> list[str]:
    """What failed; a family that the result does not name has not been tried on so many."""
    return [f"{name}: {line}" for name, one in ledger.read(RESULT, {}).items() for line in one["failures"]]


BENCHMARK = ledger.Benchmark(__doc__, measure, options, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
