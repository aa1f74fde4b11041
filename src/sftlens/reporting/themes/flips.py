"""Which questions were lost and which were gained, one by one: an average hides those that cancel out."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from sftlens.dag.contrasts import Contrast
from sftlens.dag.targets import ANSWERS, TARGETS, Target
from sftlens.data.buckets import BUCKETS
from sftlens.reporting import frames
from sftlens.reporting.themes.intervals import PLACE, aligned, answered, place

if TYPE_CHECKING:
    import pandas as pd

    from sftlens.results.answers import Answers

LOST, GAINED, NOISE = "Lost (%)", "Gained (%)", "Seed to seed (%)"
BEYOND = "beyond guessing (%)"
OF, ALL = "Of", "all"
_NUMBERS = ["Facts", LOST, GAINED, "Facts beyond guessing", f"Lost {BEYOND}", f"Gained {BEYOND}", NOISE, "Seeds"]
WAYS = ("right, then wrong", "wrong, then right")
EXAMPLES = 2
"""Of each way and model."""
_WORDS = ["Flip", "Relation", "Bucket", "Question", "Accepted", "Before", "After"]


def flips(answers: Answers) -> pd.DataFrame:
    """Return what each contrast of the grid lost and gained, in percent of the facts of a group (`statistics.flips`).

    One row a test split and group: all facts, each bucket, each relation. Columns: text that names the contrast, `Of`
    (the group) and _NUMBERS. Lost: right in the reference and wrong in the model. Beyond guessing: of the facts that
    the majority guess does not answer. Seed to seed: what one training of the model loses against another, the mean
    over all pairs; NaN for a single seed. A contrast whose answers are missing has no row.
    """
    import numpy as np
    import pandas as pd

    from sftlens.statistics.flips import count, shares

    rows = []
    for contrast, split in product(answered(answers), frames.TESTS):
        after, before, questions = aligned(answers, contrast, split)
        if not after:
            continue
        own = list(after.values())
        # Runs of equal seeds are pairs, or, where seeds are each side's own, every two of them.
        by_seed = contrast.pairing == "seeds"
        pairs = list(zip(before.values(), own, strict=True) if by_seed else product(before.values(), own))
        lost, gained = shares(pairs)
        noise = shares([(a, b) for a, b in product(own, own) if a is not b])[0] if len(own) > 1 else None
        groups = {ALL: np.ones(len(lost), dtype=bool)}
        groups |= {name: questions.buckets == i for i, name in enumerate(BUCKETS)}
        groups |= {str(name): questions.relations == name for name in dict.fromkeys(questions.relations)}
        named = {**place(contrast.condition, split), "Against": contrast.against}
        for name, group in groups.items():
            found = count(lost, gained, group, questions.guessed)
            floor = float("nan") if noise is None or not found.n else 100 * float(noise[group].mean())
            numbers = [found.n, 100 * found.lost, 100 * found.gained, found.beyond if questions.guessed is not None
                       else None, 100 * found.lost_beyond, 100 * found.gained_beyond, floor, len(own)]  # fmt: skip
            if found.n:
                rows.append({**named, OF: name, **dict(zip(_NUMBERS, numbers, strict=True))})
    table = pd.DataFrame(rows, columns=[*PLACE, "Against", OF, *_NUMBERS])
    return table.astype(dict.fromkeys(("Facts", "Facts beyond guessing", "Seeds"), "Int64"))


def examples(answers: Answers) -> pd.DataFrame:
    """Return questions of the ID test that models lost against their base, and gained: EXAMPLES each way and model.

    Of each model, training set and strategy the one trained on most; first what flipped in the most trainings, then
    what the base knew best (lost) or least (gained). The answer after training is that of the first seed that flipped.
    """
    import numpy as np
    import pandas as pd

    from sftlens.statistics.flips import flipped

    largest: dict[tuple[str, str, str], Contrast] = {}
    for contrast in answered(answers):
        one = contrast.condition
        if contrast.pairing == "fixed":
            key = (one.model, one.train_set, one.strategy)
            if key not in largest or frames.scales([one.scale, largest[key].condition.scale])[-1] == one.scale:
                largest[key] = contrast
    rows = []
    for contrast in largest.values():
        one, base = contrast.condition, contrast.reference
        words, questions = answers.wording(one.model, "test"), answers.questions(one.model, "test")
        [before] = answers.contains(base, "test").values()
        after = answers.contains(one, "test")
        said = answers.texts(base, next(iter(answers.conditions[base])), "test")
        for side, way in enumerate(WAYS):
            found = {seed: flipped(before, own)[side] for seed, own in after.items()}
            times = np.sum(list(found.values()), axis=0)
            known = questions.buckets if side else -questions.buckets
            for i in np.lexsort((known, -times))[: min(EXAMPLES, int((times > 0).sum()), len(words))]:
                seed = next(seed for seed, flips in found.items() if flips[i])
                texts = [
                    words["question"][i],
                    " | ".join(words["aliases"][i]),
                    said[i],
                    answers.texts(one, seed, "test")[i],
                ]
                bucket = BUCKETS[questions.buckets[i]] if questions.buckets[i] >= 0 else ""
                values = [way, questions.relations[i], bucket, *(" ".join(str(text).split()) for text in texts)]
                rows.append({**place(one, "test"), **dict(zip(_WORDS, values, strict=True))})
    return pd.DataFrame(rows, columns=[*PLACE[:4], *_WORDS])


def _page(table: pd.DataFrame) -> Any:
    return table[table[OF] == ALL].drop(columns=OF)


TARGETS.add(Target(
    "flips", 92.2, ANSWERS, "What was lost and what was gained, fact by fact",
    "The share of the facts that the model it stands against answers rightly and a row's model does not (lost), and "
    "the reverse (gained). Their difference is that of the accuracies over all facts, which hides what cancels out. "
    "The comparisons are those above. Beyond guessing: of the facts that the relation's most frequent answer does not "
    "answer, as elsewhere a right answer may be a guess (docs/statistics.md). Seed to seed: what one training of the "
    "model loses against another that differs in its seed alone; a loss of that size is none of what is compared. "
    "The CSV file has each bucket and each relation, too.",
    flips, folded=True, page=_page,
))  # fmt: skip
TARGETS.add(Target(
    "flip_examples", 92.4, ANSWERS, "Some facts that were lost and gained",
    f"Of each kind of training on the most facts, up to {EXAMPLES} ID test facts each way, against the base model in "
    "the prompt of fine-tuning: those that flipped in the most seeds, the best-known first where they were lost, the "
    "least-known where they were gained. Chosen for reading: they say nothing of how many there are.",
    examples,
))  # fmt: skip
