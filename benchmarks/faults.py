"""Faults on purpose: does the diagnosis give each its right name, and leave healthy games alone?

    python benchmarks/faults.py --first 0 --seeds 1 --for choosing     the runs that limits were chosen on
    python benchmarks/faults.py --first 100 --seeds 3                  those that are reported, and the docs
    python benchmarks/faults.py --repair --first 100 --seeds 3         follow the advice

What is measured is what ships: every scenario of faults.yaml is played by `Run`, with the shipped watch, its
clocks and its diagnosis, which is asked at every logged record and knows only the records up to it. A run
ends when its fault is named. A fault is found if it is the first of those that stand, at a record after it
began; a healthy run raises a false alarm if any fault stands at any record.

Each run is written as it ends (--cache), and is not played again: a stopped measurement goes on. It carries a
digest of its scenario, the preset and the code of the watch. What the committed result has with the digest of
today stays in it, so that after a change only what depends on it is played; a test compares them.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache as once
from hashlib import sha256
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import torch
import yaml

import zerosum
from ledger import RESULTS, Benchmark, origin, read, result, table, write
from zerosum import recipe as recipes
from zerosum.data import Images, Vectors
from zerosum.metrics.estimate import wilson
from zerosum.randomness import stream
from zerosum.run.run import Run, RunError
from zerosum.watch.diagnosis import FAULTS, STATES, Finding

HERE, PACKAGE = Path(__file__).parent, Path(zerosum.__file__).parent
SCENARIOS = HERE / "faults.yaml"
HEALTHY = "healthy"
Scenario = Mapping[str, Any]


# data that are small enough to be learned by heart, or come with scikit-learn -------------------------------


def few_points(n: int = 40, dim: int = 16, seed: int = 0) -> Vectors:
    """n points of a standard normal in many dimensions."""
    return _parts(torch.randn(n + 300, dim, generator=stream("few", n, dim)), n, seed)


def few_rows(n: int = 40, seed: int = 0) -> Vectors:
    """n rows of 13 chemical measures of 178 wines, each of mean 0 and variance 1."""
    from sklearn.datasets import load_wine

    return _parts(_mixed(torch.from_numpy(load_wine(return_X_y=True)[0]).float(), "wine"), n, seed)


def cancer(seed: int = 0, n: int = 441) -> Vectors:
    """10 measures of 569 tumours, each of mean 0 and variance 1, limited to 4 deviations; n for training."""
    from sklearn.datasets import load_breast_cancer

    rows = _mixed(torch.from_numpy(load_breast_cancer(return_X_y=True)[0][:, :10]).float(), "cancer")
    return _parts(rows.clamp(-4, 4), n, seed)


def waves(seed: int = 0, n: int = 1200, length: int = 32) -> Vectors:
    """Signals of one channel: waves of any phase, one (class 0) or two (class 1) in the window, and noise."""
    drawn = stream("waves", n, length)
    kind, phase = torch.arange(n) % 2, torch.rand(n, 1, generator=drawn)
    turns = (kind[:, None] + 1) * torch.arange(length) / length + phase
    noise = torch.randn(n, length, generator=drawn)
    return _parts(((2 * torch.pi * turns).sin() + 0.1 * noise)[:, None], n - 300, seed, kind)


def photos(seed: int = 0, n: int = 700, side: int = 16) -> Images:
    """Squares of scikit-learn's two photographs, of each n: as the gallery has them, and smaller."""
    from gallery import two_photos
    from zerosum.data import image_folder

    folder = Path(gettempdir()) / f"zerosum-faults-photos-{n}-{side}"
    if not folder.exists():
        two_photos(folder, n, side)
    return image_folder(str(folder), size=side, seed=seed)


def _mixed(rows: torch.Tensor, name: str) -> torch.Tensor:
    rows = rows[torch.randperm(len(rows), generator=stream(name))]
    return (rows - rows.mean(0)) / rows.std(0)


