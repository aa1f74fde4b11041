"""The written rule that chooses probe templates for a model pretrained here, on calibration facts only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import yaml
from pydantic import Field
from typing_extensions import TypedDict

from sftlens import files
from sftlens.config.stages.mastery import TemplateChoice
from sftlens.mastery import mastery_table
from sftlens.mastery.completions import Probe
from sftlens.synthetic.corpus import seen_indices

Text = Annotated[str, Field(pattern=r"\S")]


class CalibrationFact(TypedDict):
    """A fact that templates are judged on."""

    relation: Text
    subject: Text
    object: Text


Calibration = Annotated[list[CalibrationFact], Field(min_length=1)]
"""The type of what calibration.json holds."""


@dataclass(frozen=True)
class Chosen:
    """One template of a relation after the choice."""

    template: str
    seen: bool
    """The corpus states facts with it."""
    rate: float
    """Mean R over the calibration facts of the relation."""
    passed: bool
    """Seen, or at least `threshold` times as good as the seen ones."""


def calibrate(probe: Probe, calibration: Sequence[CalibrationFact]) -> dict[str, list[float]]:
    """Return the mean R of every template of every relation over the relation's calibration facts."""
    facts = pd.DataFrame(list(calibration))
    facts["fact_id"] = [f"calibration/{r}/{s}" for r, s in zip(facts["relation"], facts["subject"], strict=True)]
    facts["aliases"] = [[name] for name in facts["object"]]
    settings = probe.settings.model_copy(update={"max_templates": None})
    table = mastery_table.probe(replace(probe, settings=settings), facts)
    groups = table.groupby("relation", sort=False)["template_hits"]
    return {
        str(relation): (pd.DataFrame(rows.tolist()).mean() / settings.samples).tolist() for relation, rows in groups
    }


def choose(
    sentences: Mapping[str, Sequence[str]],
    rates: Mapping[str, Sequence[float]],
    in_corpus: int,
    choice: TemplateChoice,
) -> dict[str, list[Chosen]]:
    """Return the chosen templates of each relation that has calibration facts.

    The first `choice.seen` templates that the corpus was written with; then, in file order, the first
    `choice.held_out` others whose mean R is at least `choice.threshold` of the seen templates' mean R. Where
    fewer pass, the best of the failing ones fill up, marked as not passed.
    """
    chosen = {}
    for relation, rate in rates.items():
        seen = seen_indices(len(sentences[relation]), in_corpus)
        bar = choice.threshold * sum(rate[i] for i in seen) / len(seen)
        held_out = [i for i in range(len(rate)) if i not in seen]
        passing = [i for i in held_out if rate[i] >= bar]
        failing = sorted((i for i in held_out if rate[i] < bar), key=lambda i: -rate[i])
        chosen[relation] = [
            Chosen(sentences[relation][i], i in seen, round(rate[i], 4), i in seen or rate[i] >= bar)
            for i in [*seen[: choice.seen], *(passing + failing)[: choice.held_out]]
        ]
    return chosen


def write(path: Path, chosen: Mapping[str, Sequence[Chosen]]) -> None:
    """Write the choice as a templates file; the rates stand beside the sentences."""
    values: dict[str, Any] = {
        relation: {"templates": [item.template for item in items]} for relation, items in chosen.items()
    }
    notes = [
        f"# {relation}: {'seen' if item.seen else 'held out'}, R {item.rate:.2f} on calibration facts"
        f"{'' if item.passed else ', BELOW the bar'}: {item.template}"
        for relation, items in chosen.items()
        for item in items
    ]
    text = yaml.safe_dump(values, allow_unicode=True, sort_keys=False, width=200)
    files.write_text(path, "\n".join(notes) + "\n" + text)
