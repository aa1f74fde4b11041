"""Settings of mastery (paper section 2): how it is measured, how that is checked, and the choice of its templates."""

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from sftlens.settings import Seed, Settings

SAMPLING_FIELDS = ("samples", "temperature", "max_new_tokens", "seed")
"""The fields that the completions of one sentence depend on."""
MASTERY_FIELDS = (*SAMPLING_FIELDS, "max_templates")
"""The fields that the mastery of one fact depends on."""
SPEED_FIELDS = {"batch_tokens", "processes"}
"""The fields that no result depends on."""
ADAPTIVE_FIELDS = ("method", "calibration_facts", "margin")
"""The fields that say which samples are drawn; a fixed probe is without them."""


class ProbingSettings(Settings):
    """Multi-template completion: how often the base model completes a fact's sentences with its object."""

    samples: int = Field(10, ge=1)
    """Completions of each template."""
    temperature: float = Field(0.7, gt=0)
    """Sampling temperature."""
    max_new_tokens: int = Field(32, ge=1)
    """Longest completion, tokens."""
    max_templates: int | None = Field(None, ge=1)
    """Probe with the first so many templates of each relation; unset: with all."""
    seed: Seed = 0
    """Seed of the sampling; each (fact, template) has a stream of its own."""
    method: Literal["fixed", "adaptive"] = "fixed"
    """fixed: the paper's protocol, all samples of all templates. adaptive: a fact is sampled until its bucket is as
    sure as the fixed protocol would make it."""
    calibration_facts: int = Field(200, ge=1)
    """With `method: adaptive`: facts (a fixed random sample) that are probed in full, from which the method learns."""
    margin: float = Field(2.0, ge=0)
    """With `method: adaptive`: how much surer than two full probes agree a bucket must be, in variances over what is
    unknown. Less takes fewer samples, and rare buckets agree less (docs/mastery.md)."""
    quota: float | None = Field(None, ge=1)
    """Stop probing train facts when every training set of the study has so many times its largest scale of facts; at 1
    all seeds share their facts. Unset: probe all. A larger scale also changes the training sets of the smaller ones."""
    keep_texts: bool = False
    """Keep the distinct completions with their counts, each up to where the answer appeared (mastery-texts.parquet)."""
    batch_tokens: int = Field(32768, ge=1)
    """Tokens of prompts and completions held side by side: speed, memory, and in half precision the rounding."""
    processes: int = Field(1, ge=1)
    """Processes that draw side by side, on CPUs or each on GPUs of its own; speed and memory only."""

    @model_serializer(mode="wrap")
    def _without_adaptive(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what a fixed probe does not depend on: its keys and summaries are those of versions without it."""
        given: dict[str, Any] = handler(self)
        return {name: value for name, value in given.items() if self.method != "fixed" or name not in ADAPTIVE_FIELDS}


class QualitySettings(Settings):
    """How good the measurement of mastery is: probed twice, and against cheaper measures."""

    retest: int = Field(200, ge=0)
    """Facts (a fixed random sample) that are probed a second time, with other random numbers; 0 leaves this out."""
    answer_probability: bool = False
    """Also compute the teacher-forced probability of every fact's answer, and its calibration against mastery."""

    @property
    def tables(self) -> list[str]:
        """The tables that are made besides the summary; none where the model is asked nothing."""
        wanted = {"retest.parquet": self.retest > 0, "answer_probability.parquet": self.answer_probability}
        return [name for name, asked in wanted.items() if asked]


class TemplateChoice(Settings):
    """Which completion templates of a relation probe the tiny model, decided on calibration facts only."""

    seen: int = Field(3, ge=0)
    """Templates that the corpus was written with."""
    held_out: int = Field(4, ge=0)
    """Templates that the model has never seen."""
    threshold: float = Field(0.5, ge=0, le=1)
    """A held-out template passes when its mean R is at least this share of the seen templates' mean R."""
