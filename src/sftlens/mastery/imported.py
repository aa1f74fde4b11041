"""Taking a finished mastery table in the place of probing."""

import pandas as pd

from sftlens.errors import DataError
from sftlens.mastery.mastery_table import bucket


def join(facts: pd.DataFrame, table: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return `facts` with the mastery columns of `table`, matched by fact_id.

    Raises DataError when a column is missing, a fact has no row, or hits and trials contradict one another.
    """
    for name in ("fact_id", "hits", "trials"):
        if name not in table:
            raise DataError(f"{source}: column {name!r} is missing; a mastery table has fact_id, hits and trials")
    if table["fact_id"].duplicated().any():
        twice = table.loc[table["fact_id"].duplicated(), "fact_id"].iloc[0]
        raise DataError(f"{source}: fact_id {twice!r} stands there twice; keep one row a fact")
    bad = table[(table["hits"] < 0) | (table["trials"] < 1) | (table["hits"] > table["trials"])]
    if len(bad):
        raise DataError(f"{source}: fact_id {bad['fact_id'].iloc[0]!r}: hits must lie between 0 and trials; mend it")
    columns = ["fact_id", "hits", "trials"] + (["template_hits"] if "template_hits" in table else [])
    joined = facts.merge(table[columns], on="fact_id", how="left", validate="one_to_one")
    if joined["hits"].isna().any():
        absent = joined.loc[joined["hits"].isna(), "fact_id"].iloc[0]
        raise DataError(f"{source}: no row for fact {absent!r}; give a table for these facts (scripts/facts.py)")
    joined[["hits", "trials"]] = joined[["hits", "trials"]].astype("int64")
    joined["mastery"] = joined["hits"] / joined["trials"]
    joined["bucket"] = [bucket(r) for r in joined["mastery"]]
    if "template_hits" not in joined:
        joined["template_hits"] = [[int(hits)] for hits in joined["hits"]]
    return joined
