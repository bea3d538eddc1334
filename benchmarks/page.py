"""Pictures of every page, light and dark, as docs/page.md shows them: python benchmarks/page.py

Plays `ring` on two seeds (some minutes), makes their report and the theory page, watches them, plays a game
in the page, and photographs all of it with Chromium by Playwright. Says how long a run of 100,000 records
takes to open, and how many frames a second a page draws. Not part of `make test`.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import uvicorn
from PIL import Image

from zerosum import claims
from zerosum import recipe as recipes
from zerosum.page import live, report, steering, theory, watched
from zerosum.run.run import Run

OUT = Path(__file__).parents[1] / "docs/images/page"
SCHEMES = ("light", "dark")


def played(path: Path, seed: int, steps: int) -> Path:
    with Run.start(path, recipes.load("ring", {"seed": seed, "steps": steps})) as run:
        for _ in run.play():
            pass
    return path


def serve(hub: live.Hub) -> str:
    """The address of a server in a thread of its own, which ends with the process."""
    listener = live.listen()
    port = listener.getsockname()[1]
    config = uvicorn.Config(live.application(hub, "pictures", port), log_level="warning")
    threading.Thread(target=uvicorn.Server(config).run, args=([listener],), daemon=True).start()
    return f"http://127.0.0.1:{port}/pictures/"


def photograph(browser: Any, url: str, name: str, prepare: Any = None, height: int = 1400) -> None:
    for scheme in SCHEMES:
        page = browser.new_page(viewport={"width": 1200, "height": height}, color_scheme=scheme)
        page.goto(url)
        page.wait_for_timeout(2500)
        if prepare:
            prepare(page)
        file = OUT / f"{name}-{scheme}.png"
        page.screenshot(path=file)
        small = Image.open(file).convert("P", palette=Image.Palette.ADAPTIVE, colors=128)
        small.save(file, optimize=True)
        page.close()


def play_a_while(page: Any) -> None:
    page.click("[data-do=play]")
    page.wait_for_timeout(20_000)
    page.click("[data-do=pause]")
    page.check("[data-layer=sheet]")
    page.wait_for_timeout(500)


def measure(browser: Any, folder: Path, url: str) -> None:
    long = played(folder / "long", 0, 1)
    record = (long / "metrics.jsonl").read_text().splitlines()[-1].replace('"step": 1', '"step": %d', 1)
    (long / "metrics.jsonl").write_text(
        "".join(record.replace("%d", str(i)) + "\n" for i in range(1, 100_001))
    )
    begun = time.monotonic()
    page = browser.new_page()
    page.goto(serve(live.Hub([long])))
    page.wait_for_selector("#charts canvas")
    print(f"100,000 records: the first chart after {time.monotonic() - begun:.1f} s")
    page.goto(url)
    page.wait_for_timeout(1000)
    page.click("[data-do=play]")
    page.evaluate("drawn = 0; const plain = paint; paint = () => { drawn++; plain(); }")
    page.wait_for_timeout(5000)
    print(f"a game in the page: {page.evaluate('drawn') / 5:.0f} frames a second")
    page.click("[data-do=pause]")
    page.close()


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=3000, help="turns of each run (default: 3000)")
    steps = parser.parse_args().steps
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        here = Path(folder)
        for seed in (0, 1):
            played(here / f"seeds/seed{seed}", seed, steps)
        (here / "theory.html").write_text(theory.page(list(claims.rows(0)), 0))
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        one = report.write(here / "seeds/seed0")
        photograph(browser, one.as_uri(), "report", height=1700)
        photograph(browser, (here / "theory.html").as_uri(), "theory")
        photograph(browser, serve(live.Hub(watched.runs(here / "seeds"))), "seeds", height=1700)
        game = serve(live.Hub([], steering.Game(here / "played", "ring")))
        photograph(browser, game, "play", play_a_while, height=1000)
        measure(browser, here, game)
        browser.close()


if __name__ == "__main__":
    main()
