"""How fast, beside what? The same networks, batches and numbers of images on both sides, in turns.

    python benchmarks/speed.py [PART ...] [--jax PYTHON]     all parts, or some; ten minutes on two cores

    mlp      an epoch of the tutorial's MLP GAN on MNIST, from the command line to its end, start-up included
    dcgan    the tutorial's DCGAN at 32 pixels, images per second once it runs, and of the processor's peak
    toy      two-dimensional players, turns per second: tutorial, ours, many seeds at once, JAX by hand
    cost     seconds and memory of the networks of `mnist-dcgan` by number of images, pixels, batch
    start    help, import, and the first record of a run
    quality  what `mnist-dcgan` draws within a minute of the command, beside the tutorial's minutes

Every part writes its own key of benchmarks/results/speed.json. What is compared alternates, A B A B, and is
told as its median with the least and the most; the load of the machine is written down before and after.
JAX is no dependency: PYTHON is any interpreter that has it, and without one its rows are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import ledger
from mnist_quality import N, quality
from textbook import LATENT, Digits
from textbook_mlp import digits as digits_of_size
from textbook_mlp import turns
from textbook_networks import dcgan_discriminator, dcgan_generator
from zerosum import data, networks
from zerosum import recipe as recipes
from zerosum.data import Images
from zerosum.data.codec import Pixels
from zerosum.data.rows import FileRows
from zerosum.game import Ensemble, Game
from zerosum.objectives import nonsaturating
from zerosum.run import checkpoints, runtime
from zerosum.run.run import Run
from zerosum.sampling import Generator

RESULT = ledger.RESULTS / "speed.json"
HERE = Path(__file__).resolve().parent
ZEROSUM = [sys.executable, "-m", "zerosum"]
Result = dict[str, Any]
Known = argparse.Namespace


# how to measure -----------------------------------------------------------------------------------------


def spread(values: list[float]) -> Result:
    return {"median": median(values), "least": min(values), "most": max(values), "values": values}


def alternated(variants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Result]:
    """Each variant once, then each again, and so on: what slows the machine for a while slows them all."""
    found: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, measure in variants.items():
            found[name].append(round(measure(), 4))
            print(f"  {name}: {found[name][-1]:,}", flush=True)
    return {name: spread(values) for name, values in found.items()}


def rate(
    playing: Iterator[Any], seconds: float, clock: Callable[[], float] = time.perf_counter
) -> Callable[[], float]:
    """Turns per second of a window of an endless game; the first of them are not counted."""

    def window() -> float:
        next(playing)
        played, begun = 0, clock()
        while (spent := clock() - begun) < seconds:
            next(playing)
            played += 1
        return played / spent

    for _ in islice(playing, 3):
        pass
    return window


def environment(threads: int) -> dict[str, str]:
    """Of a command: so many threads, and the networks of this folder."""
    return {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(HERE)}


def seconds_of(command: list[str], known: Known) -> float:
    """Wall clock from the start of a command to its end."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, env=environment(known.threads), stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def ratio(of: Result, to: Result) -> float:
    return round(of["median"] / to["median"], 3)


# mlp ----------------------------------------------------------------------------------------------------


def mlp(known: Known) -> Result:
    """Seconds of an epoch, each side a command of its own."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "run"

        def ours(precision: str) -> float:
            shutil.rmtree(out, ignore_errors=True)
            options = ["--steps", str(known.turns), "--precision", precision, "--out", str(out), "--quiet"]
            return seconds_of([*ZEROSUM, "train", str(HERE / "textbook_mlp.yaml"), *options], known)

        def tutorial() -> float:
            options = ["--iterations", str(known.turns), "--out", f"{folder}/images"]
            return seconds_of([sys.executable, str(HERE / "textbook_mlp.py"), *options], known)

        variants = {"tutorial": tutorial, "fp32": lambda: ours("fp32"), "bf16": lambda: ours("bf16")}
        found = alternated(variants, known.rounds)
    times = {name: ratio(found["tutorial"], found[name]) for name in ("fp32", "bf16")}
    return {"turns": known.turns, "batch": 64, "seconds": found, "times_faster": times}


# dcgan --------------------------------------------------------------------------------------------------


def dcgan_game(shape: tuple[int, ...], precision: str) -> Game:
    """The tutorial's game of 64 images a batch, as it is fastest here."""
    G, D = dcgan_generator((LATENT,), shape), dcgan_discriminator(shape, ())
    for network in (G, D):
        network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return Game(G, D, nonsaturating(d_weight=0.5), latent=LATENT, batch=64, ema=None, precision=precision)


