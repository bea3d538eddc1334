"""Is a run of several processes that is killed, again and again, the run that nobody disturbed?

    python benchmarks/kills.py                 20 kills at the same number of ranks, 20 at 1, 2 and 4 in turn
    python benchmarks/kills.py --kills 4       fewer

A small game of digits is played by ranks as torchrun starts them. At a random instant, from the start of the
processes on, one rank drawn at random, or all of them, get SIGKILL; how long the others live on is noted, and
what they say. Then the same command is given again, with the same number of ranks or with the next of 1, 2
and 4. When a run has come to its end its weights are compared with those of the run that nobody disturbed,
and the next begins, until there were enough kills. Last, torchrun itself: a worker of it is killed, and its
own restart must bring the run to the same bytes.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import forked
import ledger
from zerosum import cli
from zerosum import recipe as recipes
from zerosum.run.log import Log
from zerosum.run.run import Run

RESULT = ledger.RESULTS / "kills.json"
STEPS, SEED = 100, 0
TOLERANCE = 1e-5
"""Of the norm of the weights, where the number of ranks changed."""
GAME = [
    *("digits", "--G.width", "8", "--D.width", "8", "--batch", "16", "--steps", str(STEPS), "--threads", "1"),
    *("--checkpoint_every", "10", "--log_every", "10", "--keep", "2", "--quiet"),
]
Ranks = list[forked.Child]


def words(out: Path) -> list[str]:
    """The command: four parts of a batch, whatever the number of ranks."""
    return ["train", *GAME, "--accumulate", "4", "--out", str(out)]


def begin(world: int, out: Path) -> Ranks:
    """A process for each rank, with the environment that torchrun gives it."""
    return forked.start(world, lambda: cli.main(words(out)), out.parent)


def ended(ranks: Ranks) -> list[str]:
    """What each said on its way."""
    return [rank.said() for rank in ranks]


def newest(out: Path) -> int:
    return max((int(path.name) for path in (out / "checkpoints").glob("[0-9]*")), default=-1)


def weights(out: Path) -> torch.Tensor:
    with Run.open(out, STEPS) as run:
        players = (run.game.G, run.game.D)
        return torch.cat([x.detach().flatten() for p in players for x in p.network.state_dict().values()])


def disturbed(ranks: Ranks, out: Path, chance: random.Random) -> dict[str, Any] | None:
    """Kill a rank, or all, at a random instant of the next stretch; None where the run ended before."""
    before, beginning = newest(out), chance.random() < 0.25
    if not beginning:  # some way behind the next checkpoint
        while newest(out) <= before and all(rank.poll() is None for rank in ranks):
            time.sleep(0.01)
    wait = chance.uniform(0.0, 1.0)
    end = time.monotonic() + wait
    while time.monotonic() < end and all(rank.poll() is None for rank in ranks):
        time.sleep(0.005)
    if any(rank.poll() is not None for rank in ranks):
        return None
    everyone = beginning or chance.random() < 0.2  # before all have met, only torchrun sees that one is gone
    hit = [*range(len(ranks))] if everyone else [chance.randrange(len(ranks))]
    for number in hit:
        ranks[number].kill()
    killed = time.monotonic()
    said = ended(ranks)
    if all(ranks[number].code != -9 for number in hit):  # the run had ended in the meantime
        return None
    others = [number for number in range(len(ranks)) if number not in hit]
    return {
        "ranks": len(ranks),
        "killed": "all" if everyone else hit[0],
        "at checkpoint": newest(out),
        "others ended after": round(time.monotonic() - killed, 2) if others else None,
        # one that had nothing left to play ends as if nothing had happened
        "others said a line": all(
            ranks[n].code == 0 or (said[n].count("\n") == 1 and "another process" in said[n]) for n in others
        ),
        "exit codes": [rank.code for rank in ranks],
    }


def trial(
    folder: Path, name: str, worlds: list[int], enough: int, references: dict[int, Any]
) -> dict[str, Any]:
    """Runs that are killed and started again until there were enough kills."""
    chance = random.Random(f"{name} {SEED}")
    kills, ends, number = list[Any](), list[Any](), 0
    while len(kills) < enough:
        out, turn = folder / f"{name}-{number}", 0
        while True:
            world = worlds[turn % len(worlds)]
            ranks = begin(world, out)
            kill = disturbed(ranks, out, chance) if len(kills) < enough else None
            if kill is None:
                errors = ended(ranks)
                if any(rank.code for rank in ranks):
                    raise SystemExit(f"{name}: {[rank.code for rank in ranks]}: {errors}")
                break
            kills.append(kill)
            turn += 1
            print(name, kill, flush=True)
        mine, reference = weights(out), references[worlds[0]]
        played = [event["ranks"] for event in Log(out).events() if "ranks" in event]
        difference = float((mine - reference).norm() / reference.norm())
        ends.append({"sittings of": played, "same bytes": mine.equal(reference), "difference": difference})
        print(name, ends[-1], flush=True)
        number += 1
    return {"kills": kills, "ends": ends}


def by_torchrun(folder: Path, reference: torch.Tensor) -> dict[str, Any]:
    """A worker of torchrun is killed; torchrun starts the workers again, and the run goes on."""
    for attempt in range(5):  # a machine may be so quick that the run is over before the kill
        out = folder / f"torchrun-{attempt}"
        start = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "3"]
        place = {**os.environ, "OMP_NUM_THREADS": "1"}
        torchrun = subprocess.Popen([sys.executable, *start, "-m", "zerosum", *words(out)], env=place)
        while newest(out) < 20 and torchrun.poll() is None:
            time.sleep(0.01)
        children = Path(f"/proc/{torchrun.pid}/task/{torchrun.pid}/children")
        workers = children.read_text().split() if torchrun.poll() is None else []
        if workers:
            os.kill(int(workers[-1]), 9)
        code = torchrun.wait()
        events = [event["event"] for event in Log(out).events()]
        if "resumed" in events:
            return {"exit code": code, "events": events, "same bytes": weights(out).equal(reference)}
    raise SystemExit("the run was always over before the kill")


def measure(args: argparse.Namespace) -> None:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        recipes.build_source(recipes.load("digits"))  # imported once, before there are children
        references: dict[int, torch.Tensor] = {}
        for world in (1, 2):
            ranks = begin(world, folder / f"undisturbed-{world}")
            ended(ranks)
            references[world] = weights(folder / f"undisturbed-{world}")
        result = {
            "two ranks, always": trial(folder, "unchanged", [2], args.kills, references),
            "1, 2 and 4 ranks in turn": trial(folder, "changed", [1, 2, 4], args.kills, references),
            "torchrun": by_torchrun(folder, references[2]),
        }
    minutes = round((time.monotonic() - begun) / 60, 1)
    about = {"steps": STEPS, "minutes": minutes, "load": args.load}
    ledger.write(RESULT, {**ledger.origin(), **about, **result})


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kills", type=int, default=20, help="of each kind")
    parser.add_argument("--load", default="", help="what the machine was doing besides, for the record")


def lacks() -> list[str]:
    result = ledger.read(RESULT)
    same, changed = result["two ranks, always"], result["1, 2 and 4 ranks in turn"]
    wrong = [f"other bytes: {end}" for end in same["ends"] if not end["same bytes"]]
    wrong += [f"too far: {end}" for end in changed["ends"] if not end["difference"] < TOLERANCE]
    silent = [k for part in (same, changed) for k in part["kills"] if not k["others said a line"]]
    wrong += [f"a rank ended without a line: {kill}" for kill in silent]
    wrong += [] if result["torchrun"]["same bytes"] else ["torchrun's restart ends at other bytes"]
    return wrong


def text() -> str:
    result = ledger.read(RESULT)
    same, changed = result["two ranks, always"], result["1, 2 and 4 ranks in turn"]
    waits = [k["others ended after"] for part in (same, changed) for k in part["kills"]]
    slowest = max(wait for wait in waits if wait is not None)
    everyone = sum(kill["killed"] == "all" for part in (same, changed) for kill in part["kills"])
    furthest = max(end["difference"] for end in changed["ends"])
    how = result["command"].split(" --load")[0]
    runs = [f"{len(part['ends'])} run{'s' * (len(part['ends']) > 1)}" for part in (same, changed)]
    exact = "**the same bytes**" if all(end["same bytes"] for end in same["ends"]) else "other bytes"
    beside = result["load"] and ", " + result["load"]
    return (
        f"Measured (`{how}`, {result['minutes']} minutes{beside}): {len(same['kills'])} kills of two ranks "
        f"that were started again as two, in {runs[0]} of {result['steps']} turns: {exact} as undisturbed. "
        f"{len(changed['kills'])} kills with 1, 2 and 4 ranks in turn, in {runs[1]}: at most "
        f"{furthest:.1e} of the weights' norm from the run of one process (asked: {TOLERANCE:g}, in "
        f"float32). {everyone} of the kills hit all ranks; where some were left, they ended within "
        f"{slowest:.1f} s, each with a line. torchrun's own restart resumed the run, to the same bytes."
    )


BENCHMARK = ledger.Benchmark(__doc__, measure, options, parts={"kills": text}, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
