"""Settings of repairing a model that was fine-tuned elsewhere (docs/repair.md)."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from sftlens.config.axes import Distinct, Ratios, Reverting
from sftlens.errors import ConfigError
from sftlens.restoration.regions import rule
from sftlens.settings import Location, Seed, Settings

OUTPUTS = {
    "report": "report.json",
    "page": "report.html",
    "table": "tradeoff.csv",
    "figure": "tradeoff.png",
    "answers": "answers.csv",
}
"""Files of a repair; the folder of the model stands beside them."""


class FewShotSettings(Settings):
    """Mastery without templates: sampled answers to a question after solved ones."""

    prompts: int = Field(4, ge=1)
    """Different few-shot prompts of each question."""
    shots: int = Field(4, ge=1)
    """Solved questions of each prompt, drawn from the facts; a fact is never a shot of its own prompt."""
    samples: int = Field(5, ge=1)
    """Completions of each prompt."""
    temperature: float = Field(0.7, gt=0)
    """Sampling temperature."""
    max_new_tokens: int = Field(16, ge=1)
    """Longest completion, tokens; its first line is judged."""
    seed: Seed = 0
    """Seed of the shots and of the sampling."""


class RepairSettings(Settings):
    """Which settings are tried to restore knowledge, how they are measured, and what they may cost."""

    ratios: Ratios = Field([1, 5, 20, 40, 60], min_length=1)
    """Percent of the region's parameters that are restored, each with every criterion."""
    criteria: Distinct[Reverting] = Field(["relative", "absolute", "interpolation"], min_length=1)
    """How parameters are ranked; `interpolation` moves all of them towards the base, the control of `relative`."""
    regions: Distinct[str] = Field(["transformer"], min_length=1)
    """Which parameters are ranked and restored, each with every criterion and ratio: transformer, attention, mlp,
    embedding, all, layersA-B, query_key, or `blocks` for four ranges of layers."""
    save_as: Literal["model", "delta", "adapter"] = "model"
    """How the repaired model is written: whole; as its exact difference from the base (`sftlens delta unpack` rebuilds
    it); or as a LoRA adapter of the base, an approximation whose error is measured and stated."""
    rank: int = Field(64, ge=1)
    """Rank of that adapter."""
    score: Literal["exact", "contains", "rouge_l"] = "exact"
    """Score of the task: the output is the target, contains it, or the ROUGE-L F-measure of the two. An XSum or GSM8K
    file has its own."""
    tolerance: float = Field(0.05, ge=0, le=1)
    """How much of the task's score (0 to 1) a setting may cost: its paired 95 % interval must lie above minus this."""
    max_new_tokens: int = Field(32, ge=1)
    """Longest answer to a question, tokens."""
    task_max_new_tokens: int | None = Field(None, ge=1)
    """Longest output on a task example, tokens. Unset: 128, for a GSM8K file 512."""
    reprobe: int = Field(200, ge=0)
    """Facts (a fixed sample) whose mastery is measured on every model that is reported; 0 leaves this out."""
    few_shot: FewShotSettings = FewShotSettings()
    """How mastery is measured where there are no templates."""
    epsilon: float = Field(1e-8, gt=0)
    """Added to |p| in the relative change |s - p| / (|p| + epsilon)."""
    seed: Seed = 0
    """Seed of the rounding of `interpolation`."""
    batch_tokens: int = Field(16384, ge=1)
    """Tokens of prompts and answers in one batch: speed, memory, and in half precision the rounding."""

    @field_validator("regions", mode="before")
    @classmethod
    def _listed(cls, values: Any) -> Any:
        return [values] if isinstance(values, str) else values  # until version 0.2 it was one name, `region`

    @field_validator("regions")
    @classmethod
    def _known(cls, values: list[str]) -> list[str]:
        for value in values:
            try:
                _ = value == "blocks" or rule(value)
            except ConfigError as error:
                raise ValueError(f"{error}; or `blocks`: four ranges of them") from None
        return values


class RepairStudy(RepairSettings):
    """A model that was fine-tuned elsewhere: where it lies, and the questions it answers."""

    base: Location = "models/base"
    """The pre-trained model: a Hugging Face folder."""
    finetuned: Location = "models/finetuned"
    """The model fine-tuned from it, or a LoRA adapter of it (a folder with adapter_config.json)."""
    facts: Location = "facts.csv"
    """Questions and answers, CSV or JSON lines (docs/repair.md gives the columns)."""
    task: Location | None = None
    """Examples of what it was fine-tuned for, JSON lines; unset: well-formed answers stand in for the task."""
    templates: Location | None = None
    """Completion templates (as config/relations.yaml) for facts with relation and subject; unset: few-shot mastery."""
    chat_template: bool = False
    """Prompt with the fine-tuned tokenizer's own chat template."""
    chat_template_args: dict[str, bool | int | float | str] = {}
    """Arguments of the chat template's own, such as `{enable_thinking: false}`."""
    chat_template_name: str | None = None
    """Which of several named chat templates; unset: the one called default."""
    system_prompt: str | None = None
    """System prompt, for the chat template."""
    prompt_template: str | None = None
    """Prompt with this text, {question} in it; unset: 'Question: {question}', a new line, 'Answer:'."""
    gpus: int = Field(0, ge=0)
    """GPUs of the job; 0: CPUs."""
    memory_gb: int = Field(32, ge=1)
    """Main memory of the job, asked of a cluster."""
    minutes: int = Field(1440, ge=1)
    """Time of the job, asked of a cluster; one that was too short goes on where it stopped."""

    @model_validator(mode="after")
    def _one_prompt(self) -> Self:
        if self.chat_template and self.prompt_template:
            raise ValueError("chat_template and prompt_template exclude each other; take one of the two keys out")
        return self
