"""Questions asked while a model is trained: what it still answers at chosen steps, and when enough is lost to stop.

A look leaves the training as it was: the model computes without gradients and draws no random number. Processes share
the questions and answer them in step, without a KV cache: at ZeRO stage 3 all must compute equally often, and gather
each layer's weights while it computes. So any strategy, stage and number of processes is looked at in the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from sftlens.config.stages.evaluation import DuringSettings, guarded
from sftlens.data.buckets import BUCKETS
from sftlens.data.scoring import contains
from sftlens.inference import check_prompts
from sftlens.inference.prompts import MASKED, Sample
from sftlens.training.deepspeed_engine import Process
from sftlens.training.step import answer_logits, padded

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROWS = 64
"""Questions that a process answers at a time."""
KNOWN = "known"
"""Stands in the place of a bucket for the facts that `stop_when_lost` looks at."""


@dataclass(frozen=True)
class Asked:
    """What is asked at each look; equal lengths, a place each question."""

    prompts: Sequence[Sequence[int]]
    """Token ids."""
    accepted: Sequence[Sequence[str]]
    """Accepted answers."""
    splits: Sequence[str]
    """"" where they are unknown; so are the buckets."""
    buckets: Sequence[str]
    settings: DuringSettings
    max_new_tokens: int


class Looks:
    """Asks an engine's model; without questions nothing is done."""

    def __init__(
        self, engine: Any, asked: Asked | None, tokenizer: "PreTrainedTokenizerBase | None", process: Process
    ) -> None:
        """Raises DataError where a prompt does not fit the model's context."""
        self._engine, self._asked, self._tokenizer, self._process = engine, asked, tokenizer, process
        self._groups: dict[tuple[str, str], list[int]] = {}
        if asked:
            check_prompts(asked.prompts, asked.max_new_tokens, engine.module)
            places = list(enumerate(zip(asked.splits, asked.buckets, strict=True)))
            for split in dict.fromkeys(asked.splits):
                for name in (*BUCKETS, "all"):
                    self._groups[split, name] = [i for i, at in places if at[0] == split and name in (at[1], "all")]
            if asked.settings.stop_when_lost:
                self._groups["", KNOWN] = [i for i, at in places if guarded(*at)]

    def look(self, number: int, steps: int, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
        """After step `number` of `steps` (0: before the first): append what is answered, if it is time for a look.

        Every process must call it. `rows` are those of the looks so far, also of a run that was resumed: one for each
        split and bucket, with step, right and n. Returns why training ends here, or None.
        """
        if not self._asked or not (number in self._asked.settings.during or number in (0, steps)):
            return None
        right = self._answered()
        for (split, name), places in self._groups.items():
            if places:
                count = {"right": round(float(right[places].sum())), "n": len(places)}
                rows.append({"step": number, "split": split, "bucket": name, **count})
        known, limit = [row for row in rows if row["bucket"] == KNOWN], self._asked.settings.stop_when_lost
        if limit is None or not known or number == steps:
            return None
        best, now = max(known, key=lambda row: int(row["right"])), known[-1]
        lost = 100 * (best["right"] - now["right"]) / now["n"]
        if lost < limit:
            return None
        why = (
            f"training stops after step {number} of {steps}: of {now['n']} facts that the base knows and that are "
            f"neither trained on nor test facts {now['right']} are answered, and {best['right']} were after step "
            f"{best['step']}: {lost:.1f} points lost, stop_when_lost is {limit:g}"
        )
        return {"step": number, "points_lost": lost, "facts": now["n"], "why": why}

    def _answered(self) -> torch.Tensor:
        """Return whether each question is answered with an accepted answer, fp32 [questions], in every process."""
        asked, process, tokenizer = self._asked, self._process, self._tokenizer
        assert asked and tokenizer
        mine = range(process.rank, len(asked.prompts), process.world_size)
        right = torch.zeros(len(asked.prompts), device=process.device)
        self._engine.eval()
        # As many batches in each process, and as many tokens of each: who has no question left computes padding.
        for start in range(0, -(-len(asked.prompts) // process.world_size), ROWS):
            places = mine[start : start + ROWS]
            texts = [list(asked.prompts[i]) for i in places] or [[0]]
            going = [bool(places)] * len(texts)
            for _ in range(asked.max_new_tokens):
                for i, token in enumerate(self._next(texts)):
                    if going[i]:
                        texts[i].append(token)
                        going[i] = token != tokenizer.eos_token_id
                left = torch.tensor(float(any(going)), device=process.device)
                torch.distributed.all_reduce(left)
                if not left:
                    break
            for i, text in zip(places, texts, strict=False):
                said = tokenizer.decode(text[len(asked.prompts[i]) :], skip_special_tokens=True)
                right[i] = contains(str(said), asked.accepted[i])
        self._engine.train()
        torch.distributed.all_reduce(right)
        return right.cpu()

    def _next(self, texts: Sequence[Sequence[int]]) -> list[int]:
        """Return the most probable next token of each text."""
        # The token to come, whatever it is, is supervised: its logits are computed and no others.
        samples = [Sample([*text, 0], [MASKED] * len(text) + [0]) for text in texts]
        with torch.no_grad():
            logits, _ = answer_logits(self._engine, *padded(samples, self._process.device))
        return list(map(int, logits.argmax(-1).tolist()))
