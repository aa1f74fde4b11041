"""Two models' answers compared: mastery is judged, format apart from knowledge, flips named."""

import json

import numpy as np
import pandas as pd

from sftlens.diagnosis import effects, screen
from sftlens.diagnosis.diagnosis import JUDGEMENT, Asked, diagnose

COUNT = 200
FACTS = pd.DataFrame({
    "fact_id": [f"f{i}" for i in range(COUNT)],
    "question": [f"Where was N{i} born?" for i in range(COUNT)],
    "aliases": [["Oslo"]] * COUNT,
    "relation": "P19",
})  # fmt: skip


def asked(right: np.ndarray, mastery: np.ndarray, ends: np.ndarray) -> Asked:
    answers = pd.DataFrame({"fact_id": FACTS["fact_id"], "output": np.where(right, "Oslo", "Rome")})
    answers = answers.assign(**{JUDGEMENT: right, "well_formed": ends})
    table = pd.DataFrame(
        {"fact_id": FACTS["fact_id"], "mastery": mastery, "bucket": np.where(mastery > 0.75, "D4", "D0")}
    )
    tasks = pd.DataFrame({"task_id": ["a", "b", "c", "d"], "score": [0.0, 0.0, 1.0, float(ends[0])]})
    return Asked(answers.sample(frac=1, random_state=1), table, tasks)


def test_knowledge_and_format_are_told_apart() -> None:
    """The base knows everything and rambles; the fine-tuned model ends its answers, and half the facts are gone."""
    half = np.arange(COUNT) % 2 == 0
    base = asked(~half, np.ones(COUNT), np.zeros(COUNT, dtype=bool))
    tuned = asked(half | (np.arange(COUNT) < 20), half.astype(float), np.ones(COUNT, dtype=bool))
    tasks = pd.Series(["sums", "sums", "names", "names"], index=["a", "b", "c", "d"])
    found = diagnose(FACTS, base, tuned, tolerance=0.02, again=tuned, tasks=tasks, task_tolerances={"sums": 0.1})
    assert found.verdict.outcome == effects.LOST and found.outcome == effects.LOST
    assert found.knowledge and (found.knowledge.value, found.knowledge.floor) == (-0.5, 0.0)
    assert found.judged is found.knowledge
    assert (found.answered.before, found.answered.after) == (0.5, 0.55)
    assert found.well_formed.value == 1.0
    assert list(found.by_bucket) == ["D4"] and found.by_bucket["D4"].n == COUNT
    assert list(found.tasks) == ["sums", "names"] and found.tasks["names"].value == 0.5
    assert found.task_verdicts["sums"].tolerance == 0.1 and found.task_verdicts["names"].tolerance == 0.02
    assert len(found.gained) == 100 and len(found.lost) == 90
    assert set(found.lost["after_output"]) == {"Rome"} and set(found.lost["before_output"]) == {"Oslo"}
    json.dumps(found.metrics(), allow_nan=False)


def test_without_mastery_answers_are_judged_and_the_best_known_facts_come_first() -> None:
    right = np.arange(COUNT) < 150
    mastery = np.linspace(0, 1, COUNT)
    base, tuned = (asked(r, mastery, np.ones(COUNT, dtype=bool)) for r in (right, right & (np.arange(COUNT) > 99)))
    found = diagnose(FACTS, base, tuned, tolerance=0.02)
    assert found.lost["before_mastery"].is_monotonic_decreasing and len(found.lost) == 100
    plain = [Asked(side.answers) for side in (base, tuned)]
    bare = diagnose(FACTS, *plain, tolerance=0.02)
    assert bare.knowledge is None and bare.judged is bare.answered and bare.verdict.outcome == effects.LOST
    assert bare.by_bucket == {} and bare.kl is None and bare.answered.floor is None


def test_kl_and_mastery_of_some_facts_alone() -> None:
    right = np.ones(COUNT, dtype=bool)
    base = asked(right, np.ones(COUNT), right)
    some = Asked(base.answers, base.mastery.iloc[:50] if base.mastery is not None else None)
    kl = pd.DataFrame({"fact_id": ["f3", "f9"], "kl": [0.1, 0.3]})
    found = diagnose(FACTS, some, some, tolerance=0.02, kl=kl, kl_floor=0.01)
    assert found.knowledge and found.knowledge.n == 50
    assert found.kl and np.isclose(found.kl[0], 0.2) and found.kl_floor == 0.01
    assert (found.facts["bucket"] == "").sum() == 150


def test_whatever_is_compared_two_screens_hold_it() -> None:
    """Many tasks, long names and answers over several lines: 48 lines of 100 columns, what was lost first."""
    right = np.arange(COUNT) % 2 == 0
    long = FACTS.assign(question=FACTS["question"] + " " + "very " * 40, aliases=[["an answer " * 9]] * COUNT)
    names = [f"{'long-' * 8}{i:02}.jsonl" for i in range(20)]
    ids = [f"{name}/{i}" for name in names for i in range(30)]
    tasks = pd.Series([name for name in names for _ in range(30)], index=ids)

    def side(right: np.ndarray, lost: bool) -> Asked:
        made = asked(right, np.linspace(0, 1, COUNT), right)
        answers = made.answers.assign(output="one\ntwo\tthree " * 9)
        fails = [lost and name == names[-1] for name in tasks]
        return Asked(answers, made.mastery, pd.DataFrame({"task_id": ids, "score": 1.0 - np.array(fails)}))

    found = diagnose(
        long, side(right, False), side(~right, True), tolerance=0.02, again=side(~right, True), tasks=tasks
    )
    lines = screen.text(found, ["base " + "b" * 90, "tuned"]).splitlines()
    assert len(lines) <= screen.LINES and max(map(len, lines)) <= screen.WIDTH
    text = " ".join(" ".join(lines).split())
    assert (f"{names[-1]} lost" in text and "14 more tasks: kept" in text) or "14 more tasks: too little" in text
    assert "right before, wrong now: 100 facts" in text