def dcgan(known: Known) -> Result:
    """Images per second in windows of one process, and the share of the bf16 peak."""
    torch.set_num_threads(known.threads)
    source = mnist_at(32)

    def tutorial() -> Iterator[Any]:
        G, D = dcgan_generator((LATENT,), source.shape), dcgan_discriminator(source.shape, ())
        return turns(G, nn.Sequential(D, nn.Sigmoid()), digits_of_size(32))

    games = {precision: dcgan_game(source.shape, precision) for precision in ("fp32", "bf16")}
    playing = {name: game.play(source, sys.maxsize) for name, game in games.items()}
    windows = {name: rate(p, known.seconds) for name, p in {"tutorial": tutorial(), **playing}.items()}
    images = {name: (lambda window=window: 64 * window()) for name, window in windows.items()}
    found = alternated(images, known.rounds)
    work = {"tutorial": operations(tutorial()), **{name: operations(p) for name, p in playing.items()}}
    peak = alternated({"fp32": matmul_peak(torch.float32), "bf16": matmul_peak(torch.bfloat16)}, known.rounds)
    reached = {name: found[name]["median"] / 64 * work[name] / 1e9 for name in found}
    return {
        "seconds": known.seconds,
        "batch": 64,
        "images_per_second": found,
        "times_faster": {name: ratio(found[name], found["tutorial"]) for name in games},
        "operations_per_turn": work,
        "gflops": {name: round(value, 1) for name, value in reached.items()},
        "matmul_gflops": peak,
        "share_of_peak": {
            name: round(value / peak["bf16" if name == "bf16" else "fp32"]["median"], 3)
            for name, value in reached.items()
        },
    }


def mnist_at(size: int) -> Images:
    """MNIST as bytes in memory, resized once, and as the tutorial does it."""
    pictures = Digits(size)
    pixels = torch.stack(
        [Pixels(tuple(pictures[i][0].shape)).view(pictures[i][0]) for i in range(len(pictures))]
    )
    return Images(pixels)


