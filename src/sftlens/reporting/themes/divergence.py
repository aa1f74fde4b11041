"""How far fine-tuning moves the model's first token (paper section 5, Figure 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sftlens.dag.targets import TARGETS, Target
from sftlens.reporting import curves
from sftlens.reporting.frames import KL

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def fig5(results: pd.DataFrame) -> pd.DataFrame:
    """Return KL divergence of the fine-tuned from the base model against n."""
    return curves.against_n(results, "divergence", "kl", "D4", ["test"], KL)


def draw_fig5(numbers: pd.DataFrame, notice: str) -> Figure:
    """Return one panel per model."""
    return curves.draw(numbers, notice, KL, "KL divergence, first token, bucket D4 (nats)")


TARGETS.add(Target(
    "fig5", 30, "divergence", "KL divergence from the base model",
    "KL(fine-tuned || base) of the first predicted token over the fine-tuned model's ten most "
    "probable tokens, mean over the ID test facts of bucket D4 whose answer comes near the beginning "
    "of the completion. The fine-tuned model reads the question, the base model a completion "
    "template, so the value at n = 0 shows what this difference of prompts alone does. Paper: Figure 5.",
    fig5, draw_fig5,
))  # fmt: skip
