"""Exact ancestral sampling of many continuations of each prompt, on the tree of their distinct prefixes.

The idea. To estimate a fact's mastery, ten samples of a prompt are drawn. Many of them begin alike, and a model's
logits depend on the prefix alone. So the samples of a prompt are kept as a tree: each distinct prefix is one row of
the batch and of the KV cache, computed once, and holds the samples that share it. In each step

1. the model reads the last token of every prefix and gives the logits of the next (`_Walk._read`);
2. every sample draws its own token with its own uniform number, by the inverse of the cumulative probabilities
   (`drawing.draw`); the samples of a prefix that drew the same token become one new prefix (`_grown`);
3. a prefix leaves the tree with all its samples when it ends (EOS), or when it holds what is looked for, since what
   follows cannot change that (`_finish`).

Each sample has the distribution of one that is drawn alone: sharing changes who computes the logits, not which numbers
decide. The uniform numbers come from a stream of the prompt's own (Philox, seeded by sixteen bytes), so that no result
depends on the sequence or the size of the batches, up to rounding. Where a tree has more rows than the batch has room
for, its parts are walked one after another, depth first.

Example. Four samples have the uniform numbers 0.1 0.5 0.6 0.9 for the first token, and the model gives the tokens A B
C the probabilities 0.4 0.3 0.3: cumulated 0.4 0.7 1.0. The samples draw A B B C, so the tree has the rows A (1
sample), B (2), C (1), and the model's next step has three rows instead of four. If the text of B holds the answer,
that is two hits, and A and C go on alone.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from sftlens.inference import drawing, forward, slots
from sftlens.inference.forward import Batch, batches, check_prompts
from sftlens.inference.slots import Slots

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Found = Callable[[list[int], list[list[int]]], Sequence[bool]]
"""(index of its prompt, new tokens) of each prefix -> whether these tokens hold what is looked for."""

_GROWTH = 3
"""Distinct unfinished prefixes of a prompt, about, where a tree is widest (3.4 seen)."""

Ends = list[list[tuple[list[int], int]]]
"""For each prompt its distinct outputs and how many samples ended so."""


@dataclass(frozen=True)
class Sampled:
    """The finished samples of one batch of prompts."""

    number: int
    """Of the batch in the plan of these prompts."""
    indices: list[int]
    """The batch's prompts, indices in the caller's list."""
    hits: np.ndarray
    """int64 [prompts]: samples that hold what is looked for."""
    outputs: Ends
    """EOS left out; an output ends where what is looked for was found. Empty unless asked for."""


@torch.inference_mode()
def sample(
    model: "PreTrainedModel",
    prompts: Sequence[Sequence[int]],
    streams: Sequence[bytes],
    found: Found,
    *,
    samples: int,
    temperature: float,
    max_new_tokens: int,
    eos: int | Sequence[int],
    batch_tokens: int,
    keep_outputs: bool = False,
    done: Container[int] = (),
) -> Iterator[Sampled]:
    """Sample continuations of each prompt, and yield batch by batch how many hold what is looked for.

    Args:
        model, prompts: causal language model, token ids.
        streams: sixteen bytes for each prompt that seed its uniform numbers.
        found: called for every distinct prefix after each new token; a prefix that holds it is followed no further.
        samples, temperature, max_new_tokens: how many continuations, how random, how long.
        eos: token that ends a continuation, or several of them.
        batch_tokens: tokens of prompts and continuations held side by side, on a GPU by two batches together;
            where the tree grows beyond, its parts are computed one after another.
        keep_outputs: yield the distinct outputs too.
        done: numbers of batches that are not computed again. The batches depend on prompts, samples, max_new_tokens,
            batch_tokens and the kind of model alone.

    Raises:
        DataError: a prompt does not fit the model's context.
        ModelError: a token is not in the model's vocabulary, or its logits are NaN or Inf.
    """
    check_prompts(prompts, max_new_tokens, model)
    mixed, expected = forward.may_mix(model), batch_tokens // min(samples, _GROWTH)
    lanes = 2 if slots.on_one_gpu(model) else 1

    def walk(lane: int, number: int, batch: Batch) -> Iterator[Sampled | None]:
        uniforms = np.stack([_uniforms(streams[index], samples, max_new_tokens) for index in batch.indices])
        width = batch.longest + max_new_tokens
        rows = max(1, batch_tokens // width // lanes)
        room = slots.slots_for(model, lane, rows, width) if mixed else None
        begun = _Walk(model, batch.indices, uniforms, found, temperature, eos, rows, room)
        return begun.run(number, batch, keep_outputs)

    numbered = enumerate(batches(prompts, expected, max_new_tokens, mixed=mixed))
    walks = (partial(walk, number=number, batch=batch) for number, batch in numbered if number not in done)
    yield from _in_turns(walks, lanes)


def _in_turns(walks: Iterator[Callable[[int], Iterator[Sampled | None]]], lanes: int) -> Iterator[Sampled]:
    """Take a step of each of `lanes` walks in turn: while a GPU computes that of one, the CPU reads another's."""
    running: dict[int, Iterator[Sampled | None]] = {}
    while True:
        for lane in range(lanes):
            while True:
                if lane not in running:
                    if (walk := next(walks, None)) is None:
                        break
                    running[lane] = walk(lane)
                if (found := next(running[lane])) is None:
                    break
                del running[lane]
                yield found
        if not running:
            return


def _uniforms(stream: bytes, samples: int, steps: int) -> np.ndarray:
    generator = np.random.Generator(np.random.Philox(key=int.from_bytes(stream, "little")))
    return generator.random((samples, steps))