def operations(playing: Iterator[Any]) -> int:
    """Floating point operations of matrix products and convolutions in one turn, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        next(playing)
    return counter.get_total_flops()


def matmul_peak(dtype: torch.dtype, n: int = 2048) -> Callable[[], float]:
    """GFLOP/s of one large matrix product: the most that this machine gives to anybody."""
    a, b = torch.randn(n, n).to(dtype), torch.randn(n, n).to(dtype)
    window = rate((a @ b for _ in repeat(0)), 1.0)
    return lambda: window() * 2 * n**3 / 1e9


# toy ----------------------------------------------------------------------------------------------------

WIDTH, DEPTH, TOY_LATENT, SEEDS = 128, 3, 2, 16


def toy(known: Known) -> Result:
    """Turns per second on one core and on all; of many seeds at once, their sum."""
    if known.jax is None:
        print("  jax: left out, for want of --jax PYTHON")
    return {
        "width": WIDTH,
        "depth": DEPTH,
        "latent": TOY_LATENT,
        "seeds": SEEDS,
        "model": ledger.model(),
        "settings": [toy_at(cores, 256, known) for cores in dict.fromkeys((1, known.threads))],
    }


def toy_at(cores: int, batch: int, known: Known) -> Result:
    """By windows of half the usual length, in seconds of the processor on one core, of the clock on more."""
    torch.set_num_threads(cores)
    seconds, clock = known.seconds / 2, time.process_time if cores == 1 else time.perf_counter
    sides = {name: JaxSide(known.jax, seeds, cores, batch) for name, seeds in JAX.items() if known.jax}
    first: dict[str, float] = {name: round(side.first["first"], 1) for name, side in sides.items()}
    windows: dict[str, Callable[[], float]] = {}
    with TemporaryDirectory() as cache:  # nothing lies compiled
        os.environ |= {"TORCHINDUCTOR_CACHE_DIR": cache, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        for name, (playing, seeds) in TOYS.items():
            begun = sum(os.times()[:4])
            window = rate(playing(batch), seconds, clock)
            windows[name] = lambda window=window, seeds=seeds: seeds * window()
            print(f"  {name}: ready", flush=True)
            if "compiled" in name:
                first[name] = round(sum(os.times()[:4]) - begun, 1)
    windows |= {name: (lambda side=side: side.window(seconds)) for name, side in sides.items()}
    print(f"  {cores=} {batch=} {first}", flush=True)
    found = alternated(windows, known.rounds)
    for side in sides.values():
        side.process.communicate()
    return {
        "cores": cores,
        "batch": batch,
        "turns_per_second": found,
        "times_faster": {name: ratio(found[name], found["tutorial"]) for name in found},
        "times_jax": {name: ratio(found[name], found[jax_name(name)]) for name in (found if sides else ())},
        "first_seconds": first,
        "jax": [side.first["jax"] for side in sides.values()][:1],
    }


class JaxSide:
    """The other interpreter, which keeps to so many cores and has its game ready."""

    def __init__(self, python: str, seeds: int, cores: int, batch: int) -> None:
        options = map(str, ["--seeds", seeds, "--cores", cores, "--batch", batch])
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        command = [python, str(HERE / "toy_jax.py"), *options]
        self.process = subprocess.Popen(command, env=environment(cores), **pipes)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.first = json.loads(self.stdout.readline())

    def window(self, seconds: float) -> float:
        print(seconds, file=self.stdin, flush=True)
        return float(self.stdout.readline())


def jax_name(name: str) -> str:
    """The game of JAX that is beside this one."""
    return [*JAX][f"{SEEDS} seeds" in name]


def toy_player(inputs: int, outputs: tuple[int, ...]) -> nn.Module:
    return networks.mlp((inputs,), outputs, width=WIDTH, depth=DEPTH)


def toy_tutorial(batch: int) -> Iterator[Any]:
    """As a tutorial has it, with the points drawn afresh."""
    modes = data.ring().modes

    def batches() -> Iterator[tuple[Tensor, None]]:
        while True:
            yield modes[torch.randint(8, (batch,))] + 0.01 * torch.randn(batch, 2), None

    D = nn.Sequential(toy_player(2, ()), nn.Sigmoid())
    return turns(toy_player(TOY_LATENT, (2,)), D, batches(), TOY_LATENT)


def toy_game(batch: int, seed: int = 0, **how: Any) -> Game:
    """A game with the tutorial's settings."""
    G, D = toy_player(TOY_LATENT, (2,)), toy_player(2, ())
    objective = nonsaturating(d_weight=0.5)
    return Game(G, D, objective, latent=TOY_LATENT, batch=batch, ema=None, seed=seed, **how)


def toy_alone(batch: int, **how: Any) -> Iterator[Any]:
    return toy_game(batch, **how).play(data.ring(), sys.maxsize)


def toy_ensemble(batch: int, **how: Any) -> Iterator[Any]:
    games = [toy_game(batch, seed, **how) for seed in range(SEEDS)]
    return Ensemble(games).play([data.ring(seed=game.seed) for game in games], sys.maxsize)


