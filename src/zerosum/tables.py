"""Tables in Python: fit a generator to a data frame, and draw rows from it.

>>> from zerosum.tables import TableGAN  # doctest: +SKIP
>>> model = TableGAN().fit(frame)  # doctest: +SKIP
>>> model.sample(1000, where={"sex": "Female"})  # doctest: +SKIP
>>> model.save("model"), TableGAN.load("model")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from zerosum import recipe as recipes
from zerosum.data import codec as codecs
from zerosum.data.columns import Columns
from zerosum.data.frames import Like
from zerosum.data.sheet import Sheet
from zerosum.data.tables import Table, frame
from zerosum.data.where import Where, draw_where
from zerosum.game import Game
from zerosum.sampling.generator import settled
from zerosum.text import printable

__all__ = ["TableGAN"]

FORMAT = 1
ROWS = 8192  # are made at a time
_RECIPE, _MODEL = "recipe.yaml", "model.pt"


class TableGAN:
    """A generator of rows, of the recipe `table`.

    steps: turns of the game; the recipe's unless given. seed: of the weights, the noise and the order.
    fields: other fields of the recipe, with two underscores for a dot: ``batch=256, G__width=512``.

    The same data, seed and fields give the same model on the same machine, and a model that was saved, loaded
    and fitted on is the one that was never interrupted.
    """

    def __init__(self, steps: int | None = None, seed: int = 0, **fields: Any) -> None:
        chosen = {name.replace("__", "."): value for name, value in fields.items()} | {"seed": seed}
        self.recipe = recipes.load("table", chosen | ({} if steps is None else {"steps": steps}))
        self.game: Game | None = None
        self.codec: Columns | None = None
        self.fingerprint = ""
        self._like = Like()

    def fit(
        self,
        rows: Any,
        *,
        columns: Any = None,
        epochs: float | None = None,
        steps: int | None = None,
        progress: bool = True,
    ) -> TableGAN:
        """Learn the rows of a pandas or polars frame; a model that has learnt from them goes on.

        columns: those to learn, or what they are, ``{"zip": "category"}``. epochs, steps: turns in all, the
        recipe's unless given. progress: a bar on stderr.

        Raises ValueError for a frame that cannot be learnt, and for other rows than those that the model has
        learnt from.
        """
        source = frame(rows, "all", columns=columns, encoding="ranks", seed=self.recipe.seed)
        if epochs is not None:
            steps = max(1, round(epochs * len(source) / self.recipe.batch))
        if self.game is None:
            if steps is not None:
                self.recipe = recipes.changed(self.recipe, {"steps": steps})
            settled = {"precision": "fp32", "compile": False}
            self.game, _ = recipes.build(recipes.changed(self.recipe, settled), source)
            self.codec, self.fingerprint = source.codec, source.fingerprint
        elif source.fingerprint != self.fingerprint:
            raise ValueError("the model has learnt from other rows: fit a new one, TableGAN().fit(rows)")
        self._like = Like.of(rows) if hasattr(rows, "columns") else Like()
        self._play(source, (steps or self.recipe.turns) - self.game.step, progress)
        return self

    def _play(self, source: Table, turns: int, progress: bool) -> None:
        from rich.console import Console
        from rich.progress import Progress

        if turns <= 0 or self.game is None:
            return
        with Progress(console=Console(stderr=True), disable=not progress) as bar:
            task = bar.add_task("fitting", total=turns)
            for turn in self.game.play(source, turns):
                if turn.step % 50 == 0:
                    bar.update(task, completed=turns - (self.recipe.turns - turn.step))
            bar.update(task, completed=turns)

    def sample(self, n: int, *, where: Where | None = None, seed: int = 0) -> Any:
        """`n` rows, as a frame of the kind that was fitted, whose columns have the types that they had there.

        where: conditions on any columns that all rows meet: ``"sex=Female and age>60"``, or a mapping with
        values, lists of values and ranges: ``{"sex": "Female", "age": (60, None)}``.

        Raises ValueError for a model that has learnt nothing, and for conditions that no row meets.
        """
        return self._like.frame(self.sheet(n, where=where, seed=seed))

    def sheet(self, n: int, *, where: Where | None = None, seed: int = 0) -> Sheet:
        """The same as a `Sheet`, for which neither pandas nor polars is needed."""
        game, codec = self._fitted()
        network = settled(game, codec)

        @torch.no_grad()
        def draw(size: int, first: int) -> Sheet:
            parts: list[Sheet] = []
            for at in range(first, first + size, ROWS):
                z = codec.with_rare(game.noise(min(ROWS, first + size - at), seed, at), seed, at)
                parts.append(codec.decode(network(z), at))
            return Sheet.joined(parts) if parts else codec.decode(torch.zeros(0, *codec.shape))

        return draw(n, 0) if where is None else draw_where(draw, where, n, codec)

    def _fitted(self) -> tuple[Game, Columns]:
        if self.game is None or self.codec is None:
            raise ValueError("the model has learnt nothing yet: call fit(rows) first")
        return self.game, self.codec

    def save(self, path: str | Path) -> None:
        """Write the model to a folder: its recipe, the players, what the columns are; no code is pickled."""
        game, codec = self._fitted()
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        state = {"format": FORMAT, "game": game.state_dict(), "codec": codec.state_dict()}
        temporary = folder / f".{_MODEL}.writing"
        torch.save(state | {"fingerprint": self.fingerprint, "like": self._like.state_dict()}, temporary)
        (folder / _RECIPE).write_text(recipes.dump(self.recipe), encoding="utf-8")
        temporary.replace(folder / _MODEL)

    @classmethod
    def load(cls, path: str | Path) -> TableGAN:
        """The model in a folder. Raises ValueError, in one line, if there is none or it is damaged."""
        folder = Path(path)
        if not (folder / _MODEL).is_file() or not (folder / _RECIPE).is_file():
            raise ValueError(f"{printable(folder)}: there is no model: it holds no {_RECIPE} and {_MODEL}")
        try:
            state: Mapping[str, Any] = torch.load(folder / _MODEL, weights_only=True)
        except Exception as error:  # whatever torch raises at a damaged file
            raise ValueError(f"{printable(folder / _MODEL)}: it is damaged or no model") from error
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise ValueError(f"{printable(folder / _MODEL)}: not a model of format {FORMAT}")
        model = cls()
        model.recipe = recipes.load(str(folder / _RECIPE))
        codec = codecs.restore(state["codec"])
        if not isinstance(codec, Columns):
            raise ValueError(f"{printable(folder / _MODEL)}: it holds no columns")
        settled = recipes.changed(model.recipe, {"precision": "fp32", "compile": False})
        model.game = recipes.build_game(settled, codec.shape, codec=codec)
        model.game.load_state_dict(state["game"])
        model.codec, model.fingerprint = codec, state["fingerprint"]
        model._like = Like.restore(state.get("like", state))
        return model
