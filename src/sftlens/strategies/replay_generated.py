"""What the base model itself said about facts that it knows is mixed into the training set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sftlens.strategies import STRATEGIES
from sftlens.strategies.replay import Replay

if TYPE_CHECKING:
    import pandas as pd


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
        from sftlens.data import templates
        from sftlens.data.recipes import filling

        sentences = templates.load(self.given["templates"])
        templates.require(sentences, known["relation"], self.given["templates"])
        drawn = files.read_parquet(self.given["texts"], ["fact_id", "template", "text", "count"])
        best = filling.own_answers(known, drawn)
        places = zip(best["relation"], best["template"], best["subject"], strict=True)
        begun = [templates.fill(sentences[relation][number], subject) for relation, number, subject in places]
        return best.assign(question=begun, object=best["text"], continued=True)


STRATEGIES.add(ReplayGenerated)
