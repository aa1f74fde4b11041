"""The model card of a restored model: what it is, and of what it was made."""

from collections.abc import Mapping

from sftlens.restoration import criteria
from sftlens.restoration.cuts import Cut

CARD = """\
---
library_name: transformers
tags:
- parameter-restoration
---
# A fine-tuned model with {ratio:g} % of a region's parameters set back to their pre-trained values

Of the {elements:,} parameters of the region `{region}`, the first {restored:,} by the criterion `{criterion}` have the
value of the base model, bit for bit (in the type of the fine-tuned model). Everything else is the fine-tuned model's.
Nothing was trained afterwards.

| | |
|---|---|
| base model | `{base}` |
| fine-tuned model | `{finetuned}` |
| criterion | `{criterion}`: {description} |
| region | `{region}` |
| ratio | {ratio:g} % |
| parameters of the region | {elements:,} |
| restored | {restored:,} |
| cut | every key above {threshold}, and the first {ties:,} parameters of those with this key |
{settings}
A model's identity is the SHA-256 over the names and SHA-256 of its files. Ties go by tensor name, then flat index.
The method is that of "Analyzing the Effects of Supervised Fine-Tuning on Model Knowledge from Token and Parameter
Levels" (arXiv 2509.16596, section 6); the model was made with sftlens, `scripts/restore.py`.
"""

INTERPOLATED = """\
---
library_name: transformers
tags:
- parameter-restoration
---
# A fine-tuned model moved uniformly towards its base

All {elements:,} parameters of the region `{region}` are p + alpha (s - p), p of the base model and s fine-tuned,
rounded at random where the fine-tuned model's type has 16 bits. Everything else is the fine-tuned model's. Nothing
was trained afterwards.

| | |
|---|---|
| base model | `{base}` |
| fine-tuned model | `{finetuned}` |
| region | `{region}` |
| alpha | {alpha:.6f} |
| chosen so that | as much of sum (s - p)^2 is reverted as by restoring {ratio:g} % by `{criterion}` |
{settings}
A model's identity is the SHA-256 over the names and SHA-256 of its files. The model was made with sftlens,
`scripts/restore.py --criterion interpolation`.
"""


def interpolated(
    alpha: float,
    ratio: float,
    elements: int,
    *,
    criterion: str,
    region: str,
    inputs: Mapping[str, str],
    settings: Mapping[str, object],
) -> str:
    """Return the text of README.md in the folder of a model moved towards its base; arguments as of `card`."""
    given = {"alpha": alpha, "ratio": ratio, "elements": elements, "criterion": criterion, "region": region}
    return INTERPOLATED.format(**given, base=inputs["base"], finetuned=inputs["finetuned"], settings=_rows(settings))


def card(
    cut: Cut,
    elements: int,
    *,
    criterion: str,
    region: str,
    inputs: Mapping[str, str],
    settings: Mapping[str, object],
) -> str:
    """Return the text of README.md in the folder of a restored model.

    Args:
        cut: what was restored.
        elements: parameters of the region.
        criterion: name of the criterion.
        region: name of the region.
        inputs: content hash of `base` and of `finetuned`.
        settings: what else the criterion depends on.
    """
    return CARD.format(
        ratio=cut.ratio,
        elements=elements,
        restored=cut.elements,
        region=region,
        criterion=criterion,
        description=criteria.description(criterion),
        base=inputs["base"],
        finetuned=inputs["finetuned"],
        threshold=cut.threshold,
        ties=cut.ties,
        settings=_rows(settings),
    )


def _rows(settings: Mapping[str, object]) -> str:
    return "".join(f"| {name} | {value} |\n" for name, value in settings.items())
