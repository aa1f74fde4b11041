"""How well a model masters a fact: the share of sampled completions with its object (arXiv 2509.16596)."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sftlens.data import relations
from sftlens.data.buckets import BUCKETS, bucket
from sftlens.errors import DataError
from sftlens.mastery import completions
from sftlens.mastery.completions import Probe
from sftlens.mastery.quality.posterior import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

ADAPTIVE = ("template_trials", "answer_probability", "mastery", "low", "high", *COLUMNS)
"""What an adaptive probe's table says of a fact besides its hits, and what does not follow from them."""


def probe(probe: Probe, facts: "pd.DataFrame") -> "pd.DataFrame":
    """Measure the mastery of each fact, all in memory (`sftlens.mastery.probing` does it in shards on disk).

    `facts` has the columns fact_id, relation, subject and aliases (or object, where there are no aliases). Returns it
    with the columns hits, trials (int64), mastery (float64 in [0, 1]), bucket (D0..D4) and template_hits (list of int,
    in the order of the templates).
    """
    settings = probe.settings
    probe = replace(probe, sentences=relations.first_templates(probe.sentences, settings.max_templates))
    counts = [len(probe.sentences[relation]) for relation in facts["relation"]]
    hits = np.zeros(sum(counts), dtype=np.int64)
    for batch in completions.sample(probe, facts):
        hits[batch.prompts] = batch.hits
        probe.progress(len(batch.prompts))
    per_fact = np.split(hits, np.cumsum(counts)[:-1]) if counts else []
    columns = measured([row.tolist() for row in per_fact], settings.samples)
    return facts.reset_index(drop=True).assign(**columns)


def measured(template_hits: Sequence[list[int]], samples: int) -> dict[str, Any]:
    """Return the columns that `probe` adds, from each fact's hits by template."""
    hits = np.array([sum(row) for row in template_hits], dtype=np.int64)
    trials = np.array([len(row) * samples for row in template_hits], dtype=np.int64)
    found = {"hits": hits, "trials": trials, "mastery": hits / trials}
    return {**found, "bucket": [bucket(r) for r in hits / trials], "template_hits": list(template_hits)}


def join_imported(facts: "pd.DataFrame", table: "pd.DataFrame", source: str) -> "pd.DataFrame":
    """Return `facts` with the mastery columns of a finished table, matched by fact_id, in the place of probing.

    The mastery of an adaptive probe, which is known by its columns ADAPTIVE, is taken over, not made of the hits.
    Raises DataError when a column is missing, a fact has no row, or hits and trials contradict one another.
    """
    for name in ("fact_id", "hits", "trials"):
        if name not in table:
            raise DataError(f"{source}: column {name!r} is missing; a mastery table has fact_id, hits and trials")
    if (twice := table["fact_id"].duplicated()).any():
        fact = table.loc[twice, "fact_id"].iloc[0]
        raise DataError(f"{source}: fact_id {fact!r} stands there twice; keep one row a fact")
    bad = table[(table["hits"] < 0) | (table["trials"] < 1) | (table["hits"] > table["trials"])]
    if len(bad):
        raise DataError(f"{source}: fact_id {bad['fact_id'].iloc[0]!r}: hits must lie between 0 and trials; mend it")
    adaptive = {"template_hits", *ADAPTIVE} <= set(table)
    columns = ["fact_id", "hits", "trials"] + (["template_hits"] if "template_hits" in table else [])
    columns += ADAPTIVE if adaptive else []
    joined = facts.merge(table[columns], on="fact_id", how="left", validate="one_to_one")
    if (absent := joined["hits"].isna()).any():
        fact = joined.loc[absent, "fact_id"].iloc[0]
        raise DataError(f"{source}: no row for fact {fact!r}; give a table for these facts (sftlens facts)")
    joined[["hits", "trials"]] = joined[["hits", "trials"]].astype("int64")
    if not adaptive:
        joined["mastery"] = joined["hits"] / joined["trials"]
    joined["bucket"] = [bucket(r) for r in joined["mastery"]]
    if "template_hits" not in joined:
        joined["template_hits"] = [[int(hits)] for hits in joined["hits"]]
    return joined


def best_templates(mastery: "pd.DataFrame") -> dict[str, int]:
    """Return for each relation the index of the template with the largest share of hits; ties go to the earlier one.

    Where the number of samples differs (`template_trials`, of an adaptive probe) it does so by chance alone.
    """
    best = {}
    for relation, rows in mastery.groupby("relation", sort=False):
        hits = np.sum(rows["template_hits"].tolist(), axis=0)
        trials = np.sum(rows["template_trials"].tolist(), axis=0) if "template_trials" in rows else 1
        best[str(relation)] = int(np.argmax(hits / np.maximum(trials, 1)))
    return best


def counts(mastery: "pd.DataFrame", partly: Collection[str] = ()) -> list[dict[str, object]]:
    """Return the number of facts per split and bucket as rows of metrics (Tables 1 and 8).

    The metric is `facts`; in splits of which only a part was probed (`partly`) it is `facts_probed`, which says
    nothing about how many there are.
    """
    size = mastery.groupby(["split", "bucket"]).size()
    return [
        {
            "split": split,
            "bucket": name,
            "metric": "facts_probed" if split in partly else "facts",
            "value": float(size.get((split, name), 0)),
            "n": int(size.get((split, name), 0)),
        }
        for split in dict.fromkeys(mastery["split"])
        for name in BUCKETS
    ]
