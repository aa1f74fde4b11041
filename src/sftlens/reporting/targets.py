"""The named figures and tables of a study, each registered by the theme that draws it.

A file in `reporting/themes/` holds what belongs together: it builds the numbers, draws them, and says what they are.
Snakemake's targets, the command line, the page and the lists in the documentation follow from what is registered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sftlens.registry import Registry

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MASTERY, ANSWERS = "mastery of each model", "answers"
"""What can be behind a target besides an experiment: every mastery table, or every answer to a test question."""


@dataclass(frozen=True)
class Target:
    """One figure or table."""

    name: str
    place: float
    """Where it stands on the page: targets are in the order of this number, whatever their theme."""
    behind: str
    """The experiment of a study whose products it is made from; or MASTERY, or ANSWERS."""
    title: str
    caption: str
    build: Callable[[Any], pd.DataFrame]
    """The tidy table (behind ANSWERS: the answers) -> a wide frame, see `numbers`."""
    draw: Callable[[pd.DataFrame, str], Figure] | None = None
    """That frame and a notice -> the figure; None for a table."""
    folded: bool = False
    """Whether the page shows its rows only when they are unfolded."""
    pretrained_only: bool = False
    """Whether it needs models that were pretrained here."""

    @property
    def kind(self) -> Literal["figure", "table"]:
        """Which of the two it is."""
        return "figure" if self.draw else "table"

    def numbers(self, source: Any) -> pd.DataFrame:
        """Return the target as a wide frame with one header row and no index of its own.

        Args:
            source: the tidy table of a study, one row per number, which may be incomplete; behind ANSWERS the
                `results.answers.Answers` of a study.

        Returns:
            Text columns that name a row, then numbers: accuracies and shares in percent, KL in nats; after a column
            `X` its `X SD` (over seeds, n - 1 in the denominator) or `X gain` (points). NaN where nothing was measured;
            no rows where the study has nothing for this target yet.
        """
        if self.behind == ANSWERS:
            return self.build(source)
        # Rows of single relations are for readers of the tidy table; these targets show full fine-tuning.
        rows = source[(source["relation"] == "") & source["strategy"].isin(["", "base", "fewshot", "full"])]
        return self.build(rows.dropna(subset=["value"]))

    def figure(self, numbers: pd.DataFrame, notice: str = "") -> Figure:
        """Return the figure of `numbers`; a missing cell is a gap in its line, and without any it says so.

        `notice` is a sentence printed under the panels.
        """
        from sftlens.reporting import style

        assert self.draw
        with style.applied():
            return self.draw(numbers, notice)

    def words(self, numbers: pd.DataFrame, notice: str = "") -> str:
        """Return what stands beside the files of a target: title, caption, what the spread is, and the notice."""
        from sftlens.reporting.frames import seeds_note

        parts = (self.title, " ".join(filter(None, (self.caption, seeds_note(numbers)))), notice)
        return "\n\n".join(filter(None, parts)) + "\n"


TARGETS: Registry[Target] = Registry("target", "sftlens.reporting.themes", key=lambda target: target.place)


def of_kind(kind: str) -> list[str]:
    """Return the names of the figures, or of the tables, in the order of the page."""
    return [target.name for target in TARGETS if target.kind == kind]
