"""Training sets of one's own, made of parts: the rows that each part can take, and the order of all rows.

A part takes train facts, a file of questions, or what a base model said. In the order every scale has exactly the
shares of the parts: row by row the part comes next that is due first (Tijdeman, "The chairman assignment problem",
Discrete Mathematics 32, 1980), so that after n rows no part is a whole row away from its share of n. Within a part rows
are drawn as those of a bucket are (`training_sets`): a part of bucket D0 takes the facts that the training set D0
takes, in their order. So the sets of one seed are nested, and those of two recipes have the same facts where their
parts are alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import TYPE_CHECKING

from sftlens.config.stages.recipes import Part, Recipe
from sftlens.data import scoring, tables, training_sets
from sftlens.data.buckets import BUCKETS, MIXED
from sftlens.errors import ConfigError, TrainingError

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("recipe", "part", "part_share", "part_facts", "phase")
"""What an order says of its recipe: the names of recipe and part, the part's share (0 to 1) and the rows that it has in
all; `phase` is the part's place in the recipe's `order`, or with `by_pass` how often the row came before; else 0."""


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


def order(recipe: Recipe, name: str, pools: "Mapping[str, pd.DataFrame]", seed: int, model: str) -> "pd.DataFrame":
    """Return the rows of a recipe in the order in which scales take them, up to where a part has no more.

    `pools` are those of `pools`. The table has the columns that all of them have, and COLUMNS.
    """
    import pandas as pd

    drawn = []
    named = sorted(recipe.parts.items())  # a mapping says nothing by its order
    for label, part in named:
        buckets = sorted(part.buckets)
        key = "file" if part.file else MIXED if buckets == list(BUCKETS) else "+".join(buckets)
        rows = training_sets.drawn(pools[label], f"{model}\0{key}\0{seed}\0").head(part.facts or len(pools[label]))
        passes = [i for i in range(part.repeat) for _ in range(len(rows))]
        rows = pd.concat([rows] * part.repeat, ignore_index=True)
        phase = passes if recipe.by_pass else recipe.order.index(label) if recipe.order else 0
        values = (name, label, part.share / 100, len(rows), phase)
        drawn.append(rows.assign(**dict(zip(COLUMNS, values, strict=True))))
    taken = list(turns([part.share for _, part in named], list(map(len, drawn))))
    # Rows of each part in its own order, put where it is the part's turn.
    places = pd.Series(taken).groupby(taken).cumcount()
    found = [rows.set_index(pd.MultiIndex.from_product([[i], range(len(rows))])) for i, rows in enumerate(drawn)]
    table = pd.concat(found).loc[list(zip(taken, places, strict=True))].reset_index(drop=True)
    return table.dropna(axis=1)


def turns(shares: Sequence[float], sizes: Sequence[int]) -> Iterator[int]:
    """Yield, row by row, the number of the part that comes next, until the next one has none of its `sizes` rows left.

    After n rows a part of share s (of the sum of all) has had s n rows, give or take less than one: exactly where s n
    is whole. Tijdeman's bound is 1 - 1 / (2 m - 2) for m parts.
    """
    exact = [Fraction(str(share)) for share in shares]
    # Whole numbers in proportion to the shares: due, slack and urgency are theirs times `total`.
    weights = [int(share * lcm(*(part.denominator for part in exact))) for share in exact]
    total, several, common = sum(weights), max(1, 2 * len(weights) - 2), lcm(*weights)
    had, due = [0] * len(weights), list(weights)
    while True:
        ready = [i for i, value in enumerate(due) if several * value >= total or len(due) == 1]
        chosen = min(ready, key=lambda i: ((several - 1) * total - several * due[i]) * (common // weights[i]))
        if had[chosen] == sizes[chosen]:
            return
        had[chosen] += 1
        due = [value + weight for value, weight in zip(due, weights, strict=True)]
        due[chosen] -= total
        yield chosen
