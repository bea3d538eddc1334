"""How a test says that something is refused: by the kind of error and by what it names, not by its prose."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def refused(*names: object, by: type[BaseException] = ValueError) -> Iterator[None]:
    """The block raises `by`, in one line that names each of `names`: an argument, a value, a file."""
    with pytest.raises(by) as error:
        yield
    message = str(error.value)
    assert message and "\n" not in message
    for name in names:
        assert re.search(rf"(?<!\w){re.escape(str(name))}(?!\w)", message), (
            f"{name} is not named in: {message}"
        )
