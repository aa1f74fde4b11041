"""Small tables of facts and completion templates for tests of probing, evaluation and divergence."""

import pandas as pd

from sftlens.facts import ID_RELATIONS

SENTENCES = {
    "P17": ["{subject} lies in", "The country of {subject} is", "You find {subject} in"],
    "P19": ["{subject} was born in", "The birthplace of {subject} is"],
}
QUESTIONS = {"P17": "Which country is [X] located in?", "P19": "Where was [X] born?"}
SUBJECTS = ("Mount Kesta", "Ada Loren", "Port Vale", "Ben Oslo", "Torburg", "Lake Norwen")


def facts_table(
    splits: tuple[str, ...] = ("train", "dev", "test", "testood"), subjects: int = 3
) -> pd.DataFrame:
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
