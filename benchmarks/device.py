"""Everything that an accelerator must show, in one command of a few minutes: is the game there the same game?

    python benchmarks/device.py                      the accelerator of this machine, or its processor
    python benchmarks/device.py --seconds 1 --only digits        a short form

The same games are played on the processor and on the device, from the same weights, with the same draws, in
float32 without TF32: the weights may differ by what rounding does. A run is begun on one and ended on the
other, and back. Then speed: images a second, memory and the share of the device's own matrix products, in
both precisions, and with the gradients compiled.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import ledger
from zerosum import recipe as recipes
from zerosum.recipe import Recipe
from zerosum.run import autotune, bench
from zerosum.run.run import Run

RESULT = ledger.RESULTS / "device.json"
TURNS = 20
APART = 2e-3
"""How far the weights of two devices may be apart after so many turns, as a share of their norm."""
PRESETS = ("ring", "digits", "vanilla-minimax", "mnist-dcgan", "mnist-r3", "mnist-conditional")


def game(name: str, device: str, **fields: Any) -> Recipe:
    return recipes.load(name, {"device": device, "precision": "fp32", "compile": False, **fields})


def weights(of: Any) -> torch.Tensor:
    players = (of.game.G.network, of.game.D.network) if isinstance(of, Run) else (of.G.network, of.D.network)
    return torch.cat([p.detach().double().cpu().flatten() for n in players for p in n.parameters()])


def apart(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


def same_game(name: str, device: str) -> float:
    """How far a game's weights are apart after `TURNS` turns on the processor and on the device."""
    ends = []
    for place in ("cpu", device):
        played, source = recipes.build(game(name, place))
        for _ in played.play(source, TURNS):
            pass
        ends.append(weights(played))
    return apart(ends[1], ends[0])


def moved(name: str, device: str, folder: Path) -> float:
    """A run from the device to the processor and back, against one that stays on the processor."""

    def play(path: Path, *stages: tuple[str, int]) -> torch.Tensor:
        end = torch.empty(0)
        for place, steps in stages:
            with Run.start(path, game(name, place, steps=steps, watch="none")) as run:
                for _ in run.play():
                    pass
                end = weights(run)
        return end

    there = play(folder / "moved", (device, TURNS // 2), ("cpu", TURNS - 5), (device, TURNS))
    return apart(there, play(folder / "home", ("cpu", TURNS // 2), ("cpu", TURNS - 5), ("cpu", TURNS)))


def speed(name: str, device: str, seconds: float, compiling: bool) -> dict[str, Any]:
    found = bench.measure(game(name, device), seconds)
    rates = {
        str(s.setting): {"images a second": round(s.images_per_second), "share of peak": round(s.share, 3)}
        for s in found.speeds
    }
    if compiling:
        rates["bf16, compiled"] = compiled(name, device, seconds)
    return {"memory": found.device_memory or found.memory, "settings": rates}


def compiled(name: str, device: str, seconds: float) -> dict[str, Any]:
    played, source = recipes.build(replace(game(name, device), precision="bf16", compile=True))
    begun = time.perf_counter()
    a_turn = autotune.warm(played, source)
    taken = time.perf_counter() - begun
    turns = autotune.turns_within(played, seconds / 3, a_turn)
    rate = turns * played.batch * played.k / autotune.seconds_of(played, source, turns)
    return {"images a second": round(rate), "seconds to compile": round(taken, 1)}


def measure(args: Namespace) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    place = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    device, games = str(place), {}
    for name in (name for name in PRESETS if fnmatch(name, args.only)):
        with TemporaryDirectory() as folder:
            games[name] = {
                "apart": same_game(name, device),
                "moved": moved(name, device, Path(folder)),
                **speed(name, device, args.seconds, args.compile),
            }
        print(name, games[name], flush=True)
    name = torch.cuda.get_device_name() if place.type == "cuda" else device
    result = {**ledger.origin(), "device": name, "turns": TURNS, "games": games}
    if args.only == "*":
        ledger.write(RESULT, result)
    if lacking := [*missing(result)]:
        raise SystemExit("\n".join(lacking))


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=10.0, help="of speed for each game (default: 10)")
    parser.add_argument("--compile", action=BooleanOptionalAction, default=True, help="(default: yes)")
    parser.add_argument("--only", default="*", help="some games, by name; then nothing is written")


def missing(result: dict[str, Any]) -> Iterator[str]:
    for name, found in result["games"].items():
        for what in ("apart", "moved"):
            if not found[what] <= APART:
                yield f"{name}: {what} by {found[what]:.2g} of the weights' norm, more than {APART:g}"


def lacks() -> list[str]:
    return [*missing(ledger.read(RESULT, {"games": {}}))]


BENCHMARK = ledger.Benchmark(__doc__, measure, options, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
