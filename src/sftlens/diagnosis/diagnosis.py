"""A fine-tuned model against its base: knowledge by mastery, answers, format, tasks, KL, flips, and the verdict.

Knowledge is judged by mastery, as a model may know a fact and no longer say it in answer to a question, and the other
way round: format and knowledge can be lost separately. Answers are judged where mastery was not measured, or where the
base's mastery is less than half the share of facts that it answers: then it is the prompts of mastery that it does not
understand. Nothing of the fine-tuned model enters that choice.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from sftlens.data.buckets import BUCKETS
from sftlens.diagnosis import effects
from sftlens.diagnosis.effects import Effect, Verdict
from sftlens.statistics import flips, intervals

JUDGEMENT = "first_line"
"""The judgement of an answer that counts."""
SIDES = ("before", "after")


@dataclass(frozen=True)
class Asked:
    """What one model answered."""

    answers: pd.DataFrame
    """Greedy answers to the facts: fact_id, output, JUDGEMENT (bool), well_formed (bool)."""
    mastery: pd.DataFrame | None = None
    """fact_id and mastery (0 to 1) of all or some of the facts; None: not measured."""
    tasks: pd.DataFrame | None = None
    """Outputs on the examples of tasks: task_id, output, score (0 to 1); None: no tasks."""


@dataclass(frozen=True)
class Diagnosis:
    """Everything that two models' answers say about what the second one lost and gained."""

    facts: pd.DataFrame
    """One row a fact, in their order: fact_id, question, aliases, relation, bucket ("" where mastery was not measured),
    and before_ and after_ output, right, well_formed, mastery (NaN where not measured); kl (nats, NaN likewise)."""
    knowledge: Effect | None
    """Mastery; None: not measured."""
    answered: Effect
    well_formed: Effect
    by_bucket: Mapping[str, Effect]
    """Facts answered, by the base's mastery bucket."""
    tasks: Mapping[str, Effect]
    """Score of each task."""
    kl: tuple[float, float | None, float | None] | None
    """Mean KL(fine-tuned || base) of the first answer token with its interval, nats."""
    kl_floor: float | None
    """Mean KL of the fine-tuned model against itself, asked again."""
    unstable: tuple[int, int] | None
    """How many of the fine-tuned model's answers were another text when it was asked again, and how many of these were
    judged otherwise; None: it was not asked again."""
    verdict: Verdict
    """On knowledge."""
    task_verdicts: Mapping[str, Verdict]

    @property
    def judged(self) -> Effect:
        """The effect that the verdict is about."""
        return _judged(self.knowledge, self.answered)

    @property
    def outcome(self) -> str:
        """The outcome of knowledge and all tasks together."""
        return effects.together([self.verdict, *self.task_verdicts.values()])

    @property
    def lost(self) -> pd.DataFrame:
        """Facts answered rightly before and wrongly after, those that the base masters best first."""
        return self._flipped(gained=False)

    @property
    def gained(self) -> pd.DataFrame:
        """Facts answered wrongly before and rightly after, those that the second model masters best first."""
        return self._flipped(gained=True)

    def _flipped(self, *, gained: bool) -> pd.DataFrame:
        part = self.facts[flips.flipped(self.facts["before_right"], self.facts["after_right"])[gained]]
        return part.sort_values(
            "after_mastery" if gained else "before_mastery", ascending=False, kind="stable", na_position="last"
        )

    def metrics(self) -> dict[str, Any]:
        """Return all numbers and verdicts as a JSON value; what cannot be estimated is None."""
        kl = None if self.kl is None else dict(zip(("value", "low", "high"), self.kl, strict=True))
        made = {
            "verdict": {**asdict(self.verdict), "on": "mastery" if self.judged is self.knowledge else "facts answered"},
            "knowledge": _json(self.knowledge),
            "answered": _json(self.answered),
            "well_formed": _json(self.well_formed),
            "by_bucket": {name: _json(effect) for name, effect in self.by_bucket.items()},
            "tasks": {
                name: {**(_json(effect) or {}), **asdict(self.task_verdicts[name])}
                for name, effect in self.tasks.items()
            },
            "kl": kl and {**kl, "floor": self.kl_floor},
            "right_to_wrong": len(self.lost),
            "wrong_to_right": len(self.gained),
        }
        if self.unstable:
            made["unstable_answers"] = dict(zip(("texts", "judgements"), self.unstable, strict=True))
        return made


