"""The documentation site: `make docs` builds docs/_build/html from these pages and from the docstrings."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import shutil
from pathlib import Path
from typing import Any

import zerosum

project = "zerosum"
author = "the authors of zerosum"
copyright = author
version = release = zerosum.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
default_role = "code"  # `name` in a docstring is code, as it is in Markdown
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
suppress_warnings = ["ref.python"]  # `D` is the name of more than one attribute

html_theme = "furo"
html_title = f"zerosum {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]

DOCS = Path(__file__).parent
PAGES = DOCS / "api"


def public_modules() -> list[str]:
    """Every module of zerosum that offers names."""
    found = [m.name for m in pkgutil.walk_packages(zerosum.__path__, "zerosum.") if "__main__" not in m.name]
    return [name for name in found if not name.split(".")[-1].startswith("_")]


def defined_in(name: str) -> list[str]:
    """The public names that a module defines itself, which its page documents."""
    module = importlib.import_module(name)
    body = ast.parse(inspect.getsource(module)).body
    statements = [statement for statement in body if isinstance(statement, ast.Assign | ast.AnnAssign)]
    nodes = [node for statement in statements for node in ast.walk(statement) if isinstance(node, ast.Name)]
    assigned = {node.id for node in nodes if isinstance(node.ctx, ast.Store)}

    def is_own(public: str) -> bool:
        thing = getattr(module, public)
        if inspect.isclass(thing) or inspect.isroutine(thing):
            return thing.__module__ == name
        return public in assigned

    return [public for public in module.__all__ if is_own(public)]


def write_reference(_: Any) -> None:
    """A page for each module with the names that it defines; its package's page lists the pages."""
    shutil.rmtree(PAGES, ignore_errors=True)
    PAGES.mkdir()
    names = ["zerosum", *public_modules()]
    for name in names:
        own = defined_in(name)
        below = [other for other in names if other.rpartition(".")[0] == name]
        lines = [f"`{name}`", "=" * (len(name) + 2), "", f".. automodule:: {name}"]
        if own:
            lines += [f"   :members: {', '.join(own)}", "   :undoc-members:", "   :show-inheritance:"]
        if below:
            lines += ["", ".. toctree::", "   :maxdepth: 1", "", *(f"   {other}" for other in below)]
        (PAGES / f"{name}.rst").write_text("\n".join(lines) + "\n")


def write_notebooks(_: Any) -> None:
    """A page for each percent script in examples/: its cells, and the pictures that they save."""
    folder = DOCS / "examples"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for script in sorted((DOCS.parent / "examples").glob("*.py")):
        cells = re.split(r"^# %%(.*)\n", script.read_text(), flags=re.MULTILINE)[1:]
        page: list[str] = []
        for kind, cell in zip(cells[::2], cells[1::2], strict=True):
            if "markdown" in kind:
                page.append(re.sub(r"^# ?", "", cell.strip(), flags=re.MULTILINE))
                continue
            page.append(f"```python\n{cell.strip()}\n```")
            pictures = [f"../images/examples/{name}" for name in re.findall(r'save\("(\w+\.png)"\)', cell)]
            page += [f"![what it draws]({p})" for p in pictures if (folder / p).exists()]
        if page:
            page.insert(1, f"The script: [examples/{script.name}](../../examples/{script.name}).")
            (folder / f"{script.stem}.md").write_text("\n\n".join(page) + "\n")


def escape_formulas(*args: Any) -> None:
    """|x| and x* are mathematics in our docstrings, where reStructuredText sees signs of its own."""
    _, what, name, *_, lines = args
    if what == "module" and name.startswith("zerosum.cli."):  # the help of a verb, as a terminal shows it
        lines[1:] = ["", "::", "", *(f"   {line}" for line in lines[1:])] if any(lines[1:]) else []
        return
    code = False
    for i, line in enumerate(lines):
        code = line.lstrip().startswith(">>>") or (code and bool(line.strip()))
        if not code:
            pieces = line.split("``")  # what stands between two of them is literal
            pieces[::2] = [re.sub(r"(?<![*\\])([|]|\*(?!\*))", r"\\\1", piece) for piece in pieces[::2]]
            lines[i] = re.sub(r"(?<!`)(`\w+`)(?=s\b)", r"\1\\ ", "``".join(pieces))


def setup(app: Any) -> None:
    app.connect("builder-inited", write_reference)
    app.connect("builder-inited", write_notebooks)
    app.connect("autodoc-process-docstring", escape_formulas)
