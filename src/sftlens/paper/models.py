"""The names of the paper's models; the list of targets is made with them, so nothing here needs pandas."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sftlens.config.study import Study

NAMES = ("LLaMA-3-8B", "LLaMA-3-70B", "LLaMA-2-7B", "LLaMA-2-13B", "LLaMA-2-70B")


def published(model: str) -> str:
    """Return the paper's name of the model that a study calls so, up to case and punctuation; "" for any other.

    >>> published("llama-2-7b"), published("Meta-Llama-3-8B"), published("tiny")
    ('LLaMA-2-7B', 'LLaMA-3-8B', '')
    """
    return next((name for name in NAMES if _plain(name) == _plain(model)), "")


def others(model: str) -> bool:
    """Return whether a model stands in the paper's main figures and tables, as LLaMA-3 does: any but one of LLaMA-2."""
    return not llama_2(model)


def llama_2(model: str) -> bool:
    """Return whether a model is called one of LLaMA-2, which the paper shows apart, in its appendix."""
    return _plain(model).startswith("llama2")


def compared(study: Study, model: str) -> bool:
    """Return whether the paper's numbers may stand beside a model's: it is one of the paper's, on the paper's facts."""
    return (
        bool(published(model)) and study.models[model].source != "pretrain" and study.facts.source == "entity_questions"
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower()).removeprefix("meta").removesuffix("hf")
