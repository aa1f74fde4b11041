"""LoRA adapters (Hu et al., ICLR 2022, arXiv 2106.09685) merged into their base, one tensor in memory at a time.

W' = W + scaling B A, computed in fp32 and rounded to the base's type, as `merge_and_unload` of peft does; scaling is
alpha / r, or alpha / sqrt(r) with rsLoRA (Kalajdzievski, arXiv 2312.03732). With DoRA (Liu et al., ICML 2024, arXiv
2402.09353) each row of W' then gets the length that was learnt for it. Whole tensors that an adapter brings (biases,
`modules_to_save`) replace the base's. What is not known to merge like that is refused.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sftlens.errors import ModelError
from sftlens.files import make_readable, read_json, write_json
from sftlens.models import configuration
from sftlens.models.adapter_config import CONFIG, REMEDY, alphas, read_config
from sftlens.models.delta.reader import open_tensors
from sftlens.models.identity import CONFIGURATION, TOKENIZER, copy_matching, resolve
from sftlens.models.loading.placement import STORED_TYPES, checked_tensor
from sftlens.models.names import bare, prefixed, same_by_bare_name, unwrapped
from sftlens.models.safetensors_reader import TensorFolder, open_file
from sftlens.models.safetensors_writer import TensorSpec, write_weights

WEIGHTS = "adapter_model.safetensors"
EMBEDDING, HEAD = "embed_tokens.weight", "lm_head.weight"
"""Bare names of the input and the output embedding, which a model may tie."""
_OTHER_ENDS = re.compile(r"(?:^|\.)(?:wte|word_embeddings|tok_embeddings|embed_in|embed_out)\.weight$")
"""What architectures that are no LLaMA's kin call them."""
_PART = re.compile(
    r"(?P<module>.+)\.lora_(?P<part>A|B|embedding_A|embedding_B|magnitude_vector)(?:\.(?!weight$|bias$)(?P<adapter>[^.]+))?"
    r"(?:\.weight)?"
)
_SAVED = re.compile(r"\.(?:base_layer|modules_to_save(?:\.[^.]+(?=\.[^.]+$))?)(?=\.)")


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds a peft adapter rather than a model."""
    return (folder / CONFIG).is_file()


@dataclass(frozen=True)
class LowRank:
    """What an adapter adds to one matrix of the base."""

    scaling: float
    """Factor of the product: alpha / r, or alpha / sqrt(r) with rsLoRA."""
    a: Tensor
    """(rank, inputs); of an embedding (rank, tokens)."""
    b: Tensor
    """(outputs, rank); of an embedding (width, rank)."""
    embedding: bool
    """Whether the matrix is an embedding."""
    transposed: bool
    """Whether the base keeps the matrix as (inputs, outputs): peft has it so of embeddings and with fan_in_fan_out."""
    magnitude: Tensor | None
    """DoRA: the length of each row of W' (outputs), of an embedding of each column (width); None: plain LoRA."""


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter, checked against its base; nothing but its own, small tensors is in memory."""

    low_rank: Mapping[str, LowRank]
    """Name of the base's tensor -> what is added to it."""
    whole: Mapping[str, Tensor]
    """Name of the base's tensor -> what replaces it, before any low-rank change."""
    untied: str | None
    """Name of the output embedding where the base ties it and the merged model does not."""

    def merged(self, name: str, tensor: Tensor) -> Tensor:
        """Return what becomes of one tensor of the base: same shape and dtype."""
        # peft stores an embedding whole beside its low-rank change.
        tensor = self.whole[name].to(tensor.dtype) if name in self.whole else tensor
        part = self.low_rank.get(name)
        if part is None:
            return tensor
        change = (part.b.float() @ part.a.float()) * part.scaling
        if part.magnitude is not None:
            # The length is that of the row (of an embedding: of the column) of W + change, in fp32.
            weight = (tensor.T if part.transposed else tensor) + change
            lengths = part.magnitude.float() / torch.linalg.norm(weight, dim=1)
            scaled = lengths.view(-1, 1) * weight
            return (scaled.T if part.transposed else scaled).to(tensor.dtype).contiguous()
        if part.embedding:  # here peft rounds the change before it is added
            return tensor + change.T.to(tensor.dtype)
        return (tensor.float() + (change.T if part.transposed else change)).to(tensor.dtype)


