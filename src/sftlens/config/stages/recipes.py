"""Settings of recipes: training sets of one's own, made of parts (docs/training.md)."""

from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, Field, model_validator

from sftlens.gate import repeated
from sftlens.settings import Location, Settings

Bucket = Literal["D0", "D1", "D2", "D3", "D4"]
TOLERANCE = 1e-6
"""Percent that shares such as 33.3333333 may miss 100 by."""


def _once(values: list[str]) -> list[str]:
    if (twice := repeated(values)) is not None:
        raise ValueError(f"{twice!r} stands there twice; list it once")
    return values


class Part(Settings):
    """One part of a training set: which rows it takes, and its share of the set."""

    share: float = Field(100.0, gt=0, le=100)
    """Percent of the set's rows, whatever the scale; those of all parts sum to 100."""
    buckets: Annotated[list[Bucket], AfterValidator(_once)] = Field(list(get_args(Bucket)), min_length=1)
    """Mastery buckets of the train facts that it takes."""
    relations: Annotated[list[str], AfterValidator(_once)] = []
    """Relations of these facts; empty: all that have train facts. They take turns."""
    except_relations: Annotated[list[str], AfterValidator(_once)] = []
    """Relations that are left out."""
    file: Location | None = None
    """Questions of your own in the place of train facts: a table with the columns question and object (or answers), and
    perhaps relation."""
    facts: int | None = Field(None, ge=1)
    """Take only so many different rows; unset: all there are."""
    repeat: int = Field(1, ge=1, le=1000)
    """How often a row may stand in the set: all of them once, then again."""
    answers: Literal["gold", "own"] = "gold"
    """What is trained on: the facts' own answers, or the most frequent right completion that the base model gave while
    it was probed (needs `probing.keep_texts: true`)."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        chosen = {"buckets", "relations", "except_relations", "answers"} & self.model_fields_set
        if self.file and chosen:
            raise ValueError(f"`file` and `{min(chosen)}` exclude each other: a file's rows are taken as they are")
        if both := set(self.relations) & set(self.except_relations):
            raise ValueError(
                f"relation {min(both)!r} stands in `relations` and in `except_relations`; take it out of one"
            )
        return self

    def shares_facts_with(self, other: "Part") -> bool:
        """Whether a fact could be taken by both parts."""
        if self.file or other.file or not set(self.buckets) & set(other.buckets):
            return False
        left = set(self.relations) - set(other.except_relations), set(other.relations) - set(self.except_relations)
        if self.relations and other.relations:
            return bool(left[0] & left[1])
        return bool((not self.relations or left[0]) and (not other.relations or left[1]))


class Recipe(Settings):
    """A training set of one's own: `train_sets` may name it. Seeded, and every scale has exactly the shares."""

    parts: dict[str, Part] = Field(min_length=1)
    """Its parts by names of yours."""
    order: list[str] = []
    """The parts in the order in which they are trained, one after another; empty: all rows are shuffled."""
    by_pass: bool = Field(False, exclude_if=lambda value: not value)
    """Train all rows once before any of them comes again (`repeat`), as in epochs."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if abs((total := sum(part.share for part in self.parts.values())) - 100) > TOLERANCE:
            raise ValueError(f"the shares of its parts sum to {total:g}, not to 100; correct one")
        if self.order and sorted(self.order) != sorted(self.parts):
            raise ValueError(f"`order` must name each part once: {', '.join(self.parts)}; or leave it out")
        if self.order and self.by_pass:
            raise ValueError("`order` and `by_pass` exclude each other: each says what is trained first; take one out")
        named = list(self.parts.items())
        for i, (name, part) in enumerate(named):
            for other, later in named[i + 1 :]:
                if part.shares_facts_with(later):
                    raise ValueError(
                        f"parts {name!r} and {other!r} could take the same fact; give them other buckets, or keep a "
                        "relation out of one (`except_relations`)"
                    )
        return self
