"""Settings of supervised fine-tuning (paper section 3; what it leaves open is marked in the README)."""

from typing import Literal

from pydantic import Field

from sftlens.settings import Settings


class FinetuneSettings(Settings):
    """One fine-tuning run on question-answer pairs, loss on the answer only."""

    learning_rate: float = Field(1e-5, gt=0)
    """Peak learning rate of AdamW; cosine to 0."""
    batch_size: int = Field(8, ge=1)
    """Samples of a global batch, whatever the number of processes."""
    epochs: int = Field(1, ge=1)
    """Passes over the training set."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """AdamW's first decay rate."""
    beta2: float = Field(0.999, ge=0, lt=1)
    """AdamW's second decay rate."""
    epsilon: float = Field(1e-8, gt=0)
    """AdamW's epsilon."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's decoupled weight decay."""
    gradient_clipping: float = Field(1.0, gt=0)
    """Largest norm of the global gradient."""
    warmup_steps: int = Field(0, ge=0)
    """Steps of linear warm-up."""
    max_length: int = Field(256, ge=8)
    """Longest sample, tokens; a longer one is refused, never cut."""
    allow_smaller: bool = False
    """Train on fewer examples when a bucket is smaller than the scale; the number is recorded."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Type of the weights; bfloat16 keeps an fp32 master copy and fp32 optimiser state."""
    zero_stage: int = Field(1, ge=0, le=3)
    """ZeRO stage: processes share nothing (0, float32 only), optimiser (1), gradients (2), weights (3)."""
    micro_batch_size: int | None = Field(None, ge=1)
    """Samples that one process computes at a time; unset: its whole share of the batch."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass to save memory."""