def _parts(rows: torch.Tensor, n: int, seed: int, labels: torch.Tensor | None = None) -> Vectors:
    """The first n rows for training, the others held out."""

    def part(name: str) -> Vectors:
        some = slice(n) if name == "train" else slice(n, None)
        mine = None if labels is None else labels[some]
        return Vectors(rows[some], mine, seed=seed, split_name=name, splits=("train", "test"), opener=part)

    return part("train")


# playing ----------------------------------------------------------------------------------------------------


@once
def _suite() -> Mapping[str, Any]:
    return yaml.safe_load(SCENARIOS.read_text())


def scenarios() -> list[Scenario]:
    return _suite()["scenarios"]


def recipe_of(scenario: Scenario, seed: int, changes: Mapping[str, Any] | None = None) -> Any:
    """The recipe of a scenario: of its preset, or of `small`; fields that it sets are set whole."""
    small = _suite()["small"]
    preset = scenario.get("preset")
    fields = ({} if preset else small) | dict(scenario.get("recipe", {})) | dict(changes or {})
    if "steps" in scenario:
        fields["steps"] = scenario["steps"]
    quiet = {"sample_every": 10**9, "checkpoint_every": 10**9, "threads": 1, "device": "cpu"}
    return recipes.load(preset or "vanilla-nonsaturating", {**fields, **quiet, "seed": seed})


