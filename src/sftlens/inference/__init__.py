"""One engine for greedy decoding and for sampling.

Prompts of equal length share a batch within a budget of tokens, so there is no padding; a prefix that all prompts of a
batch share is computed once, and every prompt once for all its samples; rows leave the batch when they end. A GPU reads
prompts of all lengths at once and decodes in slots (`slots`): for it a launch costs more than some padding.
"""

from sftlens.inference.forward import Batch, batches, check_prompts, first_logits
from sftlens.inference.greedy import ends, greedy
from sftlens.inference.sampling import Sampled, sample

__all__ = ["Batch", "Sampled", "batches", "check_prompts", "ends", "first_logits", "greedy", "sample"]