TOYS: dict[str, tuple[Callable[[int], Iterator[Any]], int]] = {
    "tutorial": (toy_tutorial, 1),
    "zerosum": (toy_alone, 1),
    "zerosum, compiled": (partial(toy_alone, compile=True), 1),
    "zerosum, compiled, bf16": (partial(toy_alone, compile=True, precision="bf16"), 1),
    f"zerosum, {SEEDS} seeds at once": (toy_ensemble, SEEDS),
    f"zerosum, {SEEDS} seeds at once, compiled": (partial(toy_ensemble, compile=True), SEEDS),
    f"zerosum, {SEEDS} seeds at once, compiled, bf16": (
        partial(toy_ensemble, compile=True, precision="bf16"),
        SEEDS,
    ),
}
"""By name a game without end, and how many turns of one seed each of its steps is: a variant is a line."""
JAX = {"JAX": 1, f"JAX, {SEEDS} seeds at once": SEEDS}


# cost ---------------------------------------------------------------------------------------------------

COST = {"images": 60_000, "size": 32, "batch": 64}
AXES: dict[str, tuple[int, ...]] = {
    "images": (1_000, 60_000, 1_000_000),
    "size": (8, 16, 32, 64),
    "batch": (16, 32, 64, 128, 256, 512, 1024),
}


def cost(known: Known) -> Result:
    """One axis at a time, every point in a process of its own, for its memory."""
    points = {axis: [{**COST, axis: value} for value in values] for axis, values in AXES.items()}
    each = {json.dumps(point): point for mine in points.values() for point in mine}
    found = {name: in_process(point, known) for name, point in each.items()}
    rows = {axis: [found[json.dumps(point)] for point in mine] for axis, mine in points.items()}
    return {
        "rounds": 1,
        "recipe": "mnist-dcgan",
        "rows": rows,
        "exponents": {
            "seconds per image by pixels": exponent(
                rows["size"], lambda r: r["size"] ** 2, lambda r: 1 / r["images_per_second"]
            ),
            "seconds per turn by batch": exponent(
                rows["batch"], lambda r: r["batch"], lambda r: r["batch"] / r["images_per_second"]
            ),
            "seconds per image by images": exponent(
                rows["images"], lambda r: r["images"], lambda r: 1 / r["images_per_second"]
            ),
        },
    }


def exponent(rows: list[Result], x: Callable[[Result], float], y: Callable[[Result], float]) -> float:
    """a of y = c x^a, by least squares of the logarithms."""
    return round(float(np.polyfit(np.log([x(r) for r in rows]), np.log([y(r) for r in rows]), 1)[0]), 3)


def in_process(point: Mapping[str, int], known: Known) -> Result:
    options = ["--point", json.dumps(point), "--seconds", str(known.seconds), "--threads", str(known.threads)]
    command = [sys.executable, str(HERE / "speed.py"), *options]
    env = environment(known.threads)
    out = subprocess.run(command, check=True, env=env, stdout=subprocess.PIPE, text=True)
    row = json.loads(out.stdout.splitlines()[-1])
    print(f"  {row}", flush=True)
    return row


def at_point(point: Mapping[str, int], seconds: float) -> Result:
    """Images per second and memory of the preset's game, its data mapped from a file as a folder's are.

    peak_mib: the most that was resident, pages of the file among it, which the system takes back at need.
    own_mib: what is resident at the end without them.
    """
    images, size, batch = point["images"], point["size"], point["batch"]
    with TemporaryDirectory() as folder:
        source = mapped(Path(folder) / "pixels.bin", (images, 1, size, size))
        recipe = recipes.load("mnist-dcgan", {"batch": batch})
        game = recipes.build_game(recipe, source.shape)
        window = rate(game.play(source, sys.maxsize), seconds)
        turns_per_second = window()
    own = next(line for line in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in line)
    return {
        **point,
        "images_per_second": round(batch * turns_per_second, 1),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10),
        "own_mib": round(int(own.split()[1]) / 2**10),
    }


