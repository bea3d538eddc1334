"""Everything that an accelerator must show, in one command of eight minutes: is the game there the same game?

    python benchmarks/device.py                      the accelerator of this machine, or its processor
    python benchmarks/device.py --seconds 1 --only digits --no-compile        a short form

laws: objectives, penalties and optimizers on the device against the same in float64 on the processor, and
the linear rate of Dirac-GAN. same: each game from the same weights on the same inputs, in float32 without
TF32; its weights may differ by what rounding does. resumed: a run is begun on the device, goes on on the
processor and back; each takes up what the other left to the last bit. speed: images a second, memory, and the
share of the device's own matrix products in both precisions; compiled, and compiled with captured graphs,
while there is time.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import fields, is_dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

import ledger
from zerosum import Game, objectives, optimizers, penalties
from zerosum import recipe as recipes
from zerosum.networks import mlp
from zerosum.randomness import seeded, stream
from zerosum.recipe import Recipe
from zerosum.run import autotune, bench
from zerosum.run.run import Run

RESULT = ledger.RESULTS / "device.json"
TURNS = 20
APART = 2e-3
"""How far the weights of two devices may be apart after so many turns, as a share of their norm."""
EXACT = 1e-4
"""How far a law may be off in float32."""
COMPILING = 90.0
"""Seconds that must be left for a game to be compiled."""
PRESETS = ("ring", "digits", "vanilla-minimax", "mnist-dcgan", "mnist-r3", "mnist-conditional")
RATE = 0.97468
"""Of Dirac-GAN with R1 of weight 0.3 in simultaneous steps of 0.2 (Mescheder et al. 2018)."""


# laws -----------------------------------------------------------------------------------------------------


def laws(device: str) -> dict[str, float]:
    """By how much each is off, relative to its size where that is above 1."""
    found = {name: off(*both(losses, make(), device)) for name, make in OBJECTIVES.items()}
    found |= {name: off(*both(penalised, make(), device)) for name, make in PENALTIES.items()}
    found |= {name: off(*both(descended, make(), device)) for name, make in OPTIMIZERS.items()}
    return found | {"the rate of Dirac-GAN": abs(dirac_rate(device) - RATE)}


NAMES = ("minimax", "nonsaturating", "least_squares", "hinge", "wasserstein")
OBJECTIVES = {name: getattr(objectives, name) for name in NAMES}
PENALTIES = {"r1": penalties.r1, "r2": penalties.r2}
OPTIMIZERS = {
    "sgd": lambda: optimizers.sgd(0.1, momentum=0.9),
    "adam": lambda: optimizers.adam(1e-2),
    "extragradient": lambda: optimizers.extragradient(optimizers.adam(1e-2)),
    "optimistic": lambda: optimizers.optimistic(optimizers.adam(1e-2)),
    "lookahead_minmax": lambda: optimizers.lookahead_minmax(optimizers.sgd(0.1), every=2),
}


def both(law: Any, of: Any, device: str) -> tuple[Tensor, Tensor]:
    """What a law gives in float64 on the processor, and in float32 on the device."""
    return law(of, torch.device("cpu"), torch.float64), law(of, torch.device(device), torch.float32)


def off(there: Tensor, here: Tensor) -> float:
    here = here.detach().cpu().double()
    return float(((here - there).abs() / there.abs().clamp(min=1)).max())


def losses(objective: Any, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Both losses and their slopes at logits from -30 to 30."""
    logits = torch.linspace(-30, 30, 61, dtype=torch.float64).to(dtype).to(device).requires_grad_()
    values = objective.d(logits, logits.flip(0)) + objective.g(None, logits)
    (slopes,) = torch.autograd.grad(values.sum(), logits)
    return torch.cat([values, slopes]).detach().cpu().double()


