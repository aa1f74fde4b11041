"""Distillation from a frozen copy of the model that has learned the form of answers on known facts, and nothing new."""

from typing import Annotated, Literal

from pydantic import Field

from sftlens.strategies import STRATEGIES
from sftlens.strategies.kl import KL, KLSettings


class SelfDistilSettings(KLSettings):
    """Settings of self-distil: KL divergence to a copy that was fine-tuned on known facts."""

    known: Literal["D0", "D1", "D2", "D3", "D4", "mixed"] = "D4"
    """Training set of the frozen copy, in a study: facts that the base model knows."""
    known_scale: Annotated[int, Field(ge=1)] | Literal["all"] = 60
    """How many facts the frozen copy is fine-tuned on, in a study: enough to learn the form of answers."""


class SelfDistil(KL):
    """Loss of a token: -log p(token) + weight x KL(copy || p), over the whole vocabulary, given the same tokens.

    The base model answers in another form than the training set's, so that staying close to it also works against the
    form. The copy has learned the form from facts that the base knows, which teaches it no new facts.
    """

    name = "self-distil"
    description = "All parameters, with the KL divergence from a copy fine-tuned on known facts added to the loss"
    reference = "Kaplan et al., 2026, arXiv 2604.15574"
    settings_class = SelfDistilSettings
    inputs = ("pilot",)
    pilot = {"strategy": "full", "train_set": "{known}", "scale": "{known_scale}"}
    compared = "pilot"


STRATEGIES.add(SelfDistil)
