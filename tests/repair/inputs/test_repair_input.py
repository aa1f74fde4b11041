"""What scripts/repair.py cannot work with: one line with file and remedy, nothing written, inputs untouched."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from script_calls import refused
from sftlens.files import sha256
from tiny import tiny_model


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    tiny_model(folder / "base")
    tiny_model(folder / "tuned", seed=1)
    tiny_model(folder / "other", arch="qwen2", seed=1)
    write(folder / "facts.csv", "question,answers", *(f"Where is N{i}?,Oslo" for i in range(80)))
    rows = [{"prompt": f"Sort {i}:", "target": "red"} for i in range(80)]
    write(folder / "task.jsonl", *map(json.dumps, rows))
    return folder


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def refusal(inputs: Path, tmp_path: Path, *options: object, finetuned: str = "tuned", out: Path | None = None) -> str:
    """Call the script, the options last, which must end with one line and leave everything as it was."""
    before = {path: sha256(path) for folder in (inputs, tmp_path) for path in folder.rglob("*") if path.is_file()}
    given = ["--facts", inputs / "facts.csv", "--out", out or tmp_path / "out", *options]
    message = refused("repair.py", inputs / "base", inputs / finetuned, *given)
    after = {path: sha256(path) for folder in (inputs, tmp_path) for path in folder.rglob("*") if path.is_file()}
    assert after == before
    return message


@pytest.mark.parametrize(
    ("name", "lines", "words"),
    [
        (
            "f.csv",
            ["question,reply", "Who?,Ada"],
            ["no column 'object' or 'answers' or 'answer'", "question, reply", "write {"],
        ),
        ("f.csv", ["ask,answer", "Who?,Ada"], ["column 'question' is missing"]),
        ("f.csv", ["question,answers", "Who?,"], ["line 2: column 'answers' holds ''", "or delete the row"]),
        ("f.csv", ["question,answers", "Who?,Ada||Bo"], ["'Ada||Bo', a blank answer; write at least one text"]),
        ("f.csv", ["question,answers", ",Ada"], ["line 2: column 'question' holds ''"]),
        ("f.csv", ["question,answers", "Who, then?,Ada"], ["line 2: has another number of fields", "double quotes"]),
        ("f.csv", ["question,answers"], ["holds no rows"]),
        ("f.csv", [""], ["holds no rows"]),
        ("f.csv", ["question,answers", "Who?,Ada", "Who?,Bo"], ["line 3: the question 'Who?' stands there twice"]),
        ("f.csv", ["question,answers", "Who?,Ada"], ["1 facts make halves of", "at least 20", "60 are nearly always"]),
        ("f.jsonl", ['{"question": "Who?", "answers": []}'], ["line 1: column 'answers' holds []"]),
        ("f.jsonl", ['{"question": "Who?", "answers": [true]}'], ["column 'answers' holds [True], an answer that"]),
        ("f.jsonl", ['{"question": "Who?", '], ["line 1: no JSON"]),
        ("f.jsonl", ['[{"question": "Who?"}]'], ["line 1: is no JSON object"]),
        ("f.txt", ["Who?"], ["ends in '.txt'; give a Parquet (.parquet), CSV"]),
    ],
)
def test_facts(inputs: Path, tmp_path: Path, name: str, lines: list[str], words: list[str]) -> None:
    path = write(tmp_path / name, *lines)
    message = refusal(inputs, tmp_path, "--facts", path)
    assert str(path) in message and all(word in message for word in words), message


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (['{"prompt": "Sort:"}'], ["no column 'prompt' and 'target', or 'messages'"]),
        (['{"prompt": "Sort:", "target": " "}'], ["line 1: column 'target' holds ' '"]),
        (['{"messages": [{"role": "user", "content": "Sort"}]}'], ["ends with the assistant's"]),
        (['{"prompt": "a", "target": "b"}'] * 2, ["stands there twice"]),
        (['{"prompt": "a", "target": "b"}'], ["1 examples make halves"]),
    ],
)
def test_tasks(inputs: Path, tmp_path: Path, lines: list[str], words: list[str]) -> None:
    message = refusal(inputs, tmp_path, "--task", write(tmp_path / "t.jsonl", *lines))
    assert str(tmp_path / "t.jsonl") in message and all(word in message for word in words), message


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--facts", "missing.csv"], "missing.csv: no such file"),
        (["--prompt-template", "{question} {name}"], "unknown placeholder {name}"),
        (["--prompt-template", "\udcff {question}"], "'\\udcff' is no UTF-8 text"),
        (["--chat-template", "--chat-template-arg", 'a="\\ud800"'], "'\\ud800' is no UTF-8 text"),
        (["--chat-template", "--chat-template-arg", "thinking"], "write KEY=VALUE, such as enable_thinking=false"),
        (["--system-prompt", "Be brief."], "add --chat-template, or leave them out"),
        (["--chat-template"], "the tokenizer has no chat template"),
        (["--ratio", "0"], "a ratio is a percentage above 0"),
        (["--ratio", "5", "--ratio", "5"], "every value once"),
        (["--criterion", "absolut"], "'relative', 'absolute', "),
        (["--region", "head"], "choose one of: transformer"),
        (["--score", "bleu"], "choose from 'exact', 'contains', 'rouge_l'"),
        (["--tolerance", "5"], "option --tolerance"),
        (["--few-shot", '{"shots": 30}'], "80 facts are too few for 4 few-shot prompts of 30"),
    ],
)
def test_options(inputs: Path, tmp_path: Path, options: list[str], words: str) -> None:
    assert words in refusal(inputs, tmp_path, *options)


def test_messages_need_a_chat_template(inputs: Path, tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"{i}"}, {"role": "assistant", "content": "x"}]} for i in range(80)
    ]
    task = write(tmp_path / "t.jsonl", *map(json.dumps, rows))
    assert "has no chat template" in refusal(inputs, tmp_path, "--task", task)


def test_models_that_do_not_belong_together(inputs: Path, tmp_path: Path) -> None:
    message = refusal(inputs, tmp_path, finetuned="other")
    assert "other/config.json: model_type is 'qwen2', that of the base" in message
    assert "no such model folder" in refusal(inputs, tmp_path, finetuned="nowhere")
    shutil.copytree(inputs / "tuned", inputs / "bad")
    tensors = load_file(inputs / "bad" / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    save_file({**tensors, name: tensors[name] * torch.inf}, inputs / "bad" / "model.safetensors", {"format": "pt"})
    assert f"tensor {name!r} holds NaN or Inf" in refusal(inputs, tmp_path, finetuned="bad")


def test_places_that_must_not_be_written(inputs: Path, tmp_path: Path) -> None:
    for out in (inputs / "base", inputs / "tuned" / "inner", inputs):
        assert "choose another folder" in refusal(inputs, tmp_path, out=out)
    (tmp_path / "full").mkdir()
    write(tmp_path / "full" / "mine.txt", "precious")
    assert "holds files that were not made here" in refusal(inputs, tmp_path, out=tmp_path / "full")
    assert "is a file" in refusal(inputs, tmp_path, out=tmp_path / "full" / "mine.txt")
    assert sorted(os.listdir(tmp_path)) == ["full"]


def test_an_adapter_is_no_base(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    write(tmp_path / "adapter" / "adapter_config.json", '{"peft_type": "LORA"}')
    given = ["--facts", inputs / "facts.csv", "--out", tmp_path / "out"]
    message = refused("repair.py", tmp_path / "adapter", inputs / "tuned", *given)
    assert "is an adapter, no base model" in message and not (tmp_path / "out").exists()
