"""How far a program is: a bar on a terminal, a line a minute in a log.

A line reads `fine-tune: 120/240 step, 1.9 step/s, 01:03 left, loss=1.03, lr=5e-05`; `sftlens status` shows the last one
of a running job's log.
"""

import re
import sys
from collections.abc import Iterable
from typing import Any

SECONDS = 60.0
"""Between two lines of a log."""
LINE = re.compile(r"(?P<what>[\w -]+): (?P<done>[\d,.kMG]+)(/(?P<total>[\d,.kMG]+))? [\w]+, .*")
"""Such a line."""
_FORMAT = "{desc}: {n_fmt}/{total_fmt} {unit}, {rate_fmt}, {remaining} left{postfix}"
_WITHOUT_TOTAL = "{desc}: {n_fmt} {unit}, {rate_fmt}, {elapsed} so far{postfix}"


class _Log:
    """What tqdm draws, as lines of stderr: it begins each with a carriage return and wipes it out at the end."""

    def write(self, text: str) -> None:
        if (line := text.strip()) and "?" not in line:  # no rate is known yet
            print(line, file=sys.stderr, flush=True)

    def flush(self) -> None:
        """Do nothing: each line was flushed."""


def bar(items: Iterable[Any] | None = None, description: str = "", total: int | None = None, unit: str = "it") -> Any:
    """Return a tqdm bar over `items` (or over `total` units); where stderr is no terminal it writes lines instead.

    A program that ends within a minute writes none. `tell` takes a number of finished units and values to show.
    """
    from tqdm import tqdm

    class Bar(tqdm):
        """A bar that also shows values, such as a loss."""

        def tell(self, finished: int, **values: float) -> None:
            """Count `finished` more units, and show `values` from now on."""
            if values:
                self.set_postfix({name: f"{value:.3g}" for name, value in values.items()}, refresh=False)
            self.update(finished)

        def reset(self, total: float | None = None) -> None:
            """Begin anew, with a total that is known now."""
            if how.get("bar_format") and total:
                self.bar_format = _FORMAT
            super().reset(total)

    of = total if total is not None or items is None else getattr(items, "__len__", lambda: None)()
    how: dict[str, Any] = {"desc": description, "total": total, "unit": unit, "leave": False}
    if not sys.stderr.isatty():
        how |= {"file": _Log(), "mininterval": SECONDS, "maxinterval": SECONDS, "delay": SECONDS, "miniters": 1}
        # A place of its own would move the cursor past other bars.
        how |= {
            "ascii": True,
            "position": 0,
            "ncols": 1000,
            "bar_format": _FORMAT if of is not None else _WITHOUT_TOTAL,
        }
    return Bar(items, **how)