def mapped(path: Path, shape: tuple[int, ...]) -> Images:
    """Images of noise in a file, read as `zerosum.data.folder` reads its cache."""
    each = int(np.prod(shape[1:]))
    some = np.random.default_rng(0).integers(0, 256, (1000, each), dtype=np.uint8).tobytes()
    with path.open("wb") as file:
        for _ in range(shape[0] // 1000):
            file.write(some)
    return Images(FileRows(path, shape))


# start --------------------------------------------------------------------------------------------------


def start(known: Known) -> Result:
    """Seconds, five times each."""

    def command(*args: str) -> Callable[[], float]:
        return lambda: seconds_of([*args], known)

    alone, both = "`import torch`", "`import torch; import zerosum`"
    found = alternated(
        {
            "`zerosum --help`": command(*ZEROSUM, "--help"),
            alone: command(sys.executable, "-c", "import torch"),
            both: command(sys.executable, "-c", "import torch; import zerosum"),
            "`zerosum train digits`, first turn": lambda: first_record(known),
        },
        rounds=5,
    )
    adds = found[both]["median"] - found[alone]["median"]
    return {"rounds": 5, "seconds": found, "zerosum_adds": round(adds, 3)}


def first_record(known: Known) -> float:
    """From the command until the record of the first turn lies on the disk."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [*ZEROSUM, "train", "digits", "--log_every", "1", "--out", str(out), "--quiet"]
        begun = time.perf_counter()
        run = subprocess.Popen(command, env=environment(known.threads), stdout=subprocess.DEVNULL)
        records = out / "metrics.jsonl"
        while not (records.exists() and records.stat().st_size):
            if run.poll() is not None:
                raise RuntimeError(f"zerosum train ended with {run.returncode} before its first turn")
            time.sleep(0.005)
        spent = time.perf_counter() - begun
        run.kill()
        run.wait()
    return spent


# quality ------------------------------------------------------------------------------------------------


def quality_in_time(known: Known) -> Result:
    """The judge's reading of the checkpoints of a run that is stopped on time, start-up included."""
    with TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        kept = ["--checkpoint_every", "50", "--keep", "1000", "--out", str(out), "--quiet"]
        begun = time.time()
        run = subprocess.Popen([*ZEROSUM, "train", "mnist-dcgan", *kept], env=environment(known.threads))
        try:
            run.wait(known.stop_at)
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGINT)
            run.wait()
        ended = time.time() - begun
        written = {step: when(out, step) - begun for step in checkpoints.steps(out / "checkpoints") if step}
        in_time = [step for step, seconds in written.items() if seconds <= known.stop_at]
        torch.set_num_threads(known.threads)
        rows = [read(out, step, written[step]) for step in chosen(in_time, written, known.stop_at)]
    return {"rounds": 1, "recipe": "mnist-dcgan", "stopped_after": round(ended, 2), "rows": rows}


def when(out: Path, step: int) -> float:
    return (out / "checkpoints" / f"{step:06d}" / "state.pt").stat().st_mtime


def chosen(steps: list[int], written: Mapping[int, float], end: float, n: int = 6) -> list[int]:
    """The newest checkpoint at each n-th part of the time."""
    marks = [end * (i + 1) / n for i in range(n)]
    newest = [max((s for s in steps if written[s] <= mark), default=0) for mark in marks]
    return sorted({step for step in newest if step})


def read(out: Path, step: int, seconds: float) -> Result:
    run = Run.open(out, step)
    found = quality(Generator.of(run).sample(N, seed=1))
    row = {"seconds": round(seconds, 1), "turns": step, **found}
    print(f"  {row}", flush=True)
    return row