def diagnose(
    facts: pd.DataFrame,
    before: Asked,
    after: Asked,
    *,
    tolerance: float,
    again: Asked | None = None,
    tasks: pd.Series | None = None,
    task_tolerances: Mapping[str, float] | None = None,
    buckets: pd.Series | None = None,
    kl: pd.DataFrame | None = None,
    kl_floor: float | None = None,
) -> Diagnosis:
    """Compare and judge two models.

    Args:
        facts: fact_id, question, aliases and relation ("" if unknown), one row a fact.
        before, after: the base, and the fine-tuned model.
        tolerance: how much knowledge may be lost and still counts as kept, a share.
        again: the fine-tuned model measured once more, at another batch size: the noise of the instrument.
        tasks: name of the task of each task_id (the index), in the order in which they are shown.
        task_tolerances: how much of a task's score may be lost, a share; by the task's name.
        buckets: mastery bucket of the base by fact_id; None: those of `before.mastery`.
        kl: fact_id and kl, nats.
        kl_floor: see Diagnosis.
    """
    table = facts[["fact_id", "question", "aliases", "relation"]].reset_index(drop=True)
    if buckets is None and before.mastery is not None:
        buckets = before.mastery.set_index("fact_id")["bucket"]
    table["bucket"] = "" if buckets is None else table["fact_id"].map(buckets).fillna("")

    def measured(asked: Asked) -> pd.DataFrame:
        answers = asked.answers.set_index("fact_id").reindex(table["fact_id"]).reset_index()
        found = answers[["output", JUDGEMENT, "well_formed"]].rename(columns={JUDGEMENT: "right"})
        known = {} if asked.mastery is None else asked.mastery.set_index("fact_id")["mastery"]
        return found.assign(mastery=table["fact_id"].map(known))

    sides = [measured(asked).add_prefix(f"{side}_") for side, asked in zip(SIDES, (before, after), strict=True)]
    repeated = measured(again) if again else None
    table = table.join(sides)
    table["kl"] = np.nan if kl is None else table["fact_id"].map(kl.set_index("fact_id")["kl"])

    def effect(name: str, rows: pd.Series) -> Effect:
        first, second = (table.loc[rows, f"{side}_{name}"].astype(float) for side in SIDES)
        return effects.paired(first, second, None if repeated is None else repeated.loc[rows, name].astype(float))

    everywhere = pd.Series(True, index=table.index)
    probed = table["before_mastery"].notna() & table["after_mastery"].notna()
    knowledge = effect("mastery", probed) if probed.any() else None
    answered = effect("right", everywhere)
    by_task: dict[str, Effect] = {}
    if tasks is not None and before.tasks is not None and after.tasks is not None:
        scores = [None if a is None or a.tasks is None else a.tasks.set_index("task_id")["score"]
                  for a in (before, after, again)]  # fmt: skip
        for name in dict.fromkeys(tasks):
            ids = tasks.index[tasks == name]
            by_task[name] = effects.paired(*(None if s is None else s[ids] for s in scores))  # type: ignore[arg-type]
    unstable = None
    if repeated is not None:
        others = (repeated[name] != table[f"after_{name}"] for name in ("output", "right"))
        unstable = (int(next(others).sum()), int(next(others).sum()))
    tolerances = task_tolerances or {}
    values = table["kl"].dropna()
    return Diagnosis(
        facts=table,
        knowledge=knowledge,
        answered=answered,
        well_formed=effect("well_formed", everywhere),
        by_bucket={name: effect("right", table["bucket"] == name) for name in BUCKETS if name in set(table["bucket"])},
        tasks=by_task,
        kl=intervals.mean(values.tolist()) if len(values) else None,
        kl_floor=kl_floor,
        unstable=unstable,
        verdict=effects.judge(_judged(knowledge, answered), tolerance, known=True),
        task_verdicts={name: effects.judge(seen, tolerances.get(name, tolerance)) for name, seen in by_task.items()},
    )


def _judged(knowledge: Effect | None, answered: Effect) -> Effect:
    return knowledge if knowledge and knowledge.before >= answered.before / 2 else answered


def _json(effect: Effect | None) -> dict[str, Any] | None:
    """Return an effect as a JSON value, which knows no NaN."""
    if effect is None:
        return None
    return {name: None if value != value else value for name, value in asdict(effect).items()}
