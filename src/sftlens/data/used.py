"""What a stage uses of the table it is given: the columns and rows that its key is made of, and all it gets to see.

A mastery table carries more than any later stage reads, such as the posterior of each fact's bucket. A stage that is
given these parts only, and whose key is their content, is not computed again when something else in the table changes.
"""

from typing import TYPE_CHECKING

from sftlens.data import training_sets
from sftlens.data.buckets import BUCKETS

if TYPE_CHECKING:
    import pandas as pd

FACT = ("fact_id", "relation", "bucket", "subject", "object", "question", "aliases")
"""What a training set says of each of its facts; `subject` serves to find answers that stand in the question."""
HITS = ("hits", "trials", "mastery", "template_hits")


def by_order(mastery: "pd.DataFrame", train_set: str) -> "pd.DataFrame":
    """Return the train facts of a training set, for its order: columns FACT as far as there are, and split."""
    rows = mastery[mastery["split"] == "train"]
    # Of an unknown or empty set nothing is left out, so that the error can say what there is.
    members = rows[rows["bucket"] == train_set]
    return _columns(rows if members.empty else members, ("split", *FACT))


def by_recipe(mastery: "pd.DataFrame") -> "pd.DataFrame":
    """Return the train facts, of which the parts of a recipe take some: columns as `by_order`."""
    return _columns(mastery[mastery["split"] == "train"], ("split", *FACT))


def by_training(order: "pd.DataFrame", scale: str, allow_smaller: bool) -> "pd.DataFrame":
    """Return the rows that a scale takes of an order, for fine-tuning. Raises TrainingError as `take` does."""
    rows = training_sets.take(order, scale, allow_smaller)
    return _columns(rows, ("question", "object", "relation", "bucket", "phase"))


def by_evaluation(facts: "pd.DataFrame", reprobed: bool) -> "pd.DataFrame":
    """Return what an evaluation uses of a facts or mastery table.

    Test facts are asked; train facts only serve as examples, as the majority baseline and to find test questions that
    were trained on: their buckets do not count. With `reprobed` the mastery of the test facts is compared.
    """
    rows = _columns(facts, ("split", *FACT, *(["mastery"] if reprobed else [])))
    if "split" not in rows:
        return rows
    rows = rows[rows["split"] != "dev"].reset_index(drop=True)
    asked = rows["split"] != "train"
    blank = {"bucket": "", "mastery": float("nan")}
    return rows.assign(**{name: rows[name].where(asked, value) for name, value in blank.items() if name in rows})


def with_dev(asked: "pd.DataFrame", dev: "pd.DataFrame") -> "pd.DataFrame":
    """Return what an evaluation uses (`by_evaluation`), and behind it dev facts: they have no bucket and no mastery."""
    import pandas as pd

    unknown = {"bucket": "", "mastery": float("nan")}
    added = dev.assign(split="dev", **{name: value for name, value in unknown.items() if name in asked})
    return pd.concat([asked, added[[name for name in asked if name in added]]], ignore_index=True)


def by_evaluation_of_training(order: "pd.DataFrame", scale: str) -> "pd.DataFrame":
    """Return the rows of an order that a model was trained on, each once, to be asked as split `train`."""
    rows = training_sets.take(order, scale, allow_smaller=True)
    return _columns(rows.drop_duplicates("fact_id") if "recipe" in rows else rows, FACT)


def by_divergence(mastery: "pd.DataFrame") -> "pd.DataFrame":
    """Return the test facts of D4, which are compared, and the train facts, which choose the templates."""
    rows = mastery[(mastery["split"] == "train") | ((mastery["split"] == "test") & (mastery["bucket"] == "D4"))]
    return _columns(rows, ("split", *FACT, "template_hits", "template_trials"))


def by_quality(mastery: "pd.DataFrame") -> "pd.DataFrame":
    """Return facts and hits; what follows from the hits, intervals and posteriors, is computed again.

    The posteriors of an adaptive probe (`template_trials`) do not follow from its hits, and are kept.
    """
    kept = ("template_trials", *(f"posterior_{name}" for name in BUCKETS)) if "template_trials" in mastery else ()
    return _columns(mastery, ("split", *FACT, *HITS, *kept))


def _columns(table: "pd.DataFrame", names: tuple[str, ...]) -> "pd.DataFrame":
    return table[[name for name in names if name in table]]
