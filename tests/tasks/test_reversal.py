"""The skill that no corpus teaches: its examples follow from a seed, and words in their place count."""

import json

import pytest

from repository import ROOT
from sftlens.data import tables
from sftlens.tasks import TASKS, reversal


def test_the_shipped_examples_are_those_of_the_seed_and_no_list_is_in_both_files() -> None:
    made = {
        name: [json.loads(line) for line in (ROOT / f"config/reversal-{name}.jsonl").open()]
        for name in ("train", "test")
    }
    assert made == {"train": reversal.examples(0, 2000), "test": reversal.examples(0, 200, 2000)}
    asked = [row["question"] for rows in made.values() for row in rows]
    assert len(set(asked)) == len(asked) == 2200
    assert made["train"][0]["object"].split() == made["train"][0]["question"].split()[:0:-1]
    assert len(TASKS.get("reversal").read(ROOT / "config/reversal-test.jsonl")) == len(tables.rows(
        ROOT / "config/reversal-test.jsonl"
    ))  # fmt: skip
    assert reversal.examples(1, 5) != reversal.examples(0, 5)


@pytest.mark.parametrize(
    ("output", "share"),
    [(" tiger amber birch ", 1), ("tiger birch amber", 1 / 3), ("tiger", 1 / 3), ("", 0), ("x tiger amber birch", 0),
     ("tiger amber birch cloud", 1)],
)  # fmt: skip
def test_words_in_their_place_count(output: str, share: float) -> None:
    assert reversal.in_place(output, ["tiger amber birch"]) == pytest.approx(share)
    assert reversal.in_place(output, []) == 0
