"""Which facts a model is fine-tuned on: a seeded order per training set; a scale takes its first n."""

import hashlib
import re
from typing import TYPE_CHECKING

from sftlens.data.buckets import BUCKETS, MIXED
from sftlens.data.relations import rank
from sftlens.errors import DataError, TrainingError

if TYPE_CHECKING:
    import pandas as pd


def order(facts: "pd.DataFrame", train_set: str, seed: int, model: str) -> "pd.DataFrame":
    """Return all train facts of a training set in the order in which scales take them (paper section 3).

    The relations take turns, exhausted ones are skipped, and within a relation the facts stand in a
    pseudo-random order that depends on (model, train_set, seed) and each fact's id alone. So the sets of one
    seed are nested, and neither the rows' order in the file nor the scales of a study change them.

    `facts` is a mastery table with at least `fact_id split relation bucket`, `train_set` `D0`..`D4`, or `mixed` for the
    union of the buckets. Raises TrainingError for an unknown or empty one, DataError where two train facts share a
    `fact_id`.
    """
    if train_set not in (*BUCKETS, MIXED):
        raise TrainingError(f"train_set {train_set!r} is unknown: use one of {', '.join(BUCKETS)}, {MIXED}")
    train = facts[facts["split"] == "train"]
    rows = train if train_set == MIXED else train[train["bucket"] == train_set]
    if rows.empty:
        raise TrainingError(
            f"training set {train_set} is empty: none of the {len(train)} train facts is in it; leave this "
            "bucket out of `train_sets`, or give facts that the base model masters to that degree"
        )
    return drawn(rows, f"{model}\0{train_set}\0{seed}\0")


def drawn(rows: "pd.DataFrame", key: str) -> "pd.DataFrame":
    """Return rows in an order that `key` and their fact_id alone decide: relations, if they have any, take turns.

    Raises DataError where two rows share a `fact_id`.
    """
    duplicates = rows["fact_id"][rows["fact_id"].duplicated()]
    if len(duplicates):
        raise DataError(f"fact_id {duplicates.iloc[0]!r} stands twice among the train facts; make them again")
    shuffled = rows.assign(
        _draw=[hashlib.sha256((key + fact_id).encode()).digest() for fact_id in rows["fact_id"]],
    ).sort_values("_draw")
    if "relation" not in rows:
        return shuffled.drop(columns="_draw").reset_index(drop=True)
    position = {relation: i for i, relation in enumerate(_relations(rows))}
    # Taking turns is the same as sorting by (how many of the relation came before, relation).
    shuffled["_turn"] = shuffled.groupby("relation").cumcount()
    shuffled["_relation"] = shuffled["relation"].map(position)
    ordered = shuffled.sort_values(["_turn", "_relation"])
    return ordered.drop(columns=["_draw", "_relation", "_turn"]).reset_index(drop=True)


def take(order: "pd.DataFrame", scale: int | str, allow_smaller: bool = False) -> "pd.DataFrame":
    """Return the first `scale` (a number, also as text) facts of an order, or `all` of them.

    Raises TrainingError where there are fewer than `scale` and not `allow_smaller`, or none at all.
    """
    size = len(order)
    if size == 0:
        raise TrainingError("the training set is empty: give the file that sftlens training-set wrote")
    if scale != "all" and (not re.fullmatch(r"\d{1,18}", str(scale), re.ASCII) or int(scale) < 1):
        raise TrainingError(f"scale {scale!r}: give a number of facts from 1 on, or `all`")
    wanted = size if scale == "all" else int(scale)
    if size < wanted and not allow_smaller and "recipe" in order:
        parts = order.drop_duplicates("part")[["part", "part_share", "part_facts"]].itertuples(index=False)
        short = [f"{wanted * share:.0f} rows of part {part!r}, which has {there}" for part, share, there in parts
                 if wanted * share > there]  # fmt: skip
        raise TrainingError(
            f"recipe {name(order)}: the scale {wanted} needs {'; '.join(short)}; lower the scale (--scale, "
            f"or the experiment's `scales`), change recipes.{name(order)}, or set `allow_smaller: true` to train on "
            f"the {size} rows that keep its shares"
        )
    if size < wanted and not allow_smaller:
        raise TrainingError(
            f"training set {name(order)} has {size} facts, fewer than the scale {wanted}: lower the scale "
            "(--scale, or the experiment's `scales`), or set `allow_smaller: true` to train on what there is"
        )
    return order.head(wanted)


def training_order(n: int, seed: int, epoch: int = 0) -> list[int]:
    """Return the permutation of 0..n-1 in which a set of n is trained, seeded by (seed, n, epoch)."""
    import numpy as np

    return np.random.default_rng([seed, n, epoch]).permutation(n).tolist()


def shares(training_set: "pd.DataFrame") -> dict[str, float]:
    """Return each relation's share of a training set, in order; empty without a `relation` column."""
    if "relation" not in training_set or len(training_set) == 0:
        return {}
    counts = training_set["relation"].value_counts()
    return {relation: float(counts[relation] / len(training_set)) for relation in _relations(training_set)}


def name(order: "pd.DataFrame") -> str:
    """Return the recipe of an order, or the bucket that all its facts share, else `mixed`."""
    if "recipe" in order and len(order):
        return str(order["recipe"].iloc[0])
    buckets = set(order["bucket"]) if "bucket" in order else set()
    return buckets.pop() if len(buckets) == 1 else MIXED


def _relations(rows: "pd.DataFrame") -> list[str]:
    """Return the relations present, in the order of config/relations.yaml, then any others by name."""
    return sorted(set(rows["relation"]), key=rank)