@dataclass(frozen=True)
class _Tree:
    """The distinct unfinished prefixes of a batch; several samples of a prompt may share one."""

    prompt: np.ndarray
    """int [rows]: the prompt of each prefix, its row in the batch."""
    tokens: np.ndarray
    """int [rows, depth]: the new tokens of each prefix."""
    owner: np.ndarray
    """int [unfinished samples]: the prefix of each, ascending."""
    number: np.ndarray
    """int [unfinished samples]: which of its prompt's samples it is."""

    @property
    def counts(self) -> np.ndarray:
        """int [rows]: samples that share each prefix."""
        return np.bincount(self.owner, minlength=len(self.prompt))

    def arranged(self, order: np.ndarray) -> "_Tree":
        """Return the same tree with its prefixes in another order, int [rows]."""
        place = np.argsort(order)[self.owner]
        by = np.argsort(place, kind="stable")
        return _Tree(self.prompt[order], self.tokens[order], place[by], self.number[by])

    def only(self, rows: np.ndarray) -> "_Tree":
        """Return the tree of some prefixes, ascending rows."""
        place = np.full(len(self.prompt), -1)
        place[rows] = np.arange(len(rows))
        kept = place[self.owner] >= 0
        return _Tree(self.prompt[rows], self.tokens[rows], place[self.owner[kept]], self.number[kept])


@dataclass(frozen=True)
class _Walk:
    """Walks through the tree of one batch, never holding many more than `rows` rows of cache at once."""

    model: "PreTrainedModel"
    indices: list[int]
    uniforms: np.ndarray
    """float64 [prompts, samples, steps]."""
    found: Found
    temperature: float
    eos: int | Sequence[int]
    rows: int
    slots: Slots | None

    def run(self, number: int, batch: Batch, keep_outputs: bool) -> Iterator[Sampled | None]:
        """Yield None whenever the next tokens are being computed, and at last what the samples of `batch` hold."""
        prompts, samples, steps = self.uniforms.shape
        ends: Ends | None = [[] for _ in batch.indices] if keep_outputs else None
        hits = np.zeros(prompts, dtype=np.int64)
        owner, which = np.divmod(np.arange(prompts * samples), samples)
        tree = _Tree(np.arange(prompts), np.zeros((prompts, 0), dtype=np.int64), owner, which)
        waiting: list[tuple[forward.State | Slots | None, np.ndarray, _Tree]] = [(None, np.arange(0), tree)]
        while waiting:
            state, parents, tree = waiting.pop()
            if isinstance(state, forward.State):  # slots see to it themselves
                order = forward.staying(parents)
                parents, tree = parents[order], tree.arranged(order)
            logits, state = self._read(batch, state, parents, tree, keep=any(other[0] is state for other in waiting))
            uniforms = self.uniforms[tree.prompt[tree.owner], tree.number, tree.tokens.shape[1]]
            drawn = drawing.draw(logits, self.temperature, tree.owner, tree.counts, uniforms)
            yield None
            tokens, sums = drawn()
            forward.refuse_damaged(self.model, sums)
            parents, tree = _grown(tree, tokens)
            going = self._finish(tree, hits, ends)
            if tree.tokens.shape[1] < steps:
                parts = np.array_split(going, -(-len(going) // self.rows)) if len(going) else []
                if len(parts) > 1 and isinstance(state, Slots):
                    state = state.unload(self.model)
                waiting += [(state, parents[part], tree.only(part)) for part in reversed(parts)]
            elif ends is not None:
                _record(tree, going, ends)
        yield Sampled(number, batch.indices, hits, ends or [])

    def _read(
        self, batch: Batch, state: forward.State | Slots | None, parents: np.ndarray, tree: _Tree, *, keep: bool
    ) -> tuple[torch.Tensor, forward.State | Slots]:
        if state is None:
            return forward.prefill(self.model, batch)
        tokens = forward.sent(torch.from_numpy(tree.tokens[:, -1]), self.model.device)
        return slots.read_on(self.model, state, parents, tokens, self.slots, keep=keep)

    def _finish(self, tree: _Tree, hits: np.ndarray, ends: Ends | None) -> np.ndarray:
        """Count the hits among the new prefixes; return the rows that go on."""
        ended = np.isin(tree.tokens[:, -1], self.eos)
        going = np.flatnonzero(~ended)
        found = np.zeros(0, dtype=np.int64)
        if len(going):
            indices = [self.indices[prompt] for prompt in tree.prompt[going]]
            holds = np.array(self.found(indices, tree.tokens[going].tolist()), dtype=bool)
            found, going = going[holds], going[~holds]
        np.add.at(hits, tree.prompt[found], tree.counts[found])
        if ends is not None:
            _record(tree, np.flatnonzero(ended), ends, without=1)
            _record(tree, found, ends)
        return going


def _grown(tree: _Tree, drawn: np.ndarray) -> tuple[np.ndarray, _Tree]:
    """Return the parent row of each new prefix, and the new tree; `drawn` are the next tokens of its samples."""
    order = np.lexsort((drawn, tree.owner))
    rows, drawn = tree.owner[order], drawn[order]
    new = np.r_[True, (rows[1:] != rows[:-1]) | (drawn[1:] != drawn[:-1])]
    parents, last = rows[new], drawn[new]
    tokens = np.concatenate([tree.tokens[parents], last[:, None]], axis=1)
    return parents, _Tree(tree.prompt[parents], tokens, np.cumsum(new) - 1, tree.number[order])


def _record(tree: _Tree, rows: np.ndarray, ends: Ends, without: int = 0) -> None:
    """Append finished outputs, `without` their last tokens."""
    length = tree.tokens.shape[1] - without
    counts = tree.counts
    for row in rows.tolist():
        ends[tree.prompt[row]].append((tree.tokens[row, :length].tolist(), int(counts[row])))
