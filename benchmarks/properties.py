"""Properties of a run's files over many cases: what was tried, with which seeds, and what it found.

    python benchmarks/properties.py             10,000 cases of each family; writes results/properties.json
    python benchmarks/properties.py --cases 50  a look

A family draws a case from (seed, number). A case fails if anything but the errors that are meant is raised,
or if what is read does not fit the schema. The tests try some of the same in seconds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zerosum.run import checkpoints, files
from zerosum.run.checkpoints import CheckpointError
from zerosum.run.log import Log, RunError
from zerosum.run.run import Run

RESULT = Path("benchmarks/results/properties.json")
RUN = Path("tests/fixtures/runs_ee8671b/ring")
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


def tried(name: str, cases: int) -> dict[str, Any]:
    outcomes, failures = Counter[str](), list[str]()
    with tempfile.TemporaryDirectory() as folder:
        for i in range(cases):
            try:
                outcomes[FAMILIES[name](random.Random(f"{SEED} {name} {i}"), Path(folder))] += 1
            except Exception as error:  # what the families are here to find
                failures.append(f"case {i}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
    return {"cases": cases, "seed": SEED, "outcomes": dict(sorted(outcomes.items())), "failures": failures}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    cases = parser.parse_args().cases
    result = {name: tried(name, cases) for name in FAMILIES}
    for name, one in result.items():
        print(name, one["outcomes"], *one["failures"][:20], sep="\n  ")
    if cases >= 10_000:
        files.write(RESULT, (json.dumps(result, indent=1) + "\n").encode())
    return int(any(one["failures"] for one in result.values()))


if __name__ == "__main__":
    sys.exit(main())
