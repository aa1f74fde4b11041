"""Settings of checking a fine-tuned model against its base (docs/check.md)."""

from pydantic import Field

from sftlens.config.repair import FewShotSettings, RepairSettings

LOST_POINTS, TASK_POINTS = 2.0, 5.0
"""Points of knowledge, and of a task's score, that may be lost and still count as kept, unless others are given."""
MOST_TOKENS, MOST_LOGITS = 16384, 150_000_000
"""Tokens of a batch; on a CPU so few that their logits would be at most so many numbers: 1,000 tokens with a vocabulary
of 150,000."""
OF_REPAIR = {"ratios", "criteria", "regions", "save_as", "rank", "epsilon", "seed", "reprobe", "tolerance"}
"""Settings of a repair that a check has no use for."""


class CheckSettings(RepairSettings):
    """How two models are measured."""

    few_shot: FewShotSettings = FewShotSettings(prompts=2, samples=2)
    """How mastery is measured where there are no templates."""
    batch_tokens: int = Field(0, ge=0)
    """Tokens of prompts and answers in one batch: speed, memory, and in half precision the rounding. 0: 16,384, on a
    CPU fewer where the vocabulary is large."""
    most_facts: int = Field(0, ge=0)
    """At most so many of the facts are asked, a fixed sample; 0: all."""
    floor_facts: int = Field(200, ge=0)
    """Facts (a fixed sample) whose mastery is measured a second time, for the noise."""