def penalised(penalty: Any, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A penalty and its gradient in the weights of a critic."""
    with seeded(0):
        critic = mlp((2,), (), width=8, depth=2, activation=nn.SiLU).to(dtype).to(device)
    draw = stream("device", "points")
    real, fake = (
        torch.randn(16, 2, generator=draw, dtype=torch.float64).to(dtype).to(device) for _ in range(2)
    )
    values = penalty(critic, real, fake)
    values.sum().backward()
    slopes = [torch.zeros_like(p) if p.grad is None else p.grad for p in critic.parameters()]
    return torch.cat([values.flatten(), *(s.flatten() for s in slopes)]).detach().cpu().double()


def descended(factory: Any, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Six steps of an optimizer down x^4 / 4 - x."""
    x = torch.linspace(-2, 2, 9, dtype=torch.float64).to(dtype).to(device).requires_grad_()
    optimizer = factory([x])
    for _ in range(6):
        x.grad = (x**3 - 1).detach()
        optimizer.step()
        optimizers.end_turn(optimizer)
    return x.detach().cpu().double()


class Point(nn.Module):
    """theta, times a value that is 1 whatever z is: the whole of Dirac-GAN's players."""

    def __init__(self, start: float, judges: bool) -> None:
        super().__init__()
        self.value, self.judges = nn.Parameter(torch.tensor(start)), judges

    def forward(self, x: Tensor) -> Tensor:
        return self.value * x[:, 0] if self.judges else self.value.expand(len(x), 1)


class Origin:
    shape, classes = (1,), 0

    def batch(self, step: int, n: int) -> tuple[Tensor, None]:
        return torch.zeros(n, 1), None


def dirac_rate(device: str) -> float:
    """The modulus of the largest eigenvalue of one turn at the equilibrium."""
    tiny, columns = 1e-3, list[list[float]]()
    for start in ((tiny, 0.0), (0.0, tiny)):
        G, D = Point(start[0], judges=False).to(device), Point(start[1], judges=True).to(device)
        rates = optimizers.sgd(0.2), optimizers.sgd(0.2)
        game = Game(
            *(G, D, objectives.nonsaturating(), [penalties.r1(0.3)]),
            latent=1,
            optimizers=rates,
            batch=1,
            simultaneous=True,
            ema=None,
        )
        for _ in game.play(Origin(), 1):
            pass
        columns.append([float(p.value.detach()) / tiny for p in (G, D)])
    return float(torch.linalg.eigvals(torch.tensor(columns).T).abs().max())


# the same game --------------------------------------------------------------------------------------------


def game(name: str, device: str, **options: Any) -> Recipe:
    return recipes.load(name, {"device": device, "precision": "fp32", "compile": False, **options})


def weights(of: Any) -> Tensor:
    players = (of.game.G.network, of.game.D.network) if isinstance(of, Run) else (of.G.network, of.D.network)
    return torch.cat([p.detach().double().cpu().flatten() for n in players for p in n.parameters()])


def on(device: Any, inputs: Any) -> Any:
    """The inputs of a turn on another device: generators of two devices draw different numbers."""
    if isinstance(inputs, Tensor):
        return inputs.to(device)
    if isinstance(inputs, Mapping):
        return {name: on(device, x) for name, x in inputs.items()}
    if is_dataclass(inputs) and not isinstance(inputs, type):
        return replace(inputs, **{f.name: on(device, getattr(inputs, f.name)) for f in fields(inputs)})
    if isinstance(inputs, tuple):
        parts = [on(device, x) for x in inputs]
        return type(inputs)(*parts) if hasattr(inputs, "_fields") else tuple(parts)
    return inputs


def same_game(name: str, device: str) -> float:
    """How far a game's weights are apart after `TURNS` turns on the processor and on the device."""
    here, source = recipes.build(game(name, "cpu"))
    there, _ = recipes.build(game(name, device), source)
    for _ in range(TURNS):
        inputs = here.inputs(source)
        here.advance(inputs)
        there.advance(on(there.device, inputs))
    return float((weights(there) - weights(here)).norm() / weights(here).norm())


def resumed(name: str, device: str, folder: Path) -> float:
    """The most by which a run's state changes when it is taken up elsewhere, which should be 0: it goes from
    the device to the processor and back."""
    left: dict[str, Any] = {}
    most = 0.0
    for place, steps in ((device, TURNS // 2), ("cpu", TURNS - TURNS // 4), (device, TURNS)):
        with Run.start(folder / "run", game(name, place, steps=steps, watch="none")) as run:
            if left:
                most = max([most, *(apart(left[path], x) for path, x in state_of(run).items())])
            for _ in run.play():
                pass
            left = state_of(run)
    return most


def state_of(run: Run) -> dict[str, Any]:
    return {path: deepcopy(x) for path, x in recipes.leaves(run.game.state_dict()) if isinstance(x, Tensor)}


def apart(a: Tensor, b: Tensor) -> float:
    return float((a.cpu().double() - b.cpu().double()).abs().max()) if a.numel() else 0.0


# speed ----------------------------------------------------------------------------------------------------


def speed(name: str, device: str, seconds: float) -> dict[str, Any]:
    found = bench.measure(game(name, device), seconds)
    rates = {
        str(s.setting): {"images a second": round(s.images_per_second), "share of peak": round(s.share, 3)}
        for s in found.speeds
    }
    return {"memory": found.device_memory or found.memory, "settings": rates}


def compiled(
    name: str, device: str, seconds: float, plain: Mapping[str, Any], captured: bool
) -> dict[str, Any]:
    """The same in bf16, compiled; what cannot be done is told as a line. plain: in bf16 uncompiled."""
    within: AbstractContextManager[Any] = nullcontext()
    if captured:
        import torch._inductor.config as inductor

        within = inductor.patch({"triton.cudagraphs": True})
    try:
        with within:
            played, source = recipes.build(game(name, device, precision="bf16", compile=True))
            begun = time.perf_counter()
            a_turn = autotune.warm(played, source)
            taken = time.perf_counter() - begun
            turns = autotune.turns_within(played, seconds / 3, a_turn)
            rate = turns * played.batch * played.k / autotune.seconds_of(played, source, turns)
    except Exception as error:
        return {"failed": " ".join(f"{type(error).__name__}: {error}".split())[:200]}
    share = round(plain["share of peak"] * rate / plain["images a second"], 3)
    return {"images a second": round(rate), "share of peak": share, "seconds to compile": round(taken, 1)}


def measure(args: Namespace) -> None:
    begun = time.perf_counter()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    place = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    device, games = str(place), dict[str, dict[str, Any]]()
    held = laws(device)
    print("laws", held, flush=True)
    wanted = [name for name in PRESETS if fnmatch(name, args.only)]
    for name in wanted:
        with TemporaryDirectory() as folder:
            games[name] = {"same": same_game(name, device), "resumed": resumed(name, device, Path(folder))}
        print(name, games[name], flush=True)
    for name in wanted:
        games[name] |= speed(name, device, args.seconds)
        print(name, games[name], flush=True)
    for name in wanted if args.compile else []:
        rates = games[name]["settings"]
        plain = max((r for s, r in rates.items() if s.startswith("bf16")), key=lambda r: r["images a second"])
        for captured in (False, True) if place.type == "cuda" else (False,):
            if time.perf_counter() - begun < 60 * args.minutes - COMPILING:
                how = "bf16, compiled" + ", captured" * captured
                rates[how] = compiled(name, device, args.seconds, plain, captured)
                print(name, how, rates[how], flush=True)
    name = torch.cuda.get_device_name() if place.type == "cuda" else device
    took = round(time.perf_counter() - begun)
    result = {
        **ledger.origin(),
        "device": name,
        "turns": TURNS,
        "seconds": took,
        "laws": held,
        "games": games,
    }
    if args.only == "*":
        ledger.write(RESULT, result)
    if lacking := [*missing(result)]:
        raise SystemExit("\n".join(lacking))


def options(parser: ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=10.0, help="of speed for each game (default: 10)")
    parser.add_argument("--minutes", type=float, default=8.0, help="of all (default: 8)")
    parser.add_argument("--compile", action=BooleanOptionalAction, default=True, help="(default: yes)")
    parser.add_argument("--only", default="*", help="some games, by name; then nothing is written")


def missing(result: dict[str, Any]) -> Iterator[str]:
    for law, error in result.get("laws", {}).items():
        if not error <= EXACT:
            yield f"the law of {law} is off by {error:.2g}, more than {EXACT:g}"
    for name, found in result["games"].items():
        if not found["same"] <= APART:
            yield f"{name}: apart by {found['same']:.2g} of the weights' norm, more than {APART:g}"
        if found["resumed"] != 0:
            yield f"{name}: a run that is taken up on another device differs by {found['resumed']:.2g}"


def lacks() -> list[str]:
    return [*missing(ledger.read(RESULT, {"games": {}}))]


BENCHMARK = ledger.Benchmark(__doc__, measure, options, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
