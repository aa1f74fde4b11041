"""How far fine-tuning moves the model's first token (paper section 5, Figure 5)."""

from __future__ import annotations

from sftlens.dag.targets import TARGETS, Chart, Target
from sftlens.reporting import curves
from sftlens.reporting.frames import KL

TARGETS.add(Target(
    "fig5", 30, "divergence", "KL divergence from the base model",
    "KL(fine-tuned || base) of the first predicted token over the fine-tuned model's ten most "
    "probable tokens, mean over the ID test facts of bucket D4 whose answer comes near the beginning "
    "of the completion. The fine-tuned model reads the question, the base model a completion "
    "template, so the value at n = 0 shows what this difference of prompts alone does. Paper: Figure 5.",
    lambda results: curves.against_n(results, "divergence", "kl", "D4", ["test"], KL),
    lambda numbers, notice: curves.draw(numbers, notice, KL, "KL divergence, first token, bucket D4 (nats)"),
    chart=Chart("n", KL, "Trained on"),
))  # fmt: skip