def read(folder: Path, base: TensorFolder) -> Adapter:
    """Return the adapter of a folder. Raises ModelError when it is damaged, of another base, or cannot be merged."""
    config = read_config(folder)
    weights = folder / WEIGHTS
    if not weights.is_file():
        raise ModelError(f"{folder}: {WEIGHTS} is missing; save the adapter in safetensors format (peft's default)")
    handle = open_file(weights)
    # The low-rank parts of each module, by A and B; everything else replaces a tensor of the base.
    parts: dict[str, dict[str, Tensor]] = {}
    whole: dict[str, Tensor] = {}
    for stored in handle.keys():  # noqa: SIM118 - not a dict
        tensor, name = handle.get_tensor(stored), unwrapped(stored)
        while name.startswith("base_model.model."):
            name = unwrapped(name.removeprefix("base_model.model."))
        if not bool(tensor.isfinite().all()):
            raise ModelError(f"{weights}: tensor {stored!r} holds NaN or Inf; training diverged, train again")
        if found := _PART.fullmatch(name):
            sides = parts.setdefault(found["module"], {})
            if found["part"] in sides:
                raise ModelError(f"{weights}: holds several adapters of {found['module']!r}; save one alone")
            sides[found["part"]] = tensor
        elif "lora_" in name:
            raise ModelError(f"{weights}: tensor {stored!r} is no part of plain LoRA; {REMEDY}")
        else:
            whole[_SAVED.sub("", name)] = tensor
    low_rank, alpha_of = {}, alphas(folder, config, list(parts))
    for module, sides in parts.items():
        kind = "embedding_" if "embedding_A" in sides else ""
        wanted = {f"{kind}A", f"{kind}B"} | ({"magnitude_vector"} if config.get("use_dora") else set())
        if sides.keys() != wanted:
            raise ModelError(
                f"{weights}: module {module!r} has only {', '.join(sorted(sides))} of {', '.join(sorted(wanted))}; "
                "fetch it again"
            )
        a, b, magnitude = sides[f"{kind}A"], sides[f"{kind}B"], sides.get("magnitude_vector")
        if a.ndim != 2 or b.ndim != 2 or not 0 < a.shape[0] == b.shape[1]:
            raise ModelError(
                f"{weights}: module {module!r} has A of shape {list(a.shape)} and B of {list(b.shape)}, which have no "
                "product; fetch it again"
            )
        if magnitude is not None and magnitude.shape != (b.shape[0],):
            raise ModelError(
                f"{weights}: module {module!r} has a magnitude vector of shape {list(magnitude.shape)}, not "
                f"[{b.shape[0]}]; fetch it again"
            )
        rank, transposed = a.shape[0], bool(kind or config.get("fan_in_fan_out"))
        scaling = alpha_of[module] / (math.sqrt(rank) if config.get("use_rslora") else rank)
        low_rank[f"{module}.weight"] = LowRank(scaling, a, b, bool(kind), transposed, magnitude)
    return _fitted(folder, config, low_rank, whole, base)


