"""The rows that each part of a recipe can take: train facts, a file of questions, or what a base model said."""

from pathlib import Path
from typing import TYPE_CHECKING

from sftlens.config.stages.recipes import Part, Recipe
from sftlens.data import scoring, tables
from sftlens.data.buckets import BUCKETS, MIXED
from sftlens.errors import ConfigError, TrainingError

if TYPE_CHECKING:
    import pandas as pd


def pools(recipe: Recipe, name: str, facts: "pd.DataFrame", said: "pd.Series | None") -> "dict[str, pd.DataFrame]":
    """Return the rows that each part can take, in the order of the table that they come from.

    `facts` is a mastery table; `said` maps fact_id to what the base model itself said, for parts with `answers: own`.
    Raises TrainingError, naming recipe and part, what is missing and what there is, where a part has no row, or fewer
    than its `facts`.
    """
    train, found = facts[facts["split"] == "train"], {}
    for label, part in recipe.parts.items():
        rows, there = _rows(label, part, train, said)
        if len(rows) < (part.facts or 1):
            wanted = f"wants {part.facts} different rows, and there are {len(rows)}" if part.facts else "has no row"
            raise TrainingError(
                f"recipe {name}, part {label!r} ({described(part)}) {wanted} ({there}); change recipes.{name}.parts."
                f"{label}, or give facts that the base model masters to that degree"
            )
        found[label] = rows
    return found


def _rows(label: str, part: Part, train: "pd.DataFrame", said: "pd.Series | None") -> "tuple[pd.DataFrame, str]":
    """Return the rows of a part, and what there is besides, in words."""
    if part.file:
        rows = tables.facts(Path(part.file), optional=["relation", "bucket", "subject"])
        return rows.assign(relation=rows.get("relation", label)), f"all of {part.file}"
    missing = sorted({*part.relations, *part.except_relations} - set(train["relation"]))
    if missing:
        raise ConfigError(
            f"there is no train fact of relation {missing[0]!r}; correct the recipe's relations (there are: "
            f"{', '.join(sorted(set(train['relation'])))})"
        )
    inside = train["relation"].isin(part.relations or train["relation"]) & ~train["relation"].isin(
        part.except_relations
    )
    rows = train[inside]
    counts = rows["bucket"].value_counts()
    there = ", ".join(f"{bucket} {counts.get(bucket, 0)}" for bucket in BUCKETS)
    rows = rows[rows["bucket"].isin(part.buckets)]
    if part.answers == "own":
        if said is None:
            raise ConfigError(
                "option --texts: is missing; a part with `answers: own` needs the base model's completions"
            )
        rows = rows[rows["fact_id"].isin(said.index)]
        rows = rows.assign(object=rows["fact_id"].map(said))
        there += f"; {len(rows)} with a right completion"
    return rows, there


def described(part: Part) -> str:
    """Return what a part takes, in words."""
    if part.file:
        return f"{part.share:g} % from {part.file}"
    buckets = MIXED if set(part.buckets) == set(BUCKETS) else "+".join(sorted(part.buckets))
    of = f" of {', '.join(part.relations)}" if part.relations else ""
    return f"{part.share:g} % {buckets}{of}" + (
        f" but {', '.join(part.except_relations)}" * bool(part.except_relations)
    )


def own_answers(facts: "pd.DataFrame", texts: "pd.DataFrame") -> "pd.DataFrame":
    """Return the most frequent right completion of each fact that has one: columns of `texts` of that completion.

    `facts` has fact_id and accepted answers, `texts` (mastery-texts.parquet) fact_id, template, text and count. Of
    equally frequent ones the first template's is taken.
    """
    sampled = facts.merge(texts, on="fact_id")
    pairs = zip(sampled["text"], scoring.accepted(sampled), strict=True)
    right = sampled[[scoring.contains(text, accepted) for text, accepted in pairs]]
    best = right.sort_values(["count", "template", "text"], ascending=[False, True, True], kind="stable")
    return best.drop_duplicates("fact_id")