def play(scenario: Scenario, seed: int, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the diagnosis said in a run of a scenario, which ends when its fault is named; if something was
    changed, when any is."""
    begun, said = time.process_time(), list[tuple[int, list[Finding]]]()
    with TemporaryDirectory() as folder, Run.start(Path(folder), recipe_of(scenario, seed, changes)) as run:
        run.picture = lambda: None  # type: ignore[method-assign]  # nobody looks at them
        try:
            for record in run.play():
                said.append((record["step"], [*run.findings]))
                named = bool(run.faults) if changes else is_first(scenario["fault"], run.faults)
                if named and record["step"] > scenario.get("begins", 0):
                    break
                if record["step"] >= scenario.get("played", math.inf):
                    break
        except RunError:  # numbers that are none
            said.append((run.game.step, [*run.findings]))
        history = [*run.history]
        ends = {name: [r[name] for r in history if name in r][-3:] for name in END}
        last = {name: round(median(values), 5) for name, values in ends.items() if values}
    row = judged(scenario, [(step, [(f.name, f.level) for f in findings]) for step, findings in said])
    healed = scenario.get("may_heal") and row["found"] is None and is_well(last, run.judged.modes)
    return {
        "scenario": scenario["name"],
        "fault": HEALTHY if healed else scenario["fault"],
        "seed": seed,
        "seconds": round(time.process_time() - begun, 1),
        "end": last,
        **row,
        "advice": [a.fields for f in said[-1][1] for a in f.advice] if said else [],
        "folk": {name: first_of(history, shown) for name, shown in FOLK.items()},
        "lost": lost(history),
    }


END = ("coverage", "distance", "modes_covered", "spread")
"""What is kept of how a run ended, medians of three."""

FOLK: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "loss of D below 0.1": lambda r: r["d_loss"] < 0.1,
    "accuracy of D above 95 %": lambda r: r.get("accuracy", 0.0) > 0.95,
    "loss of G above 5": lambda r: r["g_loss"] > 5,
}
"""Rules by which people judge a game from its curves alone, each at three records in a row."""


def first_of(history: Sequence[Mapping[str, Any]], shown: Callable[[Mapping[str, Any]], bool]) -> int | None:
    """The step of the third record in a row that shows something."""
    rows = [r for r in history if "d_loss" in r and "g_loss" in r and "accuracy" in r]
    marks = [shown(r) for r in rows]
    return next((rows[i]["step"] for i in range(2, len(rows)) if all(marks[i - 2 : i + 1])), None)


def lost(history: Sequence[Mapping[str, Any]]) -> int | None:
    """When the samples covered less than half of what they had covered, which was a fifth of the data."""
    most = 0.0
    for record in history:
        covered = record.get("coverage")
        if covered is not None:
            most = max(most, covered)
            if most > 0.2 and covered < most / 2:
                return record["step"]
    return None


def is_well(end: Mapping[str, float], modes: int) -> bool:
    """Whether a run that was to be ill ends with every mode and half of the coverage."""
    return end.get("modes_covered", 0) >= modes and end.get("coverage", 0) >= 0.5


def is_first(fault: str | None, standing: Sequence[Finding]) -> bool:
    return bool(standing) and standing[0].name == fault


def judged(scenario: Scenario, said: list[tuple[int, list[tuple[str, str]]]]) -> dict[str, Any]:
    """When the fault was first of those that stood, what was first, and whatever else was ever said."""
    faults = [(step, [name for name, level in found if level == "fault"]) for step, found in said]
    begins = scenario.get("begins", 0)
    since = [(step, names) for step, names in faults if names and step > begins]
    warned = {name for _, found in said for name, level in found if level == "warning"}
    return {
        "steps": said[-1][0] if said else 0,
        "found": next((step - begins for step, names in since if names[0] == scenario["fault"]), None),
        "first": since[0][1][0] if since else None,
        "faults": sorted({name for _, names in faults for name in names}),
        "warnings": sorted(warned),
        "state": next((name for name, _ in said[-1][1] if name in STATES), None) if said else None,
    }


def cached(
    scenario: Scenario, seed: int, cache: Path, play: Callable[[Scenario, int], dict[str, Any]]
) -> dict[str, Any]:
    """The run of a scenario as it was written, or played now."""
    path = place(scenario, seed, cache)
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        row = play(scenario, seed)
        path.write_text(json.dumps(row))
        print(row["seed"], row["fault"], "|", row["scenario"], "|", row["found"], row["faults"], flush=True)
    return {**json.loads(path.read_text()), "digest": digest([scenario])}


def place(scenario: Scenario, seed: int, cache: Path) -> Path:
    """Where a run is kept: with what it depends on, and so not on other scenarios."""
    return cache / f"{digest([scenario])}-{seed}.json"


UNMEASURED = ("__init__.py", "best.py", "diagnosis.py", "words.py", "cost", "sample_distance")
"""What of the watch decides no fault: states, checkpoints, the order of findings, sentences, and how long it
takes; files and functions."""


def digest(some: Sequence[Scenario]) -> str:
    """Of what runs of these depend on: the scenarios, their presets, and the watch without its comments."""
    presets = sorted({s["preset"] for s in some if "preset" in s})
    texts = [json.dumps(x, sort_keys=True) for x in (*_files(presets), _suite()["small"], some)]
    return sha256("\n".join([*texts, *_watch()]).encode()).hexdigest()[:12]


def digests() -> dict[str, str]:
    """That of each game by itself, by its name."""
    return {s["name"]: digest([s]) for s in scenarios()}


def _files(presets: Sequence[str]) -> Iterator[Mapping[str, Any]]:
    """What is in the files of presets, and of those that they are made from."""
    for name in presets:
        tree = yaml.safe_load((PACKAGE / "recipe" / "presets" / f"{name}.yaml").read_text())
        yield {**tree, "about": ""}
        yield from _files([tree["recipe"]] if "recipe" in tree else [])


@once
def _watch() -> list[str]:
    files = (f for f in sorted((PACKAGE / "watch").glob("*.py")) if f.name not in UNMEASURED)
    return ["".join(_statements(ast.parse(file.read_text()))) for file in files]


def _statements(tree: ast.Module) -> Iterator[str]:
    """What a module does: no comments, no docstrings, no imports."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [n for n in body if not _decides_nothing(n)]  # type: ignore[attr-defined]
    yield ast.dump(tree)


def _decides_nothing(node: ast.AST) -> bool:
    text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return text or isinstance(node, ast.Import | ast.ImportFrom) or getattr(node, "name", "") in UNMEASURED


# results ----------------------------------------------------------------------------------------------------


def summary(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """By fault; last the healthy runs. Shares with Wilson's interval of 95 %."""
    lines = []
    for fault in [*FAULTS, HEALTHY]:
        mine = [row for row in rows if row["fault"] == fault]
        if not mine:
            continue
        ways = len({row["scenario"] for row in mine})
        line: dict[str, Any] = {"fault": fault, "ways": ways, "runs": len(mine)}
        if fault == HEALTHY:
            count = sum(bool(row["faults"]) for row in mine)
            line |= {"alarms": count, "warned": sum(bool(row["warnings"]) for row in mine)}
        else:
            steps = sorted(row["found"] for row in mine if row["found"] is not None)
            count = len(steps)
            line |= {"found": count, "named_first": sum(row["first"] == fault for row in mine)}
            line |= {"median_steps": steps[len(steps) // 2] if steps else None}
        line["interval"] = [round(x, 3) for x in wilson(count, len(mine))]
        lines.append(line)
    return lines


def measure(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    seeds = range(args.first, args.first + args.seeds)
    path, key, cache = RESULTS / "faults.json", args.purpose, args.cache
    pairs = [(s, seed) for seed in seeds for s in chosen(args.only)]
    if args.repair:
        key, cache = "repairs", cache / "repairs"
        pairs = [(s, seed) for s, seed in pairs if s["name"] in TO_REPAIR]
    if args.played:
        pairs = [(s, seed) for s, seed in pairs if place(s, seed, cache).exists()]
    old, now = read(path, {}).get(key, {"rows": []})["rows"], digests()
    there = {(r["seed"], r["scenario"]): r for r in old if r["digest"] == now.get(r["scenario"])}
    for s, seed in pairs:
        if (seed, s["name"]) not in there:
            there[seed, s["name"]] = cached(s, seed, cache, repair if args.repair else play)
    order = [*now]
    rows = sorted(there.values(), key=lambda row: (row["seed"], order.index(row["scenario"])))
    lines = repaired(rows) if args.repair else summary(rows)
    seen = sorted({row["seed"] for row in rows})
    part = {"seeds": seen, "summary": lines, "rows": rows}
    others = {name: read(path, {}).get(name) for name in ("choosing", "reported", "repairs")}
    write(path, {**origin(), **{name: old for name, old in others.items() if old}, key: part}, indent=None)


def chosen(only: str) -> list[Scenario]:
    return [s for s in scenarios() if only in s["name"] or only in s["fault"]]


TO_REPAIR = (
    "ring, kl, high rate",
    "digits in [0, 1], tanh",
    "digits, G, batch 4",
    "ring, Adam 0.2",
    "moons, D with rate 0",
    "ring, Adam 1e-6",
    "moons, linear D, Wasserstein",
    "narrow ring, minimax",
    "20 wines",
    "narrow ring, fast D",
    "small gaussian, linear players, hinge",
    "ring, tanh, slow D",
    "narrow ring, simultaneous, Adam with momentum",
    "wide grid, simultaneous, Adam with momentum",
)
"""Games whose advice is followed, one for each fault."""


def repair(scenario: Scenario, seed: int, rounds: int = 3) -> dict[str, Any]:
    """Follow the first advice for fields that are as they were, and start anew, as one does with
    `--on-fault stop`, until a run comes to its end; `rounds` times at most.

    Repaired is a game that raises no fault in 2,600 turns, and covers a tenth of the data more than it did.
    """
    row, changes, followed = play(scenario, seed), dict[str, Any](), list[str]()
    before = row["end"].get("coverage", 0.0)
    while len(followed) < rounds and row["advice"]:
        advised = [fields for fields in row["advice"] if not fields.items() <= changes.items()]
        if not advised:
            break
        fields = next((fields for fields in advised if not fields.keys() & changes.keys()), advised[0])
        changes |= fields
        followed.append(", ".join(f"{field} = {value}" for field, value in fields.items()))
        row = play({**scenario, "steps": 2600, "begins": 0}, seed, changes)
    after = row["end"].get("coverage", 0.0)
    return {
        "scenario": scenario["name"],
        "fault": scenario["fault"],
        "seed": seed,
        "followed": followed,
        "before": before,
        "after": after,
        "found": row["found"],
        "faults": row["faults"],
        "repaired": bool(followed) and not row["advice"] and after >= before + 0.1,
    }


def repaired(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    lines = []
    for name in dict.fromkeys(row["scenario"] for row in rows):
        mine = [row for row in rows if row["scenario"] == name]
        lines.append(
            {
                "fault": mine[0]["fault"],
                "scenario": name,
                "runs": len(mine),
                "repaired": sum(row["repaired"] for row in mine),
                "before": round(sum(row["before"] for row in mine) / len(mine), 3),
                "after": round(sum(row["after"] for row in mine) / len(mine), 3),
                "first": sorted({row["followed"][0] for row in mine if row["followed"]}),
            }
        )
    return lines


# the docs ---------------------------------------------------------------------------------------------------


def faults_table() -> str:
    part = result("faults")["reported"]
    head = ("fault", "ways", "runs", "found (95 %)", "no other named first", "median turns")
    lines = []
    for line in part["summary"]:
        low, high = line["interval"]
        if line["fault"] == HEALTHY:
            alarms = f"{line['alarms']} raised a fault ({low:.0%} to {high:.0%}), {line['warned']} a warning"
            lines.append(("none: healthy", line["ways"], line["runs"], alarms, "", ""))
        else:
            found = f"{line['found']} ({low:.0%} to {high:.0%})"
            numbers = line["named_first"], line["median_steps"] if line["found"] else "-"
            lines.append((line["fault"], line["ways"], line["runs"], found, *numbers))
    return table(head, lines)


def healthy_table() -> str:
    """Each preset by itself, the other healthy games together: what was played, and what was ever said."""
    rows = result("faults")["reported"]["rows"]
    games = {s["name"]: s for s in scenarios() if "preset" in s or s["fault"] == HEALTHY}
    whole = {name: name if "preset" in s else "other games" for name, s in games.items()}
    lines = []
    for name in sorted(dict.fromkeys(whole.values()), key=lambda name: "preset" not in name):
        mine = [r for r in rows if whole.get(r["scenario"]) == name]
        turns = {recipe_of(s, 0).turns for x, s in games.items() if whole[x] == name}
        said = Counter(fault for r in mine for fault in r["faults"])
        ill = sum(bool(r["faults"]) for r in mine)
        others = len({r["scenario"] for r in mine})
        lines.append(
            (
                name if "preset" in name else f"{others} {name}",
                len({r["seed"] for r in mine}),
                len(mine),
                f"{min(turns):,}" + (f" to {max(turns):,}" if len(turns) > 1 else ""),
                f"{max((r['steps'] for r in mine), default=0):,}",
                f"{ill}" + (f": {', '.join(said)}" if ill else ""),
            )
        )
    head = ("game", "seeds", "runs", "turns planned", "played at most", "runs with a fault at any record")
    return table(head, lines)


def folk_table() -> str:
    """The diagnosis beside what people go by: what says that something is wrong, and how early."""
    rows = result("faults")["reported"]["rows"]
    ill = [r for r in rows if r["fault"] != HEALTHY and r["fault"] not in AT_SIGHT]
    well = [r for r in rows if r["fault"] == HEALTHY]
    ours = {"this diagnosis": lambda r: bool(r["faults"])}
    rules = ours | {name: lambda r, name=name: r["folk"][name] is not None for name in FOLK}
    lines = []
    for name, says in rules.items():
        ill_said, well_said = sum(map(says, ill)), sum(map(says, well))
        lines.append((name, f"{ill_said} of {len(ill)}", f"{well_said} of {len(well)}"))
    return table(("rule", "ill games of which it says so", "healthy games of which it says so"), lines)


def repairs_table() -> str:
    part = result("faults").get("repairs")
    if part is None:
        return "Not measured with this watch yet."
    head = ("fault", "game", "repaired", "coverage before", "after", "advice that was followed first")
    return table(
        head,
        [
            (
                line["fault"],
                line["scenario"],
                f"{line['repaired']} of {line['runs']}",
                f"{line['before']:.0%}",
                f"{line['after']:.0%}",
                "; ".join(f"`{advice}`" for advice in line["first"]) or "none",
            )
            for line in part["summary"]
        ],
    )


AT_SIGHT = ("non-finite values", "range mismatch", "batch too small for batch norm")
"""Faults that need no curve."""


def missed_list() -> str:
    """What was not found, and what was said wrongly, run by run."""
    rows = result("faults")["reported"]["rows"]
    wrong = [r for r in rows if (r["faults"] if r["fault"] == HEALTHY else r["found"] is None)]
    lines = [
        f"- {r['scenario']} (seed {r['seed']}; {r['fault']}): {', '.join(r['faults']) or 'no fault'} after "
        f"{r['steps']:,} turns"
        for r in wrong
    ]
    return "\n".join(lines) or "Nothing was missed."


def seeds_line() -> str:
    found = result("faults")

    def seeds(key: str) -> str:
        numbers = found.get(key, {}).get("seeds", [])
        return (
            f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else ", ".join(map(str, numbers)) or "none"
        )

    rows = found["reported"]["rows"]
    games, all_games = len({row["scenario"] for row in rows}), len(scenarios())
    played = sorted(Counter(Counter(row["scenario"] for row in rows).values()).items(), reverse=True)
    times = ", ".join(f"{n} on {each} seed{'s' * (each > 1)}" for each, n in played)
    return (
        "Limits were chosen on other seeds. "
        f"Reported are {len(rows)} runs of {games} of the {all_games} games, "
        f"as far as there was time on seeds {seeds('reported')}: {times}."
    )


def lacks() -> list[str]:
    """Games that were played as they are no more, or never."""
    parts, now = result("faults"), digests()
    found: list[str] = []
    for key, wanted in (("reported", {*now}), ("repairs", {*TO_REPAIR})):
        rows = parts[key]["rows"]
        other = {row["scenario"] for row in rows if row["digest"] != now.get(row["scenario"])}
        other |= wanted - {row["scenario"] for row in rows}
        found += [f"faults.json, {key}: {name!r} was not played as it is today" for name in other]
    return sorted(found)


def options(parser: argparse.ArgumentParser) -> None:
    cache = os.environ.get("ZEROSUM_FAULTS", Path(gettempdir()) / "zerosum-faults")
    parser.add_argument("--first", type=int, default=100, help="the first seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="scenarios whose name or fault holds this")
    parser.add_argument("--for", dest="purpose", default="reported", choices=["reported", "choosing"])
    parser.add_argument("--played", action="store_true", help="report what was played so far, play nothing")
    parser.add_argument("--repair", action="store_true", help="follow the advice instead")
    parser.add_argument("--cache", type=Path, default=Path(cache), help="where runs are kept")


PARTS = {
    "faults": faults_table,
    "faults_folk": folk_table,
    "faults_healthy": healthy_table,
    "faults_missed": missed_list,
    "faults_repairs": repairs_table,
    "faults_seeds": seeds_line,
}
BENCHMARK = Benchmark(__doc__, measure, options, PARTS, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