def _fitted(
    folder: Path,
    config: Mapping[str, Any],
    low_rank: Mapping[str, LowRank],
    whole: Mapping[str, Tensor],
    base: TensorFolder,
) -> Adapter:
    """Return the adapter with the base's names. Raises ModelError where its tensors do not fit the base."""
    remedy = f"give the base that it was trained on ({CONFIG} names {config.get('base_model_name_or_path')!r})"
    names = {bare(name): name for name in (*low_rank, *whole)}
    ends = [names[end] for end in (EMBEDDING, HEAD) if end in names]
    known, embedding, untied = list(base.names), None, None
    model = configuration.read_config(base.folder)
    others = [name for name in names.values() if _OTHER_ENDS.search(name)]
    if (ends or others) and model.get_text_config().tie_word_embeddings:
        known = [name for name in known if bare(name) != HEAD]
        embedding = next((name for name in known if bare(name) == EMBEDDING), None)
        if model.get_text_config() is not model or others or embedding is None:
            named = (others or ends)[0]
            raise ModelError(f"{folder}: changes {named!r}, which {base.folder} ties to another tensor; {REMEDY}")
        changed = [end for end in ends if end in low_rank]
        if changed or len(ends) == 1 or not torch.equal(*(whole[end] for end in ends)):
            # In training peft changes the one and leaves the other as it was, so the merged model has both.
            untied = HEAD
            known.append(HEAD)
            # What stands beside a low-rank change is the base's own tensor, that of both.
            whole = {name: whole[end] for end in changed if end in whole for name in (EMBEDDING, HEAD)} | dict(whole)
        else:
            whole = {name: tensor for name, tensor in whole.items() if bare(name) != HEAD}
    found = same_by_bare_name(known, [*low_rank, *whole])

    def fits(name: str, shape: tuple[int, ...]) -> str:
        if name not in found:
            prefix = prefixed([name], known)
            why = f"its keys have a prefix, {prefix!r}: take that off, or {REMEDY}" if prefix else remedy
            raise ModelError(f"{folder}: changes {name!r}, which {base.folder} does not have; {why}")
        there = base.shape(embedding if embedding and found[name] == untied else found[name])
        if shape != there:
            raise ModelError(
                f"{folder}: changes {name!r} of shape {list(shape)}, in {base.folder} it has {list(there)}; {remedy}; "
                f"if its vocabulary was resized, {REMEDY}"
            )
        return found[name]

    fitted_parts = {}
    for name, part in low_rank.items():
        out, inputs = part.b.shape[0], part.a.shape[1]
        fitted_parts[fits(name, (inputs, out) if part.transposed else (out, inputs))] = part
    fitted_whole = {fits(name, tuple(tensor.shape)): tensor for name, tensor in whole.items()}
    if not fitted_parts and not fitted_whole:
        raise ModelError(f"{folder / WEIGHTS}: holds no tensors; fetch the adapter again")
    return Adapter(fitted_parts, fitted_whole, untied)


def merge(base: Path, adapter: Path, out: Path) -> None:
    """Write the merged model into the new folder `out`, with the base's configuration.

    The tokenizer is the adapter's, if it has one. Where an adapter changes one of two tied embeddings, the merged model
    has both, and its config.json says so.

    Raises ModelError as `read`, or when the base or the merged model holds NaN or Inf.
    """
    source = open_tensors(base)
    found = read(adapter, source)
    kept = [n for n in source.names if source.dtype(n) in STORED_TYPES and not (found.untied and bare(n) == HEAD)]
    origins = {name: name for name in kept}
    if found.untied:
        origins[found.untied] = next(name for name in kept if bare(name) == EMBEDDING)
    specs = [TensorSpec(name, source.shape(of), STORED_TYPES[source.dtype(of)]) for name, of in origins.items()]
    out.mkdir(parents=True)
    copy_matching(resolve(base), CONFIGURATION, out)
    if found.untied:
        write_json(out / "config.json", read_json(out / "config.json") | {"tie_word_embeddings": False})
    copy_matching(adapter if (adapter / "tokenizer.json").is_file() else resolve(base), TOKENIZER, out)

    def finite(name: str, of: str) -> Tensor:
        tensor = found.merged(name, checked_tensor(source, of))
        if not bool(tensor.isfinite().all()):
            raise ModelError(
                f"{adapter}: merged into its base, tensor {name!r} holds NaN or Inf; lora_alpha in adapter_config.json "
                "or the weights are too large: fetch it again, or train with a lower learning rate"
            )
        return tensor

    write_weights(out, specs, (finite(name, of) for name, of in origins.items()))
    make_readable(out)
