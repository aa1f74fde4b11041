"""Tables that a user brings or a stage wrote: Parquet, CSV, TSV or JSON lines, each also gzipped, told by the ending.

One reader for every program: columns get their types here (`cells`), and a fault names file, line, column and remedy. A
CSV file with the columns question and answers and the row `Where was Ada born?,Oslo|Christiania` gives a fact whose
fact_id is the question, whose object is Oslo and whose aliases are both names.

A mastery table carries more than any later stage reads, such as the posterior of each fact's bucket. What a stage uses
of it (`used_by_...`) is all that it gets to see, and what its key is made of: nothing else makes it run again.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftlens import files
from sftlens.data import cells, training_sets
from sftlens.data.buckets import BUCKETS
from sftlens.data.rows import Row, kind, rows
from sftlens.data.scoring import plain
from sftlens.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

EXAMPLE = '{"question": "Where was Ada born?", "answers": ["Oslo", "Christiania"]}'
FACT = ("fact_id", "relation", "bucket", "subject", "object", "question", "aliases")
"""What a training set says of each of its facts; `subject` serves to find answers that stand in the question."""
HITS = ("hits", "trials", "mastery", "template_hits")
_SHOWN = 5
"""Lines that a message names."""


def read(
    path: Path,
    columns: Sequence[str] = (),
    optional: Sequence[str] = (),
    *,
    any_of: Sequence[str] = (),
    rest: bool = False,
    given: Sequence[tuple[str, Row]] | None = None,
) -> "pd.DataFrame":
    """Return `columns` of a table, the first of `any_of` that there is, and those of `optional` that hold anything.

    Every value of these columns is checked and typed by the column's name (TYPES; the others are non-blank text). With
    `rest` all other columns too, as they are; `given` are the file's rows where they were read before. The columns
    stand in the file's order. Raises DataError naming file, line or fact, column and remedy.
    """
    import pandas as pd

    parquet = given is None and kind(path) == "parquet"
    found = given or ([] if parquet else rows(path))
    there = files.parquet_columns(path) if parquet else list(dict.fromkeys(name for _, row in found for name in row))
    files.require_columns(path, there, columns)
    if any_of and not set(any_of) & set(there):
        raise DataError(
            f"{path}: no column {' or '.join(map(repr, any_of))} (there are: {', '.join(there)}); write {EXAMPLE}"
        )
    columns = [*columns, *[name for name in any_of if name in there][:1]]
    if parquet:
        table = files.read_parquet(path, columns, optional, rest=rest)
        places = [f"fact {name!r}" if isinstance(name, str) else "" for name in table.get("fact_id", [])]
    else:
        wanted = [name for name in there if rest or name in (*columns, *optional)]
        table = pd.DataFrame({name: pd.Series([row.get(name) for _, row in found], dtype=object) for name in wanted})
        places = [place for place, _ in found]
    for name in [name for name in table if name in columns or name in optional]:
        if name not in columns and all(map(cells.blank, table[name])):
            del table[name]
            continue
        parse, values = cells.TYPES.get(str(name), cells.text), []
        faults: list[tuple[str, object, ValueError]] = []
        for i, value in enumerate(table[name]):
            try:
                values.append(parse(value))
            except ValueError as error:
                faults.append(((places[i] if places else "") or f"row {i + 1}", value, error))
        if faults:
            raise _fault(path, str(name), faults)
        table[name] = table[name].astype("str") if parse is cells.text else values
    return table


def facts(
    path: Path,
    columns: Sequence[str] = (),
    optional: Sequence[str] = (),
    *,
    rest: bool = False,
    unique: bool = True,
    given: Sequence[tuple[str, Row]] | None = None,
) -> "pd.DataFrame":
    """Return questions with their answers, and further columns as `read` does.

    The file gives `question` and the accepted answers in `object`, `answers` or `answer`, with other accepted names in
    `aliases` if there are any. All take what `cells.answers` takes; texts are split at | in `answers` and `aliases`.

    Besides `columns` and `optional` the table has fact_id (without such a column the question, after its split if there
    is one), question, object (the first answer) and aliases (list of all accepted answers, the object first; in a file
    that is not Parquet also as a reader sees them, `scoring.plain`). Raises DataError where a column is missing, a
    value is of another type or blank, or two facts that are to be `unique` have one fact_id.
    """
    import pandas as pd

    answers = ("object", "answers", "answer")
    table = read(
        path, ["question", *columns], ["fact_id", "aliases", *optional], any_of=answers, rest=rest, given=given
    )
    column = next(name for name in answers if name in table)
    found = table[column] if column == "object" else table.pop(column)
    others = table["aliases"] if "aliases" in table else [()] * len(table)
    table["aliases"] = [list(dict.fromkeys([*first, *names])) for first, names in zip(found, others, strict=True)]
    table["object"] = pd.Series([values[0] for values in found], index=table.index, dtype="str")
    if given is not None or kind(path) != "parquet":
        # A stage's own table is taken as it is. The paper's reading compares texts as they stand, so an answer of
        # somebody else's table, in characters that models do not write, counts in plain ones too.
        table["aliases"] = [list(dict.fromkeys([*names, *map(plain, names)])) for names in table["aliases"]]
    if "fact_id" not in table:
        splits = [f"{split}/" for split in table["split"]] if "split" in table else [""] * len(table)
        table.insert(0, "fact_id", [split + name for split, name in zip(splits, table["question"], strict=True)])
    if unique:
        refuse_twice(path, table["fact_id"], table["question"])
    return table


def refuse_twice(path: Path, ids: Iterable[str], questions: Iterable[str]) -> None:
    """Raise DataError, naming the lines of both, where two rows of a file have one id, or one question as their id."""
    seen: dict[str, int] = {}
    for row, (fact_id, question) in enumerate(zip(ids, questions, strict=True)):
        if (first := seen.setdefault(fact_id, row)) != row:
            places = [place for place, _ in rows(path)]
            said = f"question {question!r:.80}" if fact_id.endswith(question) else f"fact_id {fact_id!r:.80}"
            raise DataError(
                f"{path}, {places[row]}: the {said} stands there twice (first in {places[first]}); delete one "
                "(further accepted answers go into the list `answers`)"
            )


def text(path: Path, place: str, row: Row, column: str, parse: Callable[[Any], str] = cells.text) -> str:
    """Return the non-blank text in a column of one of `rows`; `parse` as in `cells`. Raises DataError."""
    try:
        return parse(row.get(column))
    except ValueError as error:
        raise _fault(path, column, [(place, row.get(column), error)]) from None


def _fault(path: Path, column: str, faults: Sequence[tuple[str, object, ValueError]]) -> DataError:
    """Return the error of the first of some (place, value, reason), which names the places of the next ones too."""
    place, value, reason = faults[0]
    shown = repr(value) if len(repr(value)) < 80 else repr(value)[:77] + "..."
    others = [where for where, _, _ in faults[1:_SHOWN]]
    more = f", and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    also = f" (the same column: {', '.join(others)}{more})" if others else ""
    return DataError(f"{path}, {place}: column {column!r} holds {shown}, {reason}, or delete the row{also}")


def fixed_sample(table: "pd.DataFrame", count: int, purpose: str = "") -> "pd.DataFrame":
    """Return `count` facts in the order of a hash of purpose and fact_id: fixed, part of every larger sample."""
    hashes = [hashlib.sha256(f"{purpose}{fact_id}".encode()).digest() for fact_id in table["fact_id"]]
    return table.iloc[sorted(range(len(table)), key=hashes.__getitem__)[:count]].reset_index(drop=True)


def dev_facts(table: "pd.DataFrame", count: int, path: Path) -> "pd.DataFrame":
    """Return a fixed sample of the dev facts, or of all where the table has no splits; `path` is for messages.

    They are never probed, and on them alone settings are chosen. Raises DataError where there are none.
    """
    table = table[table["split"] == "dev"] if "split" in table else table
    if table.empty:
        raise DataError(f"{path}: has no facts of split dev; give a table with some")
    return fixed_sample(table, count, "dev")


def used_by_order(mastery: "pd.DataFrame", train_set: str) -> "pd.DataFrame":
    """Return the train facts of a training set, for its order: columns FACT as far as there are, and split."""
    rows = mastery[mastery["split"] == "train"]
    # Of an unknown or empty set nothing is left out, so that the error can say what there is.
    members = rows[rows["bucket"] == train_set]
    return _columns(rows if members.empty else members, ("split", *FACT))


def used_by_recipe(mastery: "pd.DataFrame") -> "pd.DataFrame":
    """Return the train facts, of which the parts of a recipe take some: columns as `used_by_order`."""
    return _columns(mastery[mastery["split"] == "train"], ("split", *FACT))


def used_by_training(order: "pd.DataFrame", scale: str, allow_smaller: bool) -> "pd.DataFrame":
    """Return the rows that a scale takes of an order, for fine-tuning. Raises TrainingError as `take` does."""
    rows = training_sets.take(order, scale, allow_smaller)
    return _columns(rows, ("question", "object", "relation", "bucket", "phase"))


def used_by_evaluation(facts: "pd.DataFrame", reprobed: bool) -> "pd.DataFrame":
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
    """Return what an evaluation uses, and behind it dev facts: they have no bucket and no mastery."""
    import pandas as pd

    unknown = {"bucket": "", "mastery": float("nan")}
    added = dev.assign(split="dev", **{name: value for name, value in unknown.items() if name in asked})
    return pd.concat([asked, added[[name for name in asked if name in added]]], ignore_index=True)


def used_by_evaluation_of_training(order: "pd.DataFrame", scale: str) -> "pd.DataFrame":
    """Return the rows of an order that a model was trained on, each once, to be asked as split `train`."""
    rows = training_sets.take(order, scale, allow_smaller=True)
    return _columns(rows.drop_duplicates("fact_id") if "recipe" in rows else rows, FACT)


def used_by_divergence(mastery: "pd.DataFrame") -> "pd.DataFrame":
    """Return the test facts of D4, which are compared, and the train facts, which choose the templates."""
    rows = mastery[(mastery["split"] == "train") | ((mastery["split"] == "test") & (mastery["bucket"] == "D4"))]
    return _columns(rows, ("split", *FACT, "template_hits", "template_trials"))


def used_by_quality(mastery: "pd.DataFrame") -> "pd.DataFrame":
    """Return facts and hits; what follows from the hits, intervals and posteriors, is computed again.

    The posteriors of an adaptive probe (`template_trials`) do not follow from its hits, and are kept.
    """
    kept = ("template_trials", *(f"posterior_{name}" for name in BUCKETS)) if "template_trials" in mastery else ()
    return _columns(mastery, ("split", *FACT, *HITS, *kept))


def _columns(table: "pd.DataFrame", names: tuple[str, ...]) -> "pd.DataFrame":
    return table[[name for name in names if name in table]]
