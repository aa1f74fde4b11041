"""Input that cannot be worked with: each refusal, through the real scripts, names file, fact or key, and remedy."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from entity_questions_files import data_set
from probe_tables import QUESTIONS, SENTENCES, facts_table
from script_calls import ok, process, refused
from sftlens import inference
from sftlens.commands import program
from sftlens.errors import ModelError
from sftlens.files import write_parquet
from sftlens.models import checkpoints
from tiny import tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, a table of D4 facts, a training set and templates."""
    folder = tmp_path_factory.mktemp("inputs")
    tiny_model(folder / "model")
    facts = facts_table().assign(bucket="D4")
    facts["template_hits"] = [[1] * len(SENTENCES[relation]) for relation in facts["relation"]]
    write_parquet(folder / "facts.parquet", facts)
    write_parquet(folder / "train.parquet", facts[facts["split"] == "train"])
    (folder / "templates.yaml").write_text(yaml.safe_dump({r: {"templates": t} for r, t in SENTENCES.items()}))
    return folder


def test_a_prompt_longer_than_the_context_is_named_by_its_fact(inputs: Path, tmp_path: Path) -> None:
    facts = pd.read_parquet(inputs / "facts.parquet")
    places = facts.index[facts["split"] == "test"][[1, 4]]
    for place, times in zip(places, (240, 250), strict=True):
        subject = "Torburg " * times
        facts.loc[place, ["subject", "question"]] = [subject, QUESTIONS["P17"].replace("[X]", subject)]
    write_parquet(tmp_path / "long.parquet", facts)
    out, base = tmp_path / "out", inputs / "model"
    message = refused("evaluate.py", "--model", base, "--facts", tmp_path / "long.parquet", "--out", out)
    assert "fact 'test/P19/00001' (and 1 more facts): a prompt of " in message
    assert f"context of 256 (max_position_embeddings in {base}/config.json); take the fact out" in message
    given = ["--base", base, "--finetuned", base, "--facts", tmp_path / "long.parquet"]
    message = refused("divergence.py", *given, "--templates", inputs / "templates.yaml", "--out", out)
    assert "fact 'test/P19/00001'" in message and "context of 256" in message
    given = ["--model", base, "--facts", inputs / "facts.parquet", "--shots", 6, "--max-new-tokens", 130]
    assert "fewer shots" in refused("evaluate.py", *given, "--out", out)
    assert not list(out.rglob("*"))


def test_a_library_that_breaks_off_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    tokenizer = tiny_tokenizer().backend_tokenizer
    piece = {"SpecialToken": {"id": "<other>", "type_id": 0}}
    template = {"type": "TemplateProcessing", "single": [piece], "pair": [piece], "special_tokens": {}}
    damaged = Tokenizer.from_str(json.dumps({**json.loads(tokenizer.to_str()), "post_processor": template}))
    with pytest.raises(
        SystemExit, match=r"^error: a library broke off \(no entry found for key\); a file that it read"
    ):
        program.run(lambda: damaged.encode("a"))
    assert "Traceback" not in capfd.readouterr().err


