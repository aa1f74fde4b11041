"""Small tables of facts, completion templates and prompts for tests of what reads a model."""

import numpy as np
import pandas as pd

from sftlens.data.relations import ID_RELATIONS

SENTENCES = {
    "P17": ["{subject} lies in", "The country of {subject} is", "You find {subject} in"],
    "P19": ["{subject} was born in", "The birthplace of {subject} is"],
}
QUESTIONS = {"P17": "Which country is [X] located in?", "P19": "Where was [X] born?"}
SUBJECTS = ("Mount Kesta", "Ada Loren", "Port Vale", "Ben Oslo", "Torburg", "Lake Norwen")


def facts_table(splits: tuple[str, ...] = ("train", "dev", "test", "testood"), subjects: int = 3) -> pd.DataFrame:
    """Return facts of two relations, `subjects` a split; short accepted answers, so that a random model hits some."""
    assert set(SENTENCES) <= set(ID_RELATIONS)
    rows = [
        {
            "fact_id": f"{split}/{relation}/{i:05d}",
            "split": split,
            "relation": relation,
            "subject": f"{SUBJECTS[i % len(SUBJECTS)]} {split}",
            "object": "no such answer",
            "question": QUESTIONS[relation].replace("[X]", f"{SUBJECTS[i % len(SUBJECTS)]} {split}"),
            "aliases": ["no such answer", "aeiou"[i % 5]],
        }
        for split in splits
        for relation in SENTENCES
        for i in range(subjects)
    ]
    return pd.DataFrame(rows)


def prompts_of(count: int, seed: int = 0, vocabulary: int = 400, longest: int = 12) -> list[list[int]]:
    """Return random prompts of mixed lengths, several of each."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(max(1, longest - 3), longest + 1, count)
    return [draw.integers(3, vocabulary, length).tolist() for length in lengths]
