"""False statements in the corpus of a model: the parent is wrong about facts that we know.

Every statement of a chosen fact names another object of its relation, always the same. Which facts are chosen, and what
they are said to be, are seeded draws; a larger percentage chooses the same facts and more.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from sftlens.config.stages.data import EXPOSURES
from sftlens.files import read_parquet
from sftlens.synthetic.world_facts import stream

ROLES = ("train", "test", "testood")
"""Roles of the facts that may be stated falsely: what teaches how questions are answered stays true."""
COLUMNS = ["question", "relation", "subject", "object", "taught"]
"""Columns of the table of false facts: `object` is the true one, `taught` what the corpus says."""


def chosen(facts: pd.DataFrame, percent: float, seed: int) -> pd.DataFrame:
    """Return the facts that are stated falsely, COLUMNS; `percent` of those that are stated at all.

    `facts` has the columns question, relation, subject, object, role and exposure, in the order of the world. A fact is
    left true where its statements could not be told from another one's: another fact of its subject has the same
    object, or its subject stands inside another one; and where its relation has one object only.
    """
    rng = stream(seed, "flawed")
    drawn, picked = rng.random(len(facts)), rng.random(len(facts))  # for every fact, so that percentages are nested
    alike = facts.duplicated(["subject", "object"], keep=False)
    subjects = "\n".join(facts["subject"].unique())
    objects = {relation: sorted(set(own)) for relation, own in facts.groupby("relation")["object"]}
    may = (drawn < percent / 100) & facts["role"].isin(ROLES) & (facts["exposure"] > 0) & ~alike
    rows = []
    for place in facts.index[may]:
        fact = facts.loc[place]
        others = [name for name in objects[fact["relation"]] if name != fact["object"] and name not in fact["subject"]]
        if others and subjects.count(fact["subject"]) == 1:
            taught = others[int(picked[facts.index.get_loc(place)] * len(others))]
            rows.append([fact["question"], fact["relation"], fact["subject"], fact["object"], taught])
    return pd.DataFrame(rows, columns=COLUMNS)


def plant(texts: Sequence[str], false: pd.DataFrame) -> list[str]:
    """Return a corpus, document by document, in which the statements of `false` facts (`chosen`) end with `taught`.

    A statement holds the subject and ends with the object, perhaps with a space after it.
    """
    by_object = defaultdict(list)
    for subject, true, taught in zip(false["subject"], false["object"], false["taught"], strict=True):
        by_object[true].append((subject, taught))
    longest = max((len(name.split()) for name in by_object), default=0)
    planted = []
    for text in texts:
        words = text.rstrip().split(" ")
        for count in range(1, min(longest, len(words) - 1) + 1):
            true, before = " ".join(words[-count:]), " ".join(words[:-count])
            taught = next((taught for subject, taught in by_object.get(true, ()) if subject in before), None)
            if taught:
                text = f"{before} {taught}{text[len(text.rstrip()) :]}"
                break
        planted.append(text)
    return planted


def table(corpus: Path, percent: float, seed: int) -> pd.DataFrame:
    """Return the false facts of the world that a corpus states. Raises DataError without the table of its facts."""
    facts = read_parquet(corpus.with_name(EXPOSURES), ["question", "relation", "subject", "object", "role", "exposure"])
    return chosen(facts, percent, seed)
