"""What benchmarks commit: results as JSON, the machine they are from, and the parts of the docs that show it.

Each script ends in a `Benchmark`, which is its command line:

    python benchmarks/NAME.py            measure, write the result, then the docs
    python benchmarks/NAME.py --docs     measure nothing: the script's parts of the docs from its result
    python benchmarks/NAME.py --check    measure nothing: exit with 1 where the result misses what is asked of
                                         it, or the docs do not show it (a test runs this)
    python benchmarks/ledger.py [--check]       the docs of all scripts

A part is the text between ``<!-- NAME -->`` and ``<!-- /NAME -->`` on any page.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import platform
import re
import subprocess
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import FunctionType
from typing import Any

import torch

from zerosum import __version__
from zerosum.run import files

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "processor": platform.machine(),
        "torch": torch.__version__,
        "zerosum": __version__,
        "bf16": torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    }


def model() -> str:
    """What the processor calls itself, where the system tells."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text().splitlines() if about.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def origin() -> dict[str, Any]:
    """The command, the commit and the machine that a result is from; of a place on that machine only its
    name.
    """
    script, *options = sys.argv
    words = [Path(word).name if Path(word).is_absolute() else word for word in options]
    command = " ".join(["python", os.path.relpath(script, ROOT), *words])
    return {"command": command, "commit": commit(), "machine": machine()}


def commit(root: Path = ROOT) -> str | None:
    """What is checked out, and a + where code or settings differ from it; None where git does not know."""
    code = ["src", *(f":(glob)benchmarks/**/*.{kind}" for kind in ("py", "yaml"))]
    asked = ["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--", *code]
    try:
        head, changed = [
            subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True).stdout
            for words in asked
        ]
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.strip() + "+" * bool(changed)


def digest(*of: object) -> str:
    """A hash of what a result depends on: the source of functions and classes, what a partial is made of, and
    the `repr` of all else.
    """
    parts = [part for one in of for part in _parts(one)]
    texts = [inspect.getsource(one) if isinstance(one, FunctionType | type) else repr(one) for one in parts]
    return sha256("\n".join(texts).encode()).hexdigest()


def _parts(one: object) -> tuple[object, ...]:
    return (one.func, *one.args, one.keywords) if isinstance(one, partial) else (one,)


def standing(rows: Mapping[str, Any], digest: Callable[[str], str]) -> dict[str, Any]:
    """Those results, by name, that are of what they depend on as it is now."""
    return {name: row for name, row in rows.items() if row.get("digest") == digest(name)}


def lapsed(rows: Mapping[str, Any], digest: Callable[[str], str]) -> list[str]:
    """A sentence for each of the others."""
    stand = standing(rows, digest)
    return [
        f"{name}: of another state of its script, or of its settings" for name in rows if name not in stand
    ]


def judged(runs: Path, metrics: Sequence[str], n: int = 5000) -> list[Any]:
    """What each run of a directory of seeds is worth: a row for each seed and metric, of n samples."""
    from zerosum import evaluation

    judge = evaluation.judge_for(runs)
    return [
        row
        for subject in evaluation.subjects(runs, judge.real, n)
        for row in evaluation.evaluate(judge, subject.samples, list(metrics), **subject.about)
    ]


def read(path: Path, otherwise: dict[str, Any] | None = None) -> Any:
    """The result as it stands, and `otherwise` before there is one. Raises FileNotFoundError without it."""
    return json.loads(path.read_text()) if otherwise is None or path.exists() else otherwise


def result(name: str) -> Any:
    """The committed result of this name."""
    return read(RESULTS / f"{name}.json")


def write(path: Path, result: Any, indent: int | None = 1) -> None:
    """Whole or not at all."""
    files.write(path, (json.dumps(result, indent=indent) + "\n").encode())


# a script ---------------------------------------------------------------------------------------------------

Part = Callable[[], str]


