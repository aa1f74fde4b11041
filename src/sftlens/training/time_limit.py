"""When a training run saves its state and when it stops to be continued: minutes, steps, time left, SIGTERM.

A scheduler that ends a job sends SIGTERM and kills it `notice` seconds later (Slurm's KillWait: 30). A small state is
saved in that time, and nothing is lost. A large one is not (35 GB at 0.5 GB/s take 70 seconds): what such a run loses
is the work since its last state, so it saves every SAVES times the seconds that a save takes, even where
checkpoint_minutes is longer. It then spends at most a tenth of its time on saving.
"""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

RESERVE_SECONDS = 60.0
"""What is left of a job's time when its training stops, apart from a step and a save."""

SAVES = 10
"""A state too large for the notice is saved again after so many times the seconds that a save takes."""


@dataclass
class Clock:
    """Says after each step whether to save and whether to stop."""

    minutes: float
    """Save when so many minutes have passed since the last time."""
    steps: int | None
    """Save when so many steps have been made since the last time."""
    deadline: float | None
    """When the job's time is over, seconds since the epoch; None: never."""
    notice: float = 30.0
    """Seconds between SIGTERM and the end of the process."""
    terminated: threading.Event = field(default_factory=threading.Event)
    """Set when the process is told to end."""
    _saved: float = field(default_factory=time.time)
    """When a state was saved the last time, or this process began, seconds since the epoch."""
    _saving_seconds: float = 0.0
    _guessed: bool = True
    """Whether these seconds are assumed and not yet measured."""
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
        # Twice what is needed: a step or a save may take longer than any before it.
        late = self.deadline is not None and self.deadline - now < RESERVE_SECONDS + 2 * self._needed()
        stop = late or self.terminated.is_set()
        interval = 60 * self.minutes
        if self._needed() > self.notice:
            interval = min(interval, SAVES * self._saving_seconds)
        return stop or now - self._saved >= interval or self._steps_since == self.steps, stop

    def saved(self, seconds: float, guessed: bool = False) -> None:
        """Take note that a state was saved in so many seconds, or (guessed) how long that will take."""
        self._saving_seconds = seconds if self._guessed else max(self._saving_seconds, seconds)
        self._guessed = guessed
        self._saved, self._steps_since, self._stepped = time.time(), 0, None

    def at_stake(self) -> str:
        """Return what a run that was told to end loses if it is killed while it saves; "" where the notice suffices."""
        needed = self._needed()
        if needed <= self.notice:
            return ""
        return (
            f"told to end: a step and a save take about {needed:.0f} seconds, and the notice is {self.notice:.0f} "
            f"seconds (finetuning.notice_seconds). If the process is killed before, {self._steps_since} steps "
            f"({time.time() - self._saved:.0f} seconds of work) are lost and made again"
        )

    def _needed(self) -> float:
        """Return the seconds that the longest step and the longest save take."""
        return self._longest_step + self._saving_seconds


@contextmanager
def termination_noted(clock: Clock) -> Iterator[None]:
    """Let SIGTERM tell the clock while the block runs, instead of ending the process."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may handle signals
        return
    before = signal.signal(signal.SIGTERM, lambda *_: clock.terminated.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
