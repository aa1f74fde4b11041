"""When a training run saves its state and when it stops to be continued: minutes, steps, time left, SIGTERM."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

RESERVE_SECONDS = 60.0
"""What is left of a job's time when its training stops, besides what a step and saving take."""


@dataclass
class Clock:
    """Says after each step whether to save and whether to stop."""

    minutes: float
    """Save when so many minutes have passed since the last time."""
    steps: int | None
    """Save when so many steps have been made since the last time."""
    deadline: float | None
    """When the job's time is over, seconds since the epoch; None: never."""
    terminated: threading.Event = field(default_factory=threading.Event)
    """Set when somebody asks the process to end."""
    _saved: float = field(default_factory=time.time)
    _saving_seconds: float = 0.0
    _steps_since: int = 0
    _stepped: float | None = None
    _longest_step: float = 0.0

    def step(self) -> tuple[bool, bool]:
        """Take note that a step is made; return whether (to save, to stop) after it."""
        now = time.time()
        if self._stepped is not None:
            self._longest_step = max(self._longest_step, now - self._stepped)
        self._stepped = now
        self._steps_since += 1
        stop = self.terminated.is_set() or self._too_late(now)
        due = now - self._saved >= 60 * self.minutes or self._steps_since == self.steps
        return stop or due, stop

    def saved(self, seconds: float) -> None:
        """Take note that a state was saved, or how long that will take: so many seconds."""
        self._saving_seconds = max(self._saving_seconds, seconds)
        self._saved, self._steps_since, self._stepped = time.time(), 0, None

    def _too_late(self, now: float) -> bool:
        # Twice: a step or a save may take longer than any before it.
        needed = RESERVE_SECONDS + 2 * (self._longest_step + self._saving_seconds)
        return self.deadline is not None and self.deadline - now < needed


@contextmanager
def heeding_termination(clock: Clock) -> Iterator[None]:
    """Let SIGTERM tell the clock while the block runs, instead of ending the process."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    before = signal.signal(signal.SIGTERM, lambda *_: clock.terminated.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
