"""Regions: which parameters are ranked and restored, by their names."""

import re
from collections.abc import Callable, Sequence

from sftlens import gate
from sftlens.errors import ConfigError, ModelError

NOT_A_PARAMETER = "rotary_emb.inv_freq"
"""A constant that early LLaMA checkpoints store beside the parameters."""


def is_parameter(name: str) -> bool:
    """Whether the tensor `name` of a checkpoint is a parameter of the model."""
    return not name.endswith(NOT_A_PARAMETER)


def layer_of(name: str) -> int | None:
    """Return the number of the block a parameter belongs to, None outside the blocks."""
    found = re.search(r"(?:^|\.)layers\.(\d{1,9})\.", name)
    return int(found[1]) if found else None


def module_of(name: str) -> str:
    """Return the module of a parameter: `q_proj` for `model.layers.0.self_attn.q_proj.weight`."""
    return name.split(".")[-2] if "." in name else name


def transformer(name: str) -> bool:
    """Projections of all blocks: `layers` and not `norm` in the name (the authors' rule); not those that see or hear.

    A multimodal model's image and audio parts have layers of their own, in which no text is processed.
    """
    return "layers" in name and "norm" not in name and not re.match(r"(model\.)?(vision|visual|audio)", name)


REGIONS: dict[str, Callable[[str], bool]] = {
    "transformer": transformer,
    "attention": lambda name: transformer(name) and "attn" in name,
    "mlp": lambda name: transformer(name) and "mlp" in name,
    # Input and output embeddings, so that tied and untied models mean the same by it.
    "embedding": lambda name: "embed_tokens" in name or "lm_head" in name,
    "all": lambda name: True,  # norms included
}
"""The regions with a name of their own, as tests of a parameter's name."""
PARTS: dict[str, Callable[[str], bool]] = {
    # Of attention what decides where to look, not what is read there.
    "query_key": lambda name: transformer(name) and (".q_proj." in name or ".k_proj." in name),
}
"""Parts of these that have a name, too."""


def rule(region: str) -> Callable[[str], bool]:
    """Return the test for names of parameters in `region`. Raises ConfigError if there is no such region."""
    if found := (REGIONS | PARTS).get(region):
        return found
    if region.startswith("re:"):
        pattern = region.removeprefix("re:")
        try:
            gate.matching(pattern, [""])
        except ValueError as error:
            raise ConfigError(f"region {region!r}: not a valid regular expression of RE2 ({error})") from None
        return lambda name: gate.matching(pattern, [name])[0]
    if not (blocks := re.fullmatch(r"layers(\d{1,4})-(\d{1,4})", region)):
        raise ConfigError(
            f"region {region!r} is unknown; choose one of: {', '.join(REGIONS)}, layersA-B (blocks A to B, both "
            f"included), {', '.join(PARTS)}, re:EXPRESSION (names in which the regular expression is found)"
        )
    first, last = int(blocks[1]), int(blocks[2])
    if first > last:
        raise ConfigError(f"region {region!r}: first block after the last; write layers{last}-{first}")
    return lambda name: transformer(name) and (layer := layer_of(name)) is not None and first <= layer <= last


def select(names: Sequence[str], region: str) -> list[str]:
    """Return the parameters among `names` that are in `region`, in the same order.

    Raises ConfigError for an unknown region, ModelError when the model has no such parameter or block.
    """
    inside = rule(region)
    parameters = [name for name in names if is_parameter(name)]
    chosen = [name for name in parameters if inside(name)]
    if not chosen:
        some = ", ".join(list(dict.fromkeys(re.sub(r"\d+", "N", name) for name in parameters))[:12])
        raise ModelError(
            f"region {region!r} has no parameter in this model, whose names are like: {some or '(none)'}; where "
            r"blocks are named otherwise than `layers.N.`, give the region as a regular expression over names, "
            r"such as 're:\.h\.\d+\.(attn|mlp)\.'"
        )
    blocks = re.fullmatch(r"layers(\d{1,4})-(\d{1,4})", region)
    last = max(layer_of(name) or 0 for name in chosen)
    if blocks and int(blocks[2]) > last:
        raise ModelError(f"region {region!r}: the last block is {last}; write layers{blocks[1]}-{last}")
    return chosen