# ----------------------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[Known], Result]] = {
    "mlp": mlp,
    "dcgan": dcgan,
    "toy": toy,
    "cost": cost,
    "start": start,
    "quality": quality_in_time,
}


def measured(part: str, known: Known) -> Result:
    """A part's result with what it was measured on."""
    print(part, flush=True)
    runtime.keep_memory()
    load, begun = os.getloadavg(), time.perf_counter()
    result = PARTS[part](known)
    return {
        "rounds": known.rounds,
        **result,
        "took_seconds": round(time.perf_counter() - begun, 1),
        "machine": ledger.machine() | {"threads": known.threads},
        "load_before": [round(value, 2) for value in load],
        "load_after": [round(value, 2) for value in os.getloadavg()],
    }


def speed_table() -> str:
    """The tutorial's networks played by the tutorial and by us."""
    result = ledger.result("speed")
    mlp, dcgan = result["mlp"], result["dcgan"]
    sides = ("tutorial", "fp32", "bf16")
    rows = [
        "| | tutorial | `zerosum`, fp32 | `zerosum`, bf16 | times faster, fp32 | bf16 |",
        "|---|" + "---|" * 5,
    ]
    for name, part, unit, digits in (
        (f"MLP, {mlp['turns']:,} turns from the command line, seconds", mlp, "seconds", 1),
        ("DCGAN at 32 pixels, images a second", dcgan, "images_per_second", 0),
    ):
        cells = [over_rounds(part[unit][side], digits) for side in sides]
        times = [f"{part['times_faster'][side]:.2f}" for side in sides[1:]]
        rows.append(f"| {name} | {' | '.join([*cells, *times])} |")
    peak, work = dcgan["matmul_gflops"], dcgan["operations_per_turn"]
    return "\n".join(
        [
            *rows,
            "",
            f"Matrix products of this machine reach {peak['fp32']['median']:,.0f} GFLOP/s in fp32 and "
            f"{peak['bf16']['median']:,.0f} in bf16.\nThe tutorial's DCGAN runs at "
            f"{dcgan['gflops']['tutorial']:,.0f}, ours at {dcgan['gflops']['fp32']:,.0f} and "
            f"{dcgan['gflops']['bf16']:,.0f}, which are {dcgan['share_of_peak']['fp32']:.0%} and "
            f"{dcgan['share_of_peak']['bf16']:.0%} of that. A turn\nof ours has "
            f"{work['bf16'] / work['tutorial']:.2f} times the operations: the tutorial's G steps on the "
            "fakes that D is shown next, where\nAlgorithm 1 draws others.",
            "",
            measured_on(result, "mlp", "dcgan"),
        ]
    )