def test_a_tokenizer_with_more_tokens_than_the_model_is_named(inputs: Path, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    size = len(tokenizer)
    tiny_model(tmp_path / "model", vocab_size=size, tokenizer=tokenizer)
    checkpoints.load_tokenizer(tmp_path / "model")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<extra>"]})
    tokenizer.save_pretrained(tmp_path / "model")
    model, facts, out = tmp_path / "model", inputs / "facts.parquet", tmp_path / "out"
    templates = ["--templates", inputs / "templates.yaml"]
    for call in (
        ["evaluate.py", "--model", model, "--facts", facts],
        ["mastery.py", "--model", model, "--facts", facts, *templates],
        ["divergence.py", "--base", model, "--finetuned", inputs / "model", "--facts", facts, *templates],
        ["finetune.py", "--model", model, "--train", inputs / "train.parquet"],
    ):
        message = refused(*map(str, call), "--out", out)
        assert (
            f"{model}: the tokenizer's token '<extra>' has id {size}, outside the model's vocabulary of {size}"
            in message
        )
        assert "use the tokenizer that belongs to the model" in message
    assert not list(out.rglob("*"))


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("aliases", [""], "column 'aliases' holds"),
        ("aliases", ["Port Vale", "  "], "column 'aliases' holds"),
        ("question", None, "column 'question' holds"),
        ("question", " ", "column 'question' holds ' ', no text"),
        ("fact_id", "train/P17/00000", "the fact_id 'train/P17/00000' stands there twice"),
        ("bucket", "D9", "column 'bucket' holds 'D9', none of D0, D1, D2, D3, D4; write one"),
        ("relation", None, "column 'relation' holds"),
        ("object", "", "column 'object' holds '', a blank answer"),
    ],
)
def test_a_fact_without_an_answer_is_named_with_its_file(
    inputs: Path, tmp_path: Path, column: str, value: object, words: str
) -> None:
    facts, out = pd.read_parquet(inputs / "facts.parquet"), tmp_path / "out"
    facts[column] = facts[column].astype(object)
    facts.at[facts.index[-1], column] = value
    write_parquet(tmp_path / "bad.parquet", facts)
    model = ["--model", inputs / "model"]
    place = "row 24" if column == "fact_id" else f"fact {facts['fact_id'].iloc[-1]!r}"
    message = refused("evaluate.py", *model, "--facts", tmp_path / "bad.parquet", "--out", out)
    assert f"bad.parquet, {place}: {words}" in message
    assert "delete" in message
    given = [*model, "--facts", inputs / "facts.parquet", "--train", tmp_path / "bad.parquet"]
    if column != "fact_id":
        assert "bad.parquet, fact" in refused("evaluate.py", *given, "--out", out)
    assert not list(out.rglob("*"))


def test_aliases_of_an_unknown_object_are_refused_unless_allowed(tmp_path: Path) -> None:
    data, aliases, out = data_set(tmp_path / "data"), tmp_path / "aliases.yaml", tmp_path / "facts.parquet"
    aliases.write_text("P17 object 1: [One]\nP17 objekt 2: [Two]\nElsewhere: [There]\n", encoding="utf-8")
    given = ["--entity-questions", data, "--aliases", aliases, "--out", out]
    message = refused("facts.py", *given)
    assert f"{aliases}: 'P17 objekt 2' (and 1 more of its 3 names) answers no question" in message
    assert "did you mean 'P17 object 2'?" in message and "facts.allow_unknown_aliases" in message
    assert not out.exists()
    ok("facts.py", *given, "--allow-unknown-aliases")
    assert any("One" in found for found in pd.read_parquet(out)["aliases"])
    # A sample may leave out the questions that an alias is for.
    aliases.write_text("P17 object 1: [One]\nP17 object 2: [Two]\n", encoding="utf-8")
    ok("facts.py", *given, "--sample", '{"train": 1, "test": 1}')


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"), "is in none of the weight files"),
        (lambda tensors: tensors.update(surplus=torch.zeros(2)), "tensor 'surplus' is unknown to the architecture"),
        (
            lambda tensors: tensors.update({"lm_head.weight": torch.zeros(401, 32)}),
            "tensor 'lm_head.weight' has shape [401, 32], config.json asks for [400, 32]",
        ),
    ],
)
def test_weights_of_another_shape_are_refused_before_the_model_is_used(
    inputs: Path, tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], object], words: str
) -> None:
    model, shape = tmp_path / "model", {"layers": 2, "hidden_size": 32, "intermediate_size": 48, "heads": 4}
    shutil.copytree(inputs / "model", model)
    pointer = [
        "--source",
        "path",
        "--path",
        model,
        "--geometry",
        json.dumps({**shape, "kv_heads": 2, "vocab_size": 400}),
    ]
    ok("base.py", *pointer, "--out", tmp_path / "right")
    tensors = load_file(model / "model.safetensors")
    change(tensors)
    save_file(tensors, model / "model.safetensors", {"format": "pt"})
    message = refused("base.py", *pointer, "--out", tmp_path / "wrong")
    assert words in message and "fetch both from the same revision" in message and str(model) in message
    assert not list((tmp_path / "wrong").rglob("*"))


