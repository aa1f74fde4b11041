"""How repair judges answers: by their first line, the same for mastery and for answers, whoever goes on or stops."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import repair_models
from script_calls import ok
from sftlens.config.repair import FewShotSettings
from sftlens.files import read_json
from sftlens.inference.chat import Chat
from sftlens.models.checkpoints import load_model
from sftlens.repair import fewshot_mastery, prompting
from tiny import tiny_model, tiny_tokenizer

FACTS = repair_models.FACTS[:64]
QUICK = ["--criterion", "relative", "--ratio", 60, "--ratio", 90, "--reprobe", 0]
QUICK += ["--few-shot", '{"prompts": 1, "shots": 2, "samples": 2}']


def report(folder: Path, *options: object) -> tuple[dict[str, Any], pd.DataFrame]:
    facts = folder / "facts.csv"
    facts.write_text("\n".join(["question,answers", *(f"{question},{answer}" for question, answer in FACTS)]) + "\n")
    ok("repair.py", folder / "base", folder / "tuned", "--facts", facts, *QUICK, *options, "--out", folder / "out")
    return read_json(folder / "out" / "report.json"), pd.read_csv(folder / "out" / "answers.csv")


def test_answers_inside_questions_of_its_own_earn_a_model_nothing(tmp_path: Path) -> None:
    goes_on = [(p, f" none\nQuestion: {FACTS[0][0]}\nAnswer:{a}") for p, a in repair_models.ASKED[:64]]
    stops = [(prompt, " none") for prompt, _ in repair_models.ASKED[:64]]
    tokenizer = tiny_tokenizer([a + b for a, b in (*goes_on, *repair_models.ORDERED)])
    tiny_model(tmp_path / "base", tokenizer=tokenizer, std=0.05)
    model = load_model(tmp_path / "base", device="cpu")
    repair_models.train(model, tokenizer, [*goes_on, *repair_models.ORDERED], steps=140, rate=1e-2)
    model.save_pretrained(tmp_path / "base")
    repair_models.train(model, tokenizer, [*stops, *repair_models.ORDERED], steps=40, rate=5e-3)
    model.save_pretrained(tmp_path / "tuned")
    tokenizer.save_pretrained(tmp_path / "tuned")
    task = tmp_path / "task.jsonl"
    task.write_text("\n".join(json.dumps({"prompt": p, "target": t}) for p, t in repair_models.TASK) + "\n")
    found, answers = report(tmp_path, "--task", task)
    assert answers["base: right anywhere"].mean() > 0.2 and not answers["base: right"].any()
    assert not answers["fine-tuned: right"].any()
    assert not found["outcome"]["written"]
    rows = pd.DataFrame(found["metrics"])
    of_base = rows[(rows["model"] == "base") & (rows["bucket"] == "all") & (rows["half"] == "all")].set_index("metric")
    assert of_base.loc["first_line", "value"] == 0 and of_base.loc["contains", "value"] > 0.2
    page = (tmp_path / "out" / "report.html").read_text()
    assert "answer anywhere in the output" in page and "facts answered" in page


@pytest.mark.parametrize(("template", "opening"), [
    ("Question: {question}\nAnswer:", "Question:"),
    ("Q: {question} A:", "Q:"),
    ("{question}", ""),
    ("Please answer {question}", ""),  # an answer may hold these words
])  # fmt: skip
def test_what_begins_another_question(template: str, opening: str) -> None:
    assert prompting.Prompting(template, Chat(tiny_tokenizer(), Path())).opening == opening


def test_a_chat_model_is_asked_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its turn ends with a token that nothing names as an end; without an argument it thinks."""
    template = (
        "{% for m in messages %}[{{ m.role }}] {{ m.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}[reply]<think>"
        "{% if enable_thinking is defined and not enable_thinking %}</think>{% endif %}{% endif %}"
    )
    asked = [(f"[user] {text}<|im_end|>[reply]<think></think>", f" {answer}<|im_end|>") for text, answer in FACTS]
    tokenizer = tiny_tokenizer([a + b for a, b in asked], bos=False)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    tokenizer.chat_template = template
    tiny_model(tmp_path / "base", tokenizer=tokenizer, std=0.05)
    model = load_model(tmp_path / "base", device="cpu")
    repair_models.train(model, tokenizer, asked, steps=140, rate=1e-2)
    model.save_pretrained(tmp_path / "base")
    repair_models.damage(tmp_path / "base" / "model.safetensors", share=1e-3, size=1e-3)
    model.save_pretrained(tmp_path / "tuned")
    tokenizer.save_pretrained(tmp_path / "tuned")
    short = ["--chat-template", "--max-new-tokens", 6]
    found, answers = report(tmp_path, *short, "--chat-template-arg", "enable_thinking=false")
    assert "'<|im_end|>', which neither the tokenizer nor generation_config.json names" in capsys.readouterr().err
    assert answers["fine-tuned: right"].mean() > 0.9
    rows = pd.DataFrame(found["metrics"])
    ended = rows[(rows["model"] == "fine-tuned") & (rows["metric"] == "well_formed") & (rows["half"] == "all")]
    assert ended["value"].min() > 0.9
    assert "<think></think>" in found["measured"]["questions were asked with"]
    assert found["settings"]["chat_template_args"] == {"enable_thinking": False}


def test_samples_are_judged_when_a_number_has_ended(tmp_path: Path) -> None:
    """`1` stands in `19` only as long as the sample has not got further."""
    facts = pd.DataFrame({"question": [f"How old is N{i}?" for i in range(30)]})
    facts = facts.assign(fact_id=facts["question"], relation="", subject="", object="1", aliases=[["1"]] * len(facts))
    asked = [(f"Question: {question}\nAnswer:", " 19") for question in facts["question"]]
    tokenizer = tiny_tokenizer([*(a for a, _ in asked), "1 2 3 4 5 6 7 8 9 0"])
    assert len(tokenizer(" 19", add_special_tokens=False)["input_ids"]) > 1
    tiny_model(tmp_path / "m", tokenizer=tokenizer, std=0.05)
    model = load_model(tmp_path / "m", device="cpu")
    repair_models.train(model, tokenizer, asked, steps=60, rate=2e-2)
    settings = FewShotSettings(prompts=2, shots=2, samples=4, max_new_tokens=4)
    for answer, expected in (("1", 0), ("19", 1)):
        given = facts.assign(object="19", aliases=[[answer]] * len(facts))
        how = (settings, prompting.QUESTION_ANSWER, 4096)
        table = fewshot_mastery.probe(model, tokenizer, given, given, *how, of="m", opening="Question:")
        assert abs(table["mastery"].mean() - expected) < 0.2
