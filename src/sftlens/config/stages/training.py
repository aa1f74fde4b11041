"""Settings of supervised fine-tuning (paper section 3; what it leaves open is marked in the README)."""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from sftlens.settings import Location, Settings
from sftlens.tasks import DEFAULT, TASKS

if TYPE_CHECKING:
    TaskName = str
else:
    TaskName = Literal[tuple(TASKS.names())]


class EarlyStopping(Settings):
    """The weights with the lowest loss on dev facts are kept; training ends when they are no more beaten."""

    every: int = Field(10, ge=1)
    """Optimiser steps between two looks; the last step is looked at, too."""
    patience: int = Field(3, ge=1)
    """Looks in a row without a lower loss after which training stops."""
    facts: int = Field(200, ge=1)
    """Dev facts that are looked at: a fixed sample."""


class FinetuneSettings(Settings):
    """One fine-tuning run on question-answer pairs, loss on the answer only."""

    task: TaskName = DEFAULT
    """What is trained on: prompt, target and judgements."""
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
    early_stopping: EarlyStopping | None = None
    """Keep the weights that are best on dev facts, and stop early; the learning rate falls as if training went on."""
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
    offload: Literal["none", "optimizer", "parameters"] = "none"
    """What a GPU keeps in the main memory: optimiser and fp32 weights (ZeRO 1-3), also the weights (ZeRO 3)."""
    deepspeed: Location | None = None
    """JSON file with further DeepSpeed options (config/deepspeed has some); what this table sets stays with it."""
    keep: Literal["checkpoints", "deltas", "none"] = "checkpoints"
    """Keep models whole, as lossless `deltas` from the base, or `none` once measured (later ratios train again)."""
    checkpoint_minutes: float = Field(20.0, gt=0)
    """Minutes between two saved training states, from which a killed run goes on; changes no result."""
    checkpoint_steps: int | None = Field(None, ge=1)
    """Steps between two saved training states, besides the minutes; changes no result."""
    notice_seconds: float = Field(30.0, gt=0)
    """Seconds between SIGTERM and the end of a job (Slurm's KillWait); a state that takes longer to save is saved more
    often. Changes no result."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.dtype == "bfloat16" and self.zero_stage == 0:
            raise ValueError(
                "bfloat16 needs zero_stage 1 or more (stage 0 keeps no fp32 master weights); "
                "set zero_stage: 1 or dtype: float32"
            )
        if self.micro_batch_size and self.micro_batch_size > self.batch_size:
            raise ValueError(
                f"micro_batch_size {self.micro_batch_size} is larger than batch_size {self.batch_size}; lower it"
            )
        if self.offload == "optimizer" and self.zero_stage == 0:
            raise ValueError("offload: optimizer needs zero_stage 1 or more; set zero_stage: 1 or offload: none")
        if self.offload == "parameters" and self.zero_stage < 3:
            raise ValueError(
                f"offload: parameters needs zero_stage 3 (it is {self.zero_stage}: every process holds all weights); "
                "set zero_stage: 3 or offload: optimizer"
            )
        return self


HOUSEKEEPING = {"keep", "checkpoint_minutes", "checkpoint_steps", "notice_seconds"}
"""Settings that change no result."""


class TaskSettings(Settings):
    """How long the samples and outputs of a task are; what is unset is the task's own (docs/tasks.md)."""

    sample: int | None = Field(None, ge=0)
    """Test examples (a fixed sample) that are answered; 0: all. Unset: xsum 500, gsm8k all."""
    max_new_tokens: int | None = Field(None, ge=1)
    """Longest output, tokens. Unset: xsum 128, gsm8k 512."""
    max_length: int | None = Field(None, ge=8)
    """Longest training sample, and longest prompt with its output, tokens; a long article of xsum is cut, anything else
    refused. Unset: 1024."""

    def limits(self, task: str) -> dict[str, int]:
        """Return every setting of this class with the task's own in the place of what is unset."""
        own = TASKS.get(task)
        given = {name: getattr(self, name) for name in TaskSettings.model_fields}
        return {name: getattr(own, name) if value is None else value for name, value in given.items()}


class TaskFiles(TaskSettings):
    """A task to fine-tune on: its files, JSON lines, Parquet or CSV in the published form of its data."""

    train: Location
    """Examples that models are trained on; a scale takes the first n in a seeded order."""
    test: Location
    """Examples that models fine-tuned on the task, restored ones and the base model are asked."""
    dev: Location | None = None
    """Examples that early stopping looks at, and that models are asked besides those of `test`: on them the k of a
    restoration is chosen (claim C10)."""
