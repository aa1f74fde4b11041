"""What happened in a training, one JSON object a line, in a file that can be read while it grows.

    {"event": "step", "step": 12, "loss": 1.83, "learning_rate": 9.1e-06, "supervised_tokens": 31, "gradient_norm": 4.2,
     "steps_per_second": 2.4, "time": 1764197534.21}
    {"event": "dev", "step": 20, "loss": 1.71, "time": ...}
    {"event": "during", "step": 20, "split": "test", "bucket": "D4", "right": 17, "n": 20, "time": ...}
    {"event": "stopped", "step": 20, "points_lost": 6.0, "facts": 50, "why": "training stops ...", "time": ...}

Lines stand in the order of their steps, and each step is there once, however often the run was killed and went on: what
a line says, but for TIMES, follows from the summary of the training (`of`).
"""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import IO, Any, Self

from sftlens import files

TIMES = ("steps_per_second", "time")
"""Keys that differ between two equal runs: speed since the line before, seconds since the epoch."""
_OF_STEP = {
    "loss": "losses",
    "learning_rate": "learning_rates",
    "supervised_tokens": "supervised_tokens",
    "gradient_norm": "gradient_norms",
}
"""Key of a step's line -> the list of a training's summary that holds it."""

Event = dict[str, Any]


def of(summary: Mapping[str, Any]) -> list[Event]:
    """Return the events, without TIMES, of a training's summary (finetune.json), or of what is known while it runs."""
    found = [of_step(summary, step) for step in range(1, len(summary["losses"]) + 1)]
    found += _looks(summary.get("dev_losses", ()), summary.get("during", ()), summary.get("stopped"))
    return sorted(found, key=lambda event: int(event["step"]))  # of one step in the order in which they stand here


def of_step(summary: Mapping[str, Any], step: int) -> Event:
    """Return the event of an optimiser step, from 1."""
    lists = ((key, summary[name]) for key, name in _OF_STEP.items())
    return {"event": "step", "step": step, **{key: values[step - 1] for key, values in lists if values}}


def of_looks(summary: Mapping[str, Any], step: int) -> list[Event]:
    """Return the events of the newest step besides its own."""
    rows: Sequence[Any] = summary.get("during", ())
    during = list(takewhile(lambda row: row["step"] == step, reversed(rows)))[::-1]
    dev, stopped = [look for look in summary.get("dev_losses", ())[-1:] if look[0] == step], summary.get("stopped")
    return _looks(dev, during, stopped)


def _looks(dev: Iterable[Sequence[Any]], during: Iterable[Event], stopped: Event | None) -> list[Event]:
    return [
        *({"event": "dev", "step": step, "loss": loss} for step, loss in dev),
        *({"event": "during", **row} for row in during),
        *([{"event": "stopped", **stopped}] if stopped else []),
    ]


def read(path: Path) -> list[Event]:
    """Return the events of a training's file, with TIMES; none where there is no file. Half a line is left out."""
    lines = _lines(path)
    return [json.loads(line) for line in lines if _said(line) is not None]


class Events:
    """The file of one training, written by one process; without a path nothing is written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self._last = time.time()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()

    def begin(self, events: Iterable[Event]) -> None:
        """Let the file hold these events and no others, before any is added.

        What a run wrote that went on from here stays, with its TIMES; what it did after the state that this one goes
        on from, and half a line that it wrote when it was killed, goes.
        """
        if self._path:
            lines = [_line(event) for event in events]
            there = _lines(self._path)
            for i, line in enumerate(there[: len(lines)]):
                said = _said(line)
                if said == json.loads(lines[i]):
                    lines[i] = line
            if lines != there or not there:
                files.write_text(self._path, "".join(lines))
        self._last = time.time()

    def add(self, event: Event) -> None:
        """Append an event, with TIMES; a reader sees whole lines."""
        now = time.time()
        speed = {"steps_per_second": round(1 / max(now - self._last, 1e-6), 3)} if event["event"] == "step" else {}
        self._last = now
        if self._path:
            with files.naming(self._path):
                if self._file is None:
                    self._file = self._path.open("a", encoding="utf-8", buffering=1)  # each line is written at once
                self._file.write(_line({**event, **speed, "time": round(now, 3)}))


def _line(event: Event) -> str:
    return json.dumps(event, ensure_ascii=False) + "\n"


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) if path.is_file() else []


def _said(line: str) -> Event | None:
    """Return a line's event without TIMES; None for what is none."""
    with suppress(ValueError):
        event = json.loads(line)
        if isinstance(event, dict) and line.endswith("\n"):
            return {key: value for key, value in event.items() if key not in TIMES}
    return None