@dataclass(frozen=True)
class Benchmark:
    """A script's command line.

    about: its docstring. measure: measures what the options say and writes the result; a script without has
    docs only. options: adds the script's own to the parser. parts: what each part of the docs shows of the
    committed results. finish: what follows from a result without measuring, such as a picture. lacks: what
    the committed result misses of what is asked, a sentence each.
    """

    about: str | None
    measure: Callable[[Namespace], object] | None = None
    options: Callable[[ArgumentParser], object] = lambda parser: None
    parts: Mapping[str, Part] = field(default_factory=dict)
    finish: Callable[[], object] = lambda: None
    lacks: Callable[[], list[str]] = list

    def main(self) -> int:
        parser = ArgumentParser(description=self.about, formatter_class=RawDescriptionHelpFormatter)
        parser.add_argument("--docs", action="store_true", help="measure nothing: the docs anew")
        parser.add_argument("--check", action="store_true", help="measure nothing: judge what is committed")
        self.options(parser)
        args = parser.parse_args()
        if args.check:
            return self.check()
        if self.measure is not None and not args.docs:
            self.measure(args)
        self.finish()
        update(self.parts)
        return _reported(self.lacks())

    def check(self) -> int:
        """Exit code: 0 if the result is what is asked and the docs show it."""
        stale = [f"{page.name}: {name} is not what is committed" for page, name in stale_parts(self.parts)]
        return _reported([*self.lacks(), *stale])


def _reported(lacks: Sequence[str]) -> int:
    print("\n".join(lacks) or "passed")
    return int(bool(lacks))


# the docs ---------------------------------------------------------------------------------------------------


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def stale_parts(parts: Mapping[str, Part]) -> Iterator[tuple[Path, str]]:
    """The parts of pages that are not what the committed results make of them."""
    for page in pages():
        text = page.read_text()
        for name, part in parts.items():
            if name in _parts_of(text) and _with_part(text, name, part()) != text:
                yield page, name


def update(parts: Mapping[str, Part]) -> None:
    for page in {page for page, _ in stale_parts(parts)}:
        text = page.read_text()
        for name in _parts_of(text) & parts.keys():
            text = _with_part(text, name, parts[name]())
        page.write_text(text)
        print(f"rewritten: {page.relative_to(ROOT)}")


def _parts_of(text: str) -> set[str]:
    return set(re.findall(r"<!-- (\w+) -->", text))


def _with_part(text: str, name: str, content: str) -> str:
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text)


def table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    head = [*head]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def cell(content: object) -> str:
    """Text whose bars do not end a cell."""
    return str(content).replace("|", "\\|")


def plus_minus(pair: Sequence[float | None], digits: int = 3) -> str:
    """Mean ± standard error, which one seed has not."""
    mean, error = pair
    return f"{mean:,.{digits}f}" + ("" if error is None else f" ± {error:,.{digits}f}")


def benchmarks() -> dict[str, Benchmark]:
    """All scripts that have one, by their path."""
    found: dict[str, Benchmark] = {}
    for folder in (ROOT / "benchmarks", ROOT / "benchmarks" / "reproduce"):
        sys.path.insert(0, str(folder))
    for path in sorted((ROOT / "benchmarks").rglob("*.py")):
        if "\nBENCHMARK = " in path.read_text():
            spec = importlib.util.spec_from_file_location(f"benchmark_{path.parent.name}_{path.stem}", path)
            if spec is None or spec.loader is None:
                raise ImportError(f"{path} cannot be imported")
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
            found[str(path.relative_to(ROOT / "benchmarks"))] = module.BENCHMARK
    return found


def main() -> int:
    wrong = 0
    for path, benchmark in benchmarks().items():
        print(f"{path}: ", end="")
        wrong |= benchmark.check() if "--check" in sys.argv else (update(benchmark.parts) or _reported([]))
    return wrong


if __name__ == "__main__":
    raise SystemExit(main())
