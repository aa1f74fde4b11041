"""Divergence of a fine-tuned model from its base at the first predicted token, one model in memory at a time.

KL(fine-tuned || base) over the fine-tuned model's largest logits, each set renormalised by itself (arXiv 2509.16596;
`sftlens.evaluation.divergence`). With templates the base reads the best completion sentence, as in the paper;
without them both models read the same prompt, and the number also holds what the prompt alone costs the base.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from sftlens.evaluation.divergence import full_kl
from sftlens.inference import checks
from sftlens.inference.prompts import token_ids
from sftlens.repair.inputs.chat import Prompting

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TOP = 10


def largest(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    facts: pd.DataFrame,
    prompting: Prompting,
    vocabulary: int,
    batch_tokens: int,
) -> pd.DataFrame:
    """Return each fact's TOP largest logits of the first answer token: fact_id, tokens (ids), logits (float32).

    Only tokens below `vocabulary` count: those that the base has too.
    """
    ids = prompting.questions(tokenizer, facts["question"].tolist())
    rows = {"fact_id": facts["fact_id"].tolist(), "tokens": [None] * len(ids), "logits": [None] * len(ids)}
    for places, logits in checks.first_logits(model, ids, batch_tokens):
        found = logits[:, :vocabulary].topk(min(TOP, vocabulary), dim=-1)
        for place, tokens, values in zip(places, found.indices.tolist(), found.values.tolist(), strict=True):
            rows["tokens"][place], rows["logits"][place] = tokens, values
    return pd.DataFrame(rows)


def divergence(
    base: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    facts: pd.DataFrame,
    finetuned: pd.DataFrame,
    prompting: Prompting,
    batch_tokens: int,
) -> pd.DataFrame:
    """Return KL(fine-tuned || base) of each fact, nats: fact_id, kl.

    Args:
        base: pre-trained model.
        tokenizer: its tokenizer.
        facts: with the column `sentence`, what the base reads; without it, it reads the question's prompt.
        finetuned: the table of `largest`, of these facts at least.
        prompting: how questions are asked.
        batch_tokens: speed and memory only.
    """
    if "sentence" in facts:
        ids = token_ids(tokenizer, facts["sentence"].tolist())
    else:
        ids = prompting.questions(tokenizer, facts["question"].tolist())
    chosen = finetuned.set_index("fact_id").loc[facts["fact_id"]]
    tokens = torch.tensor(np.array(chosen["tokens"].tolist()))
    p = torch.tensor(np.array(chosen["logits"].tolist(), dtype=np.float32))
    values = np.zeros(len(ids))
    for places, logits in checks.first_logits(base, ids, batch_tokens):
        q = logits.cpu().gather(-1, tokens[places])
        values[places] = full_kl(p[places], q).numpy()
    return pd.DataFrame({"fact_id": facts["fact_id"].tolist(), "kl": values})
