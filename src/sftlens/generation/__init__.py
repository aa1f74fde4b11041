"""One engine for greedy decoding and for sampling.

Prompts of equal length share a batch within a budget of tokens, so there is no padding; what all prompts of a batch
begin with is computed once, and every prompt once for all its samples; rows leave the batch when they end.
"""

from sftlens.generation.batching import Batch, batches, check_prompts
from sftlens.generation.forward import first_logits
from sftlens.generation.greedy import greedy
from sftlens.generation.sampling import Sampled, sample

__all__ = ["Batch", "Sampled", "batches", "check_prompts", "first_logits", "greedy", "sample"]
