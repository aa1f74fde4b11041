"""Which test facts change with training: those that share something with the training facts, or all alike?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftlens import files
from sftlens.config.axes import Axes, Distinct, TrainSet
from sftlens.data import training_sets
from sftlens.doubts import DOUBTS, TESTS, Answers, Doubt, Row, changes, ends, largest, row

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

SUBJECT, OBJECT, RELATION, NOTHING = GROUPS = ("subject word", "object", "relation", "nothing")
"""What a test fact shares with the training facts, the most specific first: a fact is of the first that holds."""
COMMON = 0.01
"""A word that stands in a larger share of all subjects says nothing of any of them."""
_WORD = re.compile(r"\w{4,}")


class Shared(Axes):
    """Test facts by what they share with the facts of their cell's training set."""

    train_sets: Distinct[TrainSet] = ["D0", "mixed"]
    """Training sets; the sentence is about the first one."""


def groups(asked: pd.DataFrame, trained: pd.DataFrame, common: frozenset[str] = frozenset()) -> NDArray[np.int64]:
    """Return for each asked fact the place in GROUPS of what it shares with the trained ones, int64 [asked].

    Both have the columns subject, object and relation. `common` words of subjects do not count.
    """
    import numpy as np

    known = {word for subject in trained["subject"] for word in words(subject)} - common
    objects, relations = set(trained["object"].str.casefold()), set(trained["relation"])
    shares = [
        [not known.isdisjoint(words(subject)) for subject in asked["subject"]],
        asked["object"].str.casefold().isin(objects),
        asked["relation"].isin(relations),
        np.ones(len(asked), dtype=bool),
    ]
    return np.argmax(np.array(shares, dtype=bool), axis=0) if len(asked) else np.zeros(0, dtype=np.int64)


def words(subject: str) -> set[str]:
    """Return the words of a subject that have four letters or more, in one case."""
    return set(_WORD.findall(subject.casefold()))


def common_words(subjects: pd.Series) -> frozenset[str]:
    """Return the words that stand in more than the share COMMON of distinct subjects."""
    import pandas as pd

    counts = pd.Series([word for subject in subjects.unique() for word in words(subject)]).value_counts()
    return frozenset(counts.index[counts > COMMON * subjects.nunique()])


def measure(answers: Answers) -> list[Row]:
    """Return the change of accuracy from the smallest n (the base, where there is one n) to the largest, by group."""
    study, paths, rows = answers.paths.study, answers.paths, []
    axes = study.experiments.shared
    for model in study.models:
        n = largest(answers.grid, model)
        if n == "0":
            continue
        facts = files.read_parquet(Path(paths.mastery(model)), ["fact_id", "relation", "subject", "object"])
        facts = facts.drop_duplicates("fact_id").set_index("fact_id")
        common = common_words(facts["subject"])
        over_all, by_group = [], []
        for train_set in [name for name in axes.train_sets if name not in study.tasks]:
            if (pair := ends(answers.grid, model, train_set)) is None:
                continue
            change = f"Change from n = {pair[0].scale} to {n} (points)"
            for split, test in TESTS.items():
                d, shared = _changes(answers, *pair, split, facts, common)
                series, apart = f"{test}, {train_set}", _mean(d, shared, [SUBJECT, OBJECT], [RELATION, NOTHING])
                over_all.append(row(model, f"{change}: shared minus neither", series, n, apart))
                for group in GROUPS:
                    if (found := _mean(d, shared, [group])).value == found.value:
                        by_group.append(row(model, f"{change}, by what is shared", series, group, found))
        rows += over_all + by_group
    return rows


def _changes(answers: Answers, before: Any, last: Any, split: str, facts: pd.DataFrame, common: frozenset[str]) -> Any:
    """Return the changes in points, float64 [seeds, questions], and the groups of the questions, int64, the same."""
    import numpy as np

    asked = facts.reindex(answers.questions(last.model, split).fact_ids)
    found, shared = changes(answers, last, before, split), []
    for seed in found:
        place = Path(answers.paths.root) / f"{last.model}/{last.train_set}/order-seed{seed}.parquet"
        order = training_sets.take(files.read_parquet(place, ["fact_id"]), last.scale, allow_smaller=True)
        shared.append(groups(asked, facts[facts.index.isin(order["fact_id"])], common))
    empty = np.zeros((1, len(asked)))
    return (np.stack([*found.values()]), np.stack(shared)) if found else (empty * np.nan, empty.astype(np.int64))


def _mean(d: Any, shared: Any, inside: Sequence[str], against: Sequence[str] = ()) -> Any:
    """Return the mean change of the groups `inside`, less that of those `against`."""
    import numpy as np

    from sftlens.statistics import crossed

    def of(names: Sequence[str]) -> Any:
        return crossed.members(d, np.isin(shared, [GROUPS.index(name) for name in names]))

    return crossed.mean(of(inside) - of(against) if against else of(inside))


DOUBTS.add(Doubt(
    "shared", 7, "Does training change the facts that share something with its own, or all alike?",
    "the change of accuracy on ID test from the smallest n to the largest",
    "on facts that share a subject's word or an object with the training facts",
    "on those that share neither",
    f"Words count from four letters on, unless more than {100 * COMMON:g} % of all subjects have them; facts that "
    "share more may differ in other ways, such as how frequent their names are.",
    Shared, measure,
))  # fmt: skip
