"""What the page costs, and its pictures, light and dark, as docs/page.md shows them.

    python benchmarks/page.py               measure, take the pictures (some minutes), and write the docs
    python benchmarks/page.py --only opening frames training pictures

Servers are processes of `zerosum watch`; the browser is Debian's Chromium, without a graphics card, by
Playwright. On a machine that others use, wall time says how busy it is: so processor time is measured beside
it, of the server and of all that the browser starts. Training is timed in pairs, with the page open and
closed, in turns, each kind first as often.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean, stdev
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from scipy.stats import t as student

from ledger import RESULTS, ROOT, Benchmark, origin, read, result, table, write
from zerosum import claims
from zerosum import recipe as recipes
from zerosum.page import live, recorded, report, steering, theory, watched
from zerosum.run.run import Run

OUT = ROOT / "docs/images/page"
RECORDS = 100_000
PARTS = ("opening", "frames", "training", "pictures")
TRAINING_LIMIT, OPENING_LIMIT, FIRST_LIMIT, RATE = 0.03, 2.0, 3.0, 20


# processes --------------------------------------------------------------------------------------------------


def processor_time(root: int) -> float:
    """Seconds of a process and of all below it that are alive."""
    parents, seconds = dict[int, int](), dict[int, float]()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        number = int(process.name)
        parents[number] = int(fields[1])
        seconds[number] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def below(process: int) -> bool:
        while process in parents:
            if process == root:
                return True
            process = parents[process]
        return False

    return sum(spent for process, spent in seconds.items() if below(process))


@contextmanager
def watching(*words: str) -> Iterator[tuple[str, int]]:
    """`zerosum watch` in a process: its address and its number."""
    command = [sys.executable, "-m", "zerosum", "watch", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[1], process.pid
        finally:
            process.terminate()


class Clock:
    """Seconds since it was made: wall, of a server, and of the browser."""

    def __init__(self, server: int) -> None:
        self.server, self.begun = server, self._now(server)

    def _now(self, server: int) -> list[float]:
        own = time.process_time()
        mine = processor_time(os.getpid()) - processor_time(server) - own
        return [time.monotonic(), processor_time(server), mine]

    def read(self) -> dict[str, float]:
        spent = [b - a for a, b in zip(self.begun, self._now(self.server), strict=True)]
        names = ("wall_seconds", "server_seconds", "browser_seconds")
        return {name: round(x, 2) for name, x in zip(names, spent, strict=True)}


def played(path: Path, name: str, **fields: Any) -> Path:
    with Run.start(path, recipes.load(name, fields)) as run:
        for _ in run.play():
            pass
    return path


# what it costs ----------------------------------------------------------------------------------------------


def opening(browser: Any, folder: Path) -> dict[str, Any]:
    """A finished run of many records, until its charts stand; and a game, from the command to its picture."""
    run = played(folder / "long", "ring", steps=1)
    record = (run / "metrics.jsonl").read_text().splitlines()[-1].replace('"step": 1', '"step": %d', 1)
    lines = (record.replace("%d", str(i)) + "\n" for i in range(1, RECORDS + 1))
    (run / "metrics.jsonl").write_text("".join(lines))
    page = browser.new_page()
    with watching(str(run)) as (address, server):
        clock = Clock(server)
        page.goto(address)
        page.locator("#charts canvas").first.wait_for()
        long = {"megabytes": (run / "metrics.jsonl").stat().st_size >> 20, **clock.read()}
    begun = time.monotonic()
    with watching("--play", "ring", "--out", str(folder / "first")) as (address, server):
        answered = time.monotonic() - begun
        page.goto(address)
        page.locator("#plane-caption", has_text="Green").wait_for()
        first = {
            "command_wall_seconds": round(answered, 2),
            "wall_seconds": round(time.monotonic() - begun, 2),
            "server_seconds": round(processor_time(server), 2),
        }
    page.close()
    return {"records": RECORDS, "long": long, "first": first}


def frames(browser: Any, folder: Path, seconds: float = 10) -> dict[str, Any]:
    """A game of points and one of images while they play: frames that are painted, and what they take."""
    rows = dict[str, Any]()
    for name in ("ring", "digits"):
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        with watching("--play", name, "--out", str(folder / f"frames-{name}")) as (address, server):
            page.goto(address)
            page.locator("#mode", has_text="paused").wait_for()
            page.evaluate("drawn = 0; const plain = paint; paint = () => { drawn++; plain(); }")
            page.click("[data-do=play]")
            page.locator("#mode", has_text="playing").wait_for()
            before, turns, clock = page.evaluate("drawn"), _turn(page), Clock(server)
            page.wait_for_timeout(1000 * seconds)
            spent, painted = clock.read(), page.evaluate("drawn") - before
            rows[name] = {"frames": painted, "turns": _turn(page) - turns, **spent}
            page.click("[data-do=pause]")
            page.close()
    return rows


def _turn(page: Any) -> int:
    return int(page.locator("#turn").text_content().replace(",", ""))


def training(browser: Any, folder: Path, rounds: int = 24) -> dict[str, Any]:
    """Turns of a run while a page shows its charts, and while none does. What it takes to open the page, and
    to close it, is not in it."""
    rows = dict[str, Any]()
    for name, turns in (("digits", 300), ("ring", 600)):
        page, pairs = browser.new_page(), list[dict[str, list[float]]]()
        rarely = dict.fromkeys(("steps", "sample_every", "checkpoint_every"), 10**6)
        recipe = recipes.load(name, {**rarely, "log_every": 50})
        with (
            Run.start(folder / f"trained-{name}", recipe) as run,
            watching(str(run.path)) as (address, server),
        ):
            records, spent = run.play(), list[dict[str, float]]()
            for _ in range(10):  # the first turns are slower
                next(records)
            for i in range(rounds):
                pair = dict[str, list[float]]()
                for kind in ("open", "closed")[:: 1 if i % 2 else -1]:
                    page.goto(address if kind == "open" else "about:blank")
                    if kind == "open":
                        page.locator("#charts canvas").first.wait_for()
                        page.locator("#charts").evaluate("charts => charts.scrollIntoView()")
                    page.wait_for_timeout(700)
                    clock, processor, until = Clock(server), time.process_time(), run.game.step + turns
                    while run.game.step < until:
                        next(records)
                    processor = time.process_time() - processor
                    cost = clock.read()
                    pair[kind] = [processor, cost["wall_seconds"]]
                    spent += [cost] if kind == "open" else []
                pairs.append(pair)
        page.close()
        ratios = [[math.log(pair["open"][i] / pair["closed"][i]) for pair in pairs] for i in (0, 1)]
        rows[name] = {
            "pairs": rounds,
            "turns": turns,
            "processor": _gain(ratios[0]),
            "wall": _gain(ratios[1]),
            **{name: _part(spent, name) for name in ("server", "browser")},
        }
    return rows


def _part(spent: list[dict[str, float]], name: str) -> float:
    """The part of a core that the server or the browser takes."""
    return round(sum(one[f"{name}_seconds"] for one in spent) / sum(one["wall_seconds"] for one in spent), 4)


def _gain(logs: list[float]) -> list[float]:
    """By what share more time is taken, with its 95 % interval."""
    half = float(student.ppf(0.975, len(logs) - 1)) * stdev(logs) / math.sqrt(len(logs))
    return [round(math.exp(x) - 1, 4) for x in (fmean(logs), fmean(logs) - half, fmean(logs) + half)]


# pictures ---------------------------------------------------------------------------------------------------


def serve(hub: live.Hub) -> str:
    """The address of a server in a thread of its own, which ends with the process."""
    import uvicorn

    listener = live.listen()
    port = listener.getsockname()[1]
    config = uvicorn.Config(live.application(hub, "pictures", port), log_level="warning")
    threading.Thread(target=uvicorn.Server(config).run, args=([listener],), daemon=True).start()
    return f"http://127.0.0.1:{port}/pictures/"


def photograph(browser: Any, url: str, name: str, prepare: Any = None, height: int = 1400) -> None:
    for scheme in ("light", "dark"):
        page = browser.new_page(viewport={"width": 1200, "height": height}, color_scheme=scheme)
        page.set_default_timeout(600_000)
        page.goto(url)
        if prepare:
            prepare(page)
        page.evaluate("Promise.all([...document.images].map(image => image.decode().catch(() => 0)))")
        page.wait_for_timeout(500)
        file = OUT / f"{name}-{scheme}.png"
        page.screenshot(path=file)
        small = Image.open(file).convert("RGB").quantize(256, kmeans=2)
        small.save(file, optimize=True)
        page.close()


def _charts(page: Any) -> None:
    page.locator("#charts canvas").first.wait_for()


def _runs_shown(page: Any) -> None:
    _charts(page)
    page.locator("#plane-panel").wait_for()


def _arrived(page: Any) -> None:
    page.locator("#mode", has_text="paused").wait_for()
    page.locator("#charts canvas").first.wait_for()
    page.locator("#plane-caption:not(:empty)").wait_for()


def _report_and_seeds(browser: Any, folder: Path) -> None:
    for seed in range(4):
        played(folder / f"seeds/seed{seed}", "ring", seed=seed, steps=1200)
    photograph(browser, report.write(folder / "seeds/seed0").as_uri(), "report", height=1700)
    photograph(browser, serve(live.Hub(watched.runs(folder / "seeds"))), "seeds", _runs_shown, height=1700)


def _theory(browser: Any, folder: Path) -> None:
    (folder / "theory.html").write_text(theory.page(list(claims.rows(0)), 0))
    photograph(browser, (folder / "theory.html").as_uri(), "theory")


def _tour(browser: Any, folder: Path) -> None:
    recorded.write_tour(folder / "tour")
    for name in ("collapse", "value", "orbit"):
        photograph(browser, (folder / f"tour/{name}.html").as_uri(), f"tour-{name}", _tried, 1250)


def _games(browser: Any, folder: Path) -> None:
    for name, step in (("ring", 800), ("digits", 800)):
        game = serve(live.Hub([], steering.Game(folder / "played", f"#recipe={name}&step={step}")))
        photograph(browser, game, f"play-{name}", _arrived, height=1100)


VIEWS = {"report": _report_and_seeds, "theory": _theory, "tour": _tour, "games": _games}


def pictures(browser: Any, folder: Path) -> None:
    """Every view."""
    OUT.mkdir(parents=True, exist_ok=True)
    for view in VIEWS.values():
        view(browser, folder)


def _tried(page: Any) -> None:
    page.locator("[data-film]").nth(1).click()
    page.locator("[data-film='1'][aria-pressed=true]").wait_for()
    _charts(page)


# the result -------------------------------------------------------------------------------------------------


def measure(args: argparse.Namespace) -> None:
    from playwright.sync_api import sync_playwright

    path = RESULTS / "page.json"
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for name in args.only:
            begun = os.getloadavg()[0]
            part = (VIEWS.get(name) or globals()[name])(browser, Path(folder))
            if part is not None:
                load = [round(begun, 1), round(os.getloadavg()[0], 1)]
                write(path, {**read(path, {}), **origin(), name: {**part, "load": load}})
                print(name, part, load, flush=True)
        browser.close()


def costs() -> str:
    """The table of docs/page.md."""
    found = result("page")
    long, first = found["opening"]["long"], found["opening"]["first"]
    rows = [
        (
            f"open a finished run of {found['opening']['records']:,} records ({long['megabytes']} MB)",
            f"{long['server_seconds']:.1f} s of the server, {long['browser_seconds']:.1f} s of the browser",
            f"{long['wall_seconds']:.1f} s",
            _load(found["opening"]),
        ),
        (
            "`watch --play ring`, from the command to the first picture",
            f"{first['server_seconds']:.1f} s of the server",
            f"{first['wall_seconds']:.1f} s",
            _load(found["opening"]),
        ),
    ]
    for name in ("ring", "digits"):
        row = found["frames"][name]
        mine = 1000 * row["browser_seconds"] / row["frames"]
        all_of_it = 1000 * row["server_seconds"] / row["frames"]
        rows.append(
            (
                f"a frame of `{name}` while it plays",
                f"{mine:.0f} ms of the browser; {all_of_it:.0f} ms of the server, "
                f"{row['turns'] / row['frames']:.1f} turns among them",
                f"{row['frames'] / row['wall_seconds']:.0f} frames a second",
                _load(found["frames"]),
            )
        )
    for name in ("digits", "ring"):
        row = found["training"][name]
        rows.append(
            (
                f"training `{name}` beside an open page, {row['pairs']} pairs of {row['turns']} turns",
                f"{_share(row['processor'])} of a turn; the server {row['server']:.1%} of a core, "
                f"the browser {row['browser']:.1%}",
                f"{_share(row['wall'])}",
                _load(found["training"]),
            )
        )
    return table(("what", "processor time", "wall time", "load of the 2 cores"), rows)


def _load(part: dict[str, Any]) -> str:
    return f"{min(part['load']):g} to {max(part['load']):g}"


def _share(gain: list[float]) -> str:
    middle, low, high = (f"{100 * x:+.1f} %" for x in gain)
    return f"{middle} ({low} to {high})".replace("-", "−")


def lacks() -> list[str]:
    """What is asked, of processor time where other work may run beside: on an idle machine it is the wall
    time of one core. Training is measured where others stand aside."""
    found, missed = result("page"), list[str]()
    long, first = found["opening"]["long"], found["opening"]["first"]
    if long["server_seconds"] + long["browser_seconds"] > OPENING_LIMIT:
        missed.append(f"{RECORDS:,} records take more than {OPENING_LIMIT:g} s of a processor to open")
    if first["server_seconds"] > FIRST_LIMIT:
        missed.append(f"the first picture takes more than {FIRST_LIMIT:g} s of a processor")
    for name in ("ring", "digits"):
        if found["frames"][name]["browser_seconds"] / found["frames"][name]["frames"] > 1 / RATE:
            missed.append(f"{name}: the browser cannot paint {RATE} frames a second")
        if found["training"][name]["wall"][0] > TRAINING_LIMIT:
            missed.append(
                f"{name}: training loses more than {TRAINING_LIMIT:.0%} of its time to an open page"
            )
    return missed


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", default=PARTS, choices=[*PARTS, *VIEWS], help="(default: all)")


BENCHMARK = Benchmark(__doc__, measure, options, {"page": costs}, lacks=lacks)

if __name__ == "__main__":
    raise SystemExit(BENCHMARK.main())