def toy_table() -> str:
    """Turns per second of small players on a ring."""
    result = ledger.result("speed")
    toy = result["toy"]
    rows = [
        "| | "
        + " | ".join(f"batch {s['batch']}, {counted(s['cores'], 'core')}" for s in toy["settings"])
        + " |",
        "|---|" + "---|" * len(toy["settings"]),
    ]
    for name in toy["settings"][0]["turns_per_second"]:
        cells = [
            f"{over_rounds(s['turns_per_second'][name], 0)}: × {s['times_faster'][name]:.2f}, "
            f"{s['times_jax'][name]:.2f}"
            for s in toy["settings"]
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    first = toy["settings"][0]["first_seconds"]
    told = ", ".join(f"{name} {seconds:.0f}" for name, seconds in first.items())
    versions = {f"JAX {version}" for s in toy["settings"] for version in s["jax"]}
    return "\n".join(
        [
            *rows,
            "",
            f"Before the first turns, with nothing compiled before, processor seconds: {told}.",
            f"{toy['model']}, {', '.join(versions)}. {measured_on(result, 'toy')}",
        ]
    )


def cost_table() -> str:
    """What a turn costs by number of images, by size, by batch."""
    result = ledger.result("speed")
    part = result["cost"]
    rows = [
        "| images | pixels | batch | images a second | peak MiB | of it our own |",
        "|---|" + "---|" * 5,
    ]
    seen = [row for axis in part["rows"].values() for row in axis]
    for i, row in enumerate(seen):
        if row not in seen[:i]:
            cells = [
                f"{row['images']:,}",
                f"{row['size']}²",
                row["batch"],
                f"{row['images_per_second']:,.0f}",
            ]
            rows.append(f"| {' | '.join(map(str, [*cells, row['peak_mib'], row['own_mib']]))} |")
    powers = ", ".join(f"{name}: {power:.2f}" for name, power in part["exponents"].items())
    return "\n".join([*rows, "", f"Fitted exponents: {powers}.\n{measured_on(result, 'cost')}"])


def start_table() -> str:
    """What there is to wait for before a run begins."""
    result = ledger.result("speed")
    part = result["start"]
    rows = ["| | seconds |", "|---|---|"]
    rows += [f"| {name} | {over_rounds(found, 2)} |" for name, found in part["seconds"].items()]
    adds = f"`import zerosum` adds {part['zerosum_adds']:.2f} s to `import torch`. "
    return "\n".join([*rows, "", adds + measured_on(result, "start")])


def minute_table() -> str:
    """What a minute from the command draws, beside the tutorial's minutes."""
    result = ledger.result("speed")
    ours, textbook = result["quality"], ledger.result("textbook")
    best = min(textbook["minutes"], key=lambda row: row["frechet_distance"][0])
    rows = ["| | seconds | turns | Frechet distance | class KL, nats | confidence |", "|---|" + "---|" * 5]

    def row(name: str, turns: int, found: dict[str, Any]) -> str:
        value, low, high = found["frechet_distance"]
        shown = f"{value:.2f} [{low:.2f}, {high:.2f}] | {found['class_kl']:.4f} | {found['confidence']:.3f}"
        return f"| {name} | {found['seconds']:.0f} | {turns:,} | {shown} |"

    rows += [row(f"`zerosum train {ours['recipe']}`", found["turns"], found) for found in ours["rows"]]
    theirs = {found["seconds"]: found for found in (textbook["minutes"][0], best, textbook["minutes"][-1])}
    rows += [row("textbook DCGAN", found["iterations"], found) for found in theirs.values()]
    reached = [r for r in ours["rows"] if r["frechet_distance"][0] <= best["frechet_distance"][0]]
    told = (
        f"What the tutorial's best minute of {len(textbook['minutes'])} draws after {best['seconds']:.0f} "
        f"seconds, ours does by {reached[0]['seconds']:.0f}.\n"
        if reached
        else ""
    )
    load = " to ".join(f"{textbook[name][0]:.1f}" for name in ("load_before", "load_after"))
    told += f"The tutorial's minutes were measured at a load of {load}, and from its first step on.\n"
    return "\n".join([*rows, "", told + measured_on(result, "quality")])


def counted(n: int, what: str) -> str:
    return f"{n} {what}" + ("s" if n != 1 else "")


def over_rounds(found: dict[str, Any], digits: int) -> str:
    """Median [least, most]."""
    middle, low, high = (f"{found[name]:,.{digits}f}" for name in ("median", "least", "most"))
    return f"{middle} [{low}, {high}]"


def measured_on(result: dict[str, Any], *parts: str) -> str:
    """The machine of these parts of `speed`, how often each was measured, and what else ran."""
    about: dict[str, None] = {}  # in order, each once
    for part in parts:
        machine, rounds = result[part]["machine"], result[part]["rounds"]
        cores, threads = counted(machine["cores"], "core"), counted(machine["threads"], "thread")
        times = counted(rounds, "round")
        about[f"{cores}, {threads} at most, torch {machine['torch']}, {times}"] = None
    loads = [load for p in parts for load in (result[p]["load_before"][0], result[p]["load_after"][0])]
    return f"{'; '.join(about)}; load average {min(loads):.1f} to {max(loads):.1f}."


def aims() -> str:
    """What speed was aimed at, and what was reached."""
    result, textbook = ledger.result("speed"), ledger.result("textbook")["minutes"]
    toy = result["toy"]["settings"][-1]["turns_per_second"]
    rate = {name: found["median"] for name, found in toy.items()}
    seeds = result["toy"]["seeds"]
    alone, compiled = rate["zerosum"], rate["zerosum, compiled"]
    short, many = (rate[f"zerosum, {which}compiled, bf16"] for which in ("", f"{seeds} seeds at once, "))
    peak, mlp = result["dcgan"]["share_of_peak"]["bf16"], max(result["mlp"]["times_faster"].values())
    best = min(row["frechet_distance"][0] for row in textbook)
    soon = next(row for row in result["quality"]["rows"] if row["frechet_distance"][0] <= best)
    power = result["cost"]["exponents"]
    start = result["start"]["seconds"]
    first = next(found for name, found in start.items() if "first turn" in name)["median"]
    help = next(found for name, found in start.items() if "--help" in name)["median"]
    rows = [
        ("the tutorial's MLP, an epoch with start-up", "4 x", f"{mlp:.1f} x"),
        ("the tutorial's DCGAN, per image", "4 x", f"{result['dcgan']['times_faster']['bf16']:.1f} x"),
        ("the same, of the matrix products' bf16 peak", "50 %", f"{peak:.0%}"),
        (
            "points: as fast as JAX by hand",
            "1.0 x",
            f"{compiled / rate['JAX']:.2f} x compiled, {short / rate['JAX']:.2f} x in bf16",
        ),
        (
            f"{seeds} seeds of points, beside JAX",
            "3.0 x",
            f"{many / rate[f'JAX, {seeds} seeds at once']:.2f} x compiled in bf16",
        ),
        (
            f"{seeds} seeds in the time of one",
            "4 x",
            f"{seeds * alone / many:.1f} x the engine as it comes, {seeds * compiled / many:.1f} x compiled",
        ),
        (
            "the tutorial's best quality of ten minutes",
            "in 60 s",
            f"in {soon['seconds']:.0f} s (Frechet distance {soon['frechet_distance'][0]:.1f}, "
            f"there {best:.1f})",
        ),
        (
            "cost grows linearly: exponents",
            "1",
            ", ".join(f"{name} {value:.2f}" for name, value in power.items()),
        ),
        ("`zerosum --help`", "0.5 s", f"{help:.2f} s"),
        ("first turn of `digits` from the command", "3 s", f"{first:.1f} s"),
    ]
    return "\n".join(["| aim | | reached |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)])


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=3, help="windows of each variant")
    parser.add_argument("--seconds", type=float, default=4, help="of a window")
    parser.add_argument("--turns", type=int, default=938, help="of the epoch of mlp")
    parser.add_argument("--stop-at", type=float, default=60, help="seconds, of quality")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--jax", help="an interpreter that has jax")
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)


def measure(args: argparse.Namespace) -> None:
    if args.point:
        torch.set_num_threads(args.threads)
        print(json.dumps(at_point(args.point, args.seconds)))
        raise SystemExit
    if unknown := set(args.parts) - set(PARTS):
        raise SystemExit(f"there is no part {min(unknown)!r}: there are {', '.join(PARTS)}")
    for part in args.parts or PARTS:
        result = {**ledger.read(RESULT, {}), part: measured(part, args)}
        ledger.write(RESULT, {name: result[name] for name in PARTS if name in result})


BENCHMARK = ledger.Benchmark(
    __doc__,
    measure,
    options,
    {
        "speed": speed_table,
        "speed_toy": toy_table,
        "cost": cost_table,
        "start": start_table,
        "minute": minute_table,
        "aims": aims,
    },
)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
