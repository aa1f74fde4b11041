"""Progress bars for people: shown on a terminal, silent in logs and pipes."""

import sys
from collections.abc import Iterable
from typing import Any


def bar(items: Iterable[Any] | None = None, description: str = "", total: int | None = None, unit: str = "it") -> Any:
    """Return a tqdm bar over `items` (or over `total` units) that stays quiet when stderr is no terminal."""
    from tqdm import tqdm

    return tqdm(items, desc=description, total=total, unit=unit, disable=not sys.stderr.isatty(), leave=False)