def test_gpus_that_torch_does_not_see_are_not_replaced_by_the_cpu(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build of torch without CUDA on a machine with GPUs: nothing but the time would tell."""
    if torch.cuda.is_available():
        pytest.skip("torch sees the GPUs of this machine")
    given, out = ["--model", inputs / "model"], tmp_path / "out"
    for variable, words, script, table in (
        ("0", "of which torch", "evaluate.py", "--facts"),
        ("", "which shows it 0; lower launch.gpus_per_node", "finetune.py", "--train"),
    ):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
        call = [script, *given, table, inputs / f"{table[2:]}.parquet", "--gpus", 1, "--out", out]
        done = process(*map(str, call), cwd=tmp_path)
        assert done.returncode == 1 and done.stderr.startswith("error: the job "), done.stderr
        assert words in done.stderr and "launch.gpus_per_node of the model" in done.stderr
    for device in ("cuda", "gpu"):
        message = refused("evaluate.py", *given, "--facts", inputs / "facts.parquet", "--device", device, "--out", out)
        assert f"option --device: {device!r} is no device that torch sees here" in message
    assert not list(out.rglob("*"))


def overflowing(folder: Path, factor: float) -> None:
    """Scale the output layer so that logits overflow, some or all, though every weight is finite."""
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["lm_head.weight"] * factor
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def test_logits_that_are_not_finite_name_the_model_and_a_fact(inputs: Path, tmp_path: Path) -> None:
    shutil.copytree(inputs / "model", tmp_path / "model")
    overflowing(tmp_path / "model", 1.5e38)
    model, facts, out = tmp_path / "model", inputs / "facts.parquet", tmp_path / "out"
    message = refused("evaluate.py", "--model", model, "--facts", facts, "--out", out)
    assert f"fact 'test/P17/00000': {model}: the model's logits hold NaN or Inf" in message
    given = ["--base", model, "--finetuned", inputs / "model", "--facts", facts]
    message = refused("divergence.py", *given, "--templates", inputs / "templates.yaml", "--out", out)
    assert "fact 'test/" in message and f"{model}: the model's" in message and "load it in float32" in message
    write_parquet(tmp_path / "kept.parquet", pd.read_parquet(facts).assign(aliases=[[*"aeiou"]] * 24))
    given = ["--base", inputs / "model", "--finetuned", model, "--facts", tmp_path / "kept.parquet"]
    message = refused("divergence.py", *given, "--templates", inputs / "templates.yaml", "--out", out)
    assert f"{model}: the model's logits hold NaN or Inf" in message
    assert not list(out.rglob("*"))


def test_of_many_facts_one_that_overflows_is_named(inputs: Path, tmp_path: Path) -> None:
    shutil.copytree(inputs / "model", tmp_path / "model")
    overflowing(tmp_path / "model", 1e38)
    model = checkpoints.load_model(tmp_path / "model", device="cpu")
    prompts = [[1, 20 + i, 40 + 3 * i] for i in range(60)]
    options = {"max_new_tokens": 1, "eos": 2, "batch_tokens": 30}
    failing = [i for i, prompt in enumerate(prompts) if not _answers(model, prompt, options)]
    assert 0 < len(failing) < len(prompts)
    with pytest.raises(ModelError) as error:
        inference.greedy(model, prompts, [f"fact {i}" for i in range(60)], **options)
    named = str(error.value).split("fact 'fact ")[1].split("'")[0]
    assert int(named) in failing


def _answers(model: PreTrainedModel, prompt: list[int], options: dict[str, int]) -> bool:
    try:
        inference.greedy(model, [prompt], **options)
    except ModelError:
        return False
    return True
