"""Facts that the base model knows, or what it said about them, are mixed into the training set."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from sftlens.errors import TrainingError
from sftlens.settings import Settings
from sftlens.strategies import STRATEGIES, Strategy

if TYPE_CHECKING:
    import pandas as pd


class ReplaySettings(Settings):
    """Settings of replay: how many known facts are mixed in."""

    share: float = Field(0.2, ge=0, lt=1)
    """Share of all rows that are replayed ones; there are as many steps more."""
    bucket: Literal["D0", "D1", "D2", "D3", "D4"] = "D4"
    """Bucket of the facts that are replayed."""


class Replay(Strategy):
    """All parameters are trained on the training set and known train facts, in one random order."""

    name = "replay"
    description = "All parameters, on the training set with facts mixed in that the base model knows"
    reference = "Robins, Connection Science 7 (1995); arXiv 2604.15574"
    settings_class = ReplaySettings
    inputs: ClassVar[tuple[str, ...]] = ("known",)

    @classmethod
    def rows_per_row(cls, settings: ReplaySettings) -> float:
        """Return n and n share / (1 - share) for each n."""
        return 1 / (1 - settings.share)

    def rows(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows, then round(n share / (1 - share)) other train facts, relations in turns, by the run's seed.

        Raises TrainingError where there are too few.
        """
        import pandas as pd

        from sftlens.data import tables, training_sets

        count = round(len(table) * self.settings.share / (1 - self.settings.share))
        if not count:
            return table
        known = tables.facts(self.given["known"], ["split", "relation", "bucket"], ["subject"])
        wanted = (known["split"] == "train") & (known["bucket"] == self.settings.bucket)
        known = self.candidates(known[wanted & ~known["question"].isin(table["question"])])
        if len(known) < count:
            raise TrainingError(
                f"{self.given['known']}: strategy {self.name} needs {count} train facts of bucket "
                f"{self.settings.bucket} besides the training set, and there are {len(known)}; lower "
                f"strategies.{self.name}.share, or replay another bucket"
            )
        replayed = training_sets.order(known, self.settings.bucket, self.seed, self.name).head(count)
        columns = [name for name in ("question", "object", "relation", "bucket") if name in table]
        columns += [name for name in ("continued",) if name in replayed]
        rows = pd.concat([table, replayed[columns]], ignore_index=True)
        return rows.assign(continued=rows["continued"].eq(True)) if "continued" in rows else rows

    def candidates(self, known: pd.DataFrame) -> pd.DataFrame:
        """Return the facts that can be replayed, in the form in which they are."""
        return known


STRATEGIES.add(Replay)


class ReplayGenerated(Replay):
    """Replays sentences of the probe: a completion template and its most frequent completion with the answer in it.

    Their tokens behind the template are trained on, up to where the answer appeared; no EOS follows.
    """

    name = "replay-generated"
    description = "All parameters, on the training set with right completions of the base model's own mixed in"
    reference = "Huang et al., Self-Synthesized Rehearsal, ACL 2024, arXiv 2403.01244"
    inputs = ("known", "texts", "templates")

    def candidates(self, known: pd.DataFrame) -> pd.DataFrame:
        """Return the facts that have such a completion: `question` the sentence's beginning, `object` its rest."""
        from sftlens import files
        from sftlens.data import recipes, relations

        sentences = relations.load_templates(self.given["templates"])
        relations.require_templates(sentences, known["relation"], self.given["templates"])
        drawn = files.read_parquet(self.given["texts"], ["fact_id", "template", "text", "count"])
        best = recipes.own_answers(known, drawn)
        places = zip(best["relation"], best["template"], best["subject"], strict=True)
        begun = [relations.fill(sentences[relation][number], subject) for relation, number, subject in places]
        return best.assign(question=begun, object=best["text"], continued=True)


STRATEGIES.add(ReplayGenerated)
