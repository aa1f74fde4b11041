"""Sampling facts round by round until each is decided (`adaptive`), and what that does to facts whose end is known.

A fact's first round takes a third of its templates, the second the others, each a sample; from then on every round
takes all of them and doubles what has been sampled, up to the full probe. The templates of the first round are a
pseudo-random choice of the fact's own, so that its samples are drawn over templates without replacement.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from sftlens.data import relations
from sftlens.data.buckets import BUCKETS, bucket
from sftlens.mastery import adaptive, completions
from sftlens.mastery.adaptive import Calibration
from sftlens.mastery.completions import Probe, Prompt, SampledBatch
from sftlens.mastery.quality import answer_probability
from sftlens.statistics import intervals

if TYPE_CHECKING:
    import pandas as pd

_BATCHES = 1_000_000
"""Numbers of batches set aside for a round."""
_ASKED = -1
"""The batch whose `hits` are the probabilities of the answers. They decide which prompts a round has, and so what its
batches' numbers mean: a probe that goes on elsewhere, where they may differ in a bit, takes those of its beginning."""


class Found(TypedDict, total=False):
    """What was found of a fact, by template; of a fixed probe the hits alone."""

    template_hits: list[int]
    template_trials: list[int]
    template_probabilities: list[float]


def plan(count: int, samples: int, permutation: Sequence[int]) -> Iterator[tuple[list[int], int]]:
    """Yield for each round the templates of a fact and how many samples of each; all together are a full probe."""
    third = -(-count // 3)
    yield list(permutation[:third]), 1
    yield list(permutation[third:]), 1
    drawn = 1
    while drawn < samples:
        more = min(drawn, samples - drawn)
        yield list(range(count)), more
        drawn += more


class Rounds:
    """The facts of a shard, or of several shards that are sampled together."""

    def __init__(
        self, probe: Probe, facts: "pd.DataFrame", calibration: Calibration | None, known: Mapping[str, Found]
    ) -> None:
        """Take facts as `completions.sample` does; those in `known`, by fact_id, are not sampled.

        Without a `calibration` the facts are probed in full, as the fixed protocol does. The progress of the probe is
        called with the number of templates of each decided fact.
        """
        self._probe, self._facts, self._calibration = probe, facts, calibration
        self._ids = facts["fact_id"].tolist()
        pairs = zip(facts["relation"], facts["subject"], strict=True)
        self._texts = [[relations.fill(t, subject) for t in probe.sentences[relation]] for relation, subject in pairs]
        self._starts = np.cumsum([0, *map(len, self._texts)])
        none = [Found(template_hits=[0] * len(own), template_trials=[0] * len(own)) for own in self._texts]
        self.found: list[Found] = [known.get(i, new) for i, new in zip(self._ids, none, strict=True)]
        """Of each fact."""
        self._left = [row for row, fact_id in enumerate(self._ids) if fact_id not in known]

    def sample(self, keep_texts: bool, done: Mapping[int, SampledBatch]) -> Iterator[SampledBatch]:
        """Sample what is not in `done`, batches by number, and yield it; `found` is complete when this ends.

        A batch's prompts are numbered by fact, then template; one comes again in each round that samples it. The first
        batch has the number -1, and probabilities in the place of hits.
        """
        probe, full = self._probe, self._probe.settings.samples
        probe.progress(int(self._starts[-1]) - sum(len(self._texts[row]) for row in self._left))
        if self._left:
            if (asked := done.get(_ASKED)) is None:
                yield (asked := self._asked())
            values = dict(zip(asked.prompts, asked.hits, strict=True))
            for row in self._left:
                start, end = self._starts[row : row + 2].tolist()
                own = [values[prompt] for prompt in range(start, end)]
                self.found[row] = {**self.found[row], "template_probabilities": own}
        rounds = {row: plan(len(self._texts[row]), full, self._permutation(row)) for row in self._left}
        number = 0
        while self._left:
            if self._calibration is None:
                drawn = {row: (list(range(len(self._texts[row]))), full) for row in self._left}
            else:
                drawn = {row: next(rounds[row]) for row in self._left}
            yield from self._round(number, drawn, keep_texts, done)
            self._left = self._undecided()
            number += 1

    def _asked(self) -> SampledBatch:
        """Return the probabilities of the answers of the facts that are sampled, by prompt."""
        silent, facts = replace(self._probe, progress=lambda prompts: None), self._facts.iloc[self._left]
        found = answer_probability.probabilities(silent, facts, silent.settings.temperature)["template_probabilities"]
        prompts = [prompt for row in self._left for prompt in range(*self._starts[row : row + 2].tolist())]
        return SampledBatch(_ASKED, prompts, [float(value) for values in found for value in values], [])

    def _round(
        self,
        number: int,
        drawn: Mapping[int, tuple[list[int], int]],
        keep_texts: bool,
        done: Mapping[int, SampledBatch],
    ) -> Iterator[SampledBatch]:
        pairs = [(row, template) for row, (chosen, _) in drawn.items() for template in chosen]
        if not pairs:
            return
        samples = next(iter(drawn.values()))[1]  # every fact is in the same round
        prompts = [Prompt(row, self._texts[row][template], self._stream(row, template)) for row, template in pairs]
        first = number * _BATCHES
        old = [batch for at, batch in sorted(done.items()) if first <= at < first + _BATCHES]
        for batch in old:
            self._add(batch, samples)
        finished = {batch.batch - first for batch in old}
        for batch in completions.draw(self._probe, self._facts, prompts, samples, keep_texts=keep_texts, done=finished):
            flat = [int(self._starts[row]) + template for row, template in (pairs[at] for at in batch.prompts)]
            numbered = replace(batch, batch=first + batch.batch, prompts=flat)
            self._add(numbered, samples)
            yield numbered

    def _add(self, batch: SampledBatch, samples: int) -> None:
        for prompt, hits in zip(batch.prompts, batch.hits, strict=True):
            row = int(np.searchsorted(self._starts, prompt, side="right")) - 1
            template = prompt - int(self._starts[row])
            self.found[row]["template_hits"][template] += int(hits)
            self.found[row]["template_trials"][template] += samples

    def _undecided(self) -> list[int]:
        """Return the facts that are sampled further, of those that were up to now; tell of the others."""
        settings, going = self._probe.settings, set()
        for size in sorted({len(self._texts[row]) for row in self._left}):
            rows = [row for row in self._left if len(self._texts[row]) == size]
            facts = [self.found[row] for row in rows]
            enough = np.array([sum(fact["template_trials"]) for fact in facts]) >= size * settings.samples
            if self._calibration is not None:
                judged = adaptive.judge(adaptive.gathered(facts), self._calibration, settings.samples)
                enough |= judged.decided(settings.margin)
            going |= {row for row, ends in zip(rows, enough.tolist(), strict=True) if not ends}
            self._probe.progress(size * int(enough.sum()))
        return [row for row in self._left if row in going]

    def _stream(self, row: int, template: int) -> bytes:
        """Return what seeds the next samples: streams of their own, or in a full probe those of the fixed protocol."""
        text = self._texts[row][template]
        if self._calibration is not None:
            text = f"{text}\0{self.found[row]['template_trials'][template]}"
        return completions.stream(self._probe.settings.seed, self._probe.of, self._ids[row], text)

    def _permutation(self, row: int) -> list[int]:
        """Return the fact's templates in its own pseudo-random sequence."""
        streams = [hashlib.sha256(self._stream(row, template)).digest() for template in range(len(self._texts[row]))]
        return sorted(range(len(streams)), key=streams.__getitem__)


def replayed(
    full: Sequence[Found], calibration: Calibration, samples: int, margin: float, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities of the buckets, float64 [facts, 5], at which facts with a full probe would have stopped.

    Also how many samples each would have taken, int64 [facts]. Their samples are taken in a random sequence, as far as
    the rule wants them. All have equally many templates.
    """
    random = np.random.default_rng(seed)
    given, count = adaptive.gathered(full), len(full[0]["template_hits"])
    order = random.permuted(np.broadcast_to(np.arange(samples), (len(full), count, samples)), axis=2)
    hit = order < given.hits[:, :, None]  # a hit or a miss, sample by sample
    trials = np.zeros_like(given.hits)
    plans = [list(plan(count, samples, random.permutation(count).tolist())) for _ in full]
    chances, left = np.zeros((len(full), len(BUCKETS))), np.arange(len(full))
    for steps in zip(*plans, strict=True):
        for row in left:
            trials[row, steps[row][0]] += steps[row][1]
        hits = (hit & (np.arange(samples) < trials[:, :, None])).sum(axis=2)
        judged = adaptive.judge(adaptive.Evidence(given.probabilities, hits, trials).only(left), calibration, samples)
        chances[left] = judged.chances
        left = left[~judged.decided(margin)]
        if not len(left):
            break
    # What was probed to its end is known.
    for row in np.flatnonzero(trials.sum(axis=1) == count * samples):
        chances[row] = np.eye(len(BUCKETS))[BUCKETS.index(bucket(given.hits[row].sum() / (count * samples)))]
    return chances, trials.sum(axis=1)


def metrics(table: "pd.DataFrame", stopped: "pd.DataFrame", samples: int) -> list[dict[str, Any]]:
    """Return how an adaptive probe went, as rows of metrics.

    `table` is its mastery table; `stopped` its facts that were probed in full to calibrate it, with the columns split,
    bucket (of the full probe) and P_D0 .. P_D4 (`replayed`). `trials_share`: samples drawn, of those of a full probe;
    `calibration_agreement`: facts of `stopped` for which the rule finds the bucket of their full probe, with its
    Wilson interval; per split and bucket `facts_in_full`, the number of facts that a full probe of all would find: the
    difference estimator (Saerndal, Swensson & Wretman, Model Assisted Survey Sampling, 1992), unbiased whatever the
    calibration is, with its 95 % interval.
    """
    trials = np.array([len(hits) * samples for hits in table["template_hits"]])
    names = [f"P_{name}" for name in BUCKETS]
    rows: list[dict[str, Any]] = [
        {"metric": "trials_share", "value": float(table["trials"].sum() / max(1, trials.sum())), "n": len(table)}
    ]
    if len(stopped):
        medians = np.array(BUCKETS)[adaptive.median(stopped[names].to_numpy())]
        same = int((medians == stopped["bucket"].to_numpy()).sum())
        low, high = intervals.wilson(same, len(stopped))
        share = {"value": same / len(stopped), "n": len(stopped), "low": low, "high": high}
        rows.append({"metric": "calibration_agreement", **share})
    # As in `replayed`, the bucket of a fact that was probed to its end is known.
    ended = (table["trials"] == trials).to_numpy()
    sure = {name: table[f"posterior_{name}"].where(~ended, table["bucket"] == name) for name in BUCKETS}
    for split, part in table.groupby("split", sort=False):
        known = stopped[stopped["split"] == split]
        others = part[~part["fact_id"].isin(known["fact_id"])]
        for name in BUCKETS if len(known) > 1 else ():
            errors = (known["bucket"] == name) - known[f"P_{name}"]
            whole = float((known["bucket"] == name).sum() + sure[name][others.index].sum())
            value = whole + len(others) * float(errors.mean())
            # Of the facts that were not probed in full; the others are known.
            error = intervals.Z95 * len(others) * float(errors.std(ddof=1)) / len(known) ** 0.5
            ends = {"low": value - error, "high": value + error}
            place = {"split": split, "bucket": name, "metric": "facts_in_full", "n": len(part)}
            rows.append({**place, "value": value, **ends})
    return rows
