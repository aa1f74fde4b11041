"""Settings of closed-book answers (paper section 4) and of the token-level divergence (section 5)."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from sftlens.config.stages.training import TaskName, TaskSettings
from sftlens.settings import Location, Settings
from sftlens.tasks import DEFAULT


class EvaluationSettings(Settings):
    """Greedy answers to the questions, in the prompt of fine-tuning."""

    task: TaskName = DEFAULT
    """What is asked: prompt, target and judgements."""
    max_new_tokens: int = Field(16, ge=1)
    """Longest answer, tokens."""
    reprobe: int = Field(100, ge=0)
    """Test facts (a fixed sample) whose mastery is measured again on the model; 0 leaves this out."""
    # Left out where none are asked, so that results made before there was this choice keep their keys.
    dev_facts: int = Field(0, ge=0, exclude_if=lambda count: not count)
    """Dev facts (a fixed sample) that are asked besides, as split `dev`: on them alone a setting may be chosen; 0: none
    are asked."""
    batch_tokens: int = Field(16384, ge=1)
    """Tokens of prompts and answers held side by side: speed, memory, and in half precision the rounding."""
    rebatched: int = Field(100, ge=0)
    """Test facts (a fixed sample) that a model in half precision answers again, one by one: how many answers depend on
    what is computed beside them; 0 leaves this out."""


KNOWN = ("D3", "D4")
"""Buckets of the facts that a base model knows: it completes more than half of their prompts with the answer."""


TRAINED = "trained"
"""Stands in the place of the split of facts that are trained on."""


def guarded(split: str, bucket: str) -> bool:
    """Whether `stop_when_lost` looks at a fact; no choice may look at test facts."""
    return bucket in KNOWN and split not in ("test", "testood", TRAINED)


class DuringSettings(Settings):
    """Facts that a model is asked while it is trained."""

    during: list[Annotated[int, Field(ge=1)]] = []
    """Steps of a training after which facts are asked, besides before the first and after the last one; steps beyond
    its end are left out. Changes no model."""
    during_facts: int = Field(100, ge=1)
    """Facts of each split that are asked then: a fixed sample, without those that are trained on."""
    # Left out where none are asked, so that results made before there was this choice keep their keys.
    during_trained: int = Field(0, ge=0, exclude_if=lambda count: not count)
    """Facts that are trained on which are asked then, too: a fixed sample; 0: none."""
    stop_when_lost: float | None = Field(None, gt=0, le=100)
    """Stop a training when so many points are lost: of the facts asked that the base knows (D3, D4) and that are
    neither trained on nor test facts, the share answered lies so far below its highest so far."""

    @model_validator(mode="after")
    def _looked_at(self) -> Self:
        if self.stop_when_lost and not self.during:
            raise ValueError("stop_when_lost needs steps to look at: set `during` (by hand: --evaluate-at)")
        return self


class StudyEvaluation(DuringSettings, EvaluationSettings):
    """Greedy answers to the questions, in the prompt of fine-tuning; and what is asked during a training."""


class TaskTest(TaskSettings):
    """Test examples of a task that an evaluation asks besides the facts."""

    task: TaskName
    """Whose prompt and judgements."""
    file: Location
    """The examples."""
    dev: Location | None = None
    """Dev examples, which are asked too, as split TASK-dev; settings are chosen on them."""


OF_BASE = ("answer_within_words", "max_new_tokens")
"""Settings of what is asked of the base model alone."""


class DivergenceSettings(Settings):
    """KL(fine-tuned || pre-trained) at the first predicted token, over the fine-tuned model's top tokens."""

    top: int = Field(10, ge=1)
    """Number of the fine-tuned model's largest logits that are compared."""
    answer_within_words: int = Field(3, ge=0)
    """Keep a fact when its answer begins within so many words of the base model's greedy completion."""
    max_new_tokens: int = Field(32, ge=1)
    """Length of that greedy completion, tokens."""
    batch_tokens: int = Field(8192, ge=1)
    """Prompt tokens computed side by side: speed, memory, and in half precision the rounding."""
