"""What the tests of the pages share: pages taken apart, small runs, a tab with all that it said."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from zerosum import recipe as recipes
from zerosum.run.run import Run

TINY = {
    "watch": "none",
    "steps": 6, "log_every": 1, "sample_every": 2, "checkpoint_every": 3, "batch": 8, "latent": 4,
    "G.width": 16, "D.width": 16,
}  # fmt: skip
VOID = {"meta", "img", "input", "br", "link", "col"}


class Parsed(HTMLParser):
    """The elements, attributes and text of a page; `faults` are elements that were not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.faults: list[str] = []
        self.feed(page)
        self.close()
        self.faults += self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.open += [] if tag in VOID else [tag]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, **wanted: str) -> list[dict[str, Any]]:
        """The attributes of the elements of a tag that have these words in theirs."""
        pairs = wanted.items()
        return [
            a for t, a in self.elements if t == tag and all(v in (a.get(k) or "").split() for k, v in pairs)
        ]

    def curves(self) -> list[list[tuple[float, float]]]:
        """The points of every curve, in the order of the page."""
        return [json.loads(a["data-points"]) for a in self.all("li") if "data-points" in a]


def checked(page: str) -> Parsed:
    """A page that is whole, refers to nothing outside of itself and runs one script only."""
    parsed = Parsed(page)
    assert parsed.faults == []
    for tag, attributes in parsed.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "srcset", "action", "data", "xlink:href"):
                assert (value or "").startswith(("data:", "#")), (tag, name, value)
    assert len(parsed.all("script")) == len(parsed.all("style")) == 1
    return parsed


def trained(path: Path, name: str, **overrides: Any) -> Path:
    """A small run in `path`, played to its end."""
    with Run.start(path, recipes.load(name, {**TINY, **overrides})) as run:
        for _ in run.play():
            pass
    return path


def add(path: Path, *lines: dict[str, Any] | bytes) -> None:
    """Add lines to a file of JSON lines."""
    with path.open("ab") as file:
        file.writelines(
            line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in lines
        )


def deep(levels: int, inside: str = '{"a": %s}') -> str:
    """JSON that is nested."""
    text = "1"
    for _ in range(levels):
        text = inside % text
    return text


def evaluation(step: int, metric: str, value: float, **more: Any) -> dict[str, Any]:
    """A line of evaluation.jsonl."""
    return {
        "time": 1.8e9 + step, "step": step, "metric": metric, "value": value,
        "low": value - 0.25, "high": value + 0.5,
        "n": 5000, "space": "pixels", "interval": "jackknife", "floor": None, "p_value": None,
        "higher_is_better": False, "split": "test", "data": "digits", "seed": 0, **more,
    }  # fmt: skip


class Tab:
    """A page in a browser, with all that it said and asked for."""

    def __init__(self, browser: Any, url: str, width: int = 1000, scheme: str = "light") -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.page.set_default_timeout(120_000)
        self.page.on("console", lambda m: self.said.append(m.text))
        self.page.on("pageerror", lambda e: self.said.append(str(e)))
        self.page.on("request", lambda r: self.asked.append(r.url))
        self.page.goto(url)

    def outside(self, *allowed: str) -> list[str]:
        """What it asked for beside these beginnings and data in the page itself."""
        return [url for url in self.asked if not url.startswith(("data:", "blob:", *allowed))]
