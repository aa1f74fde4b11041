"""Chat templates as models bring them: arguments, dates, named templates, the end of a turn, thinking, one BOS."""

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import GenerationConfig, PreTrainedTokenizerFast

from sftlens.errors import ConfigError, DataError, ModelError
from sftlens.inference import chat as chats
from sftlens.inference.chat import Chat
from sftlens.repair.prompting import Prompting
from tiny import tiny_tokenizer

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DATED = "{{ bos_token }}Today is {{ strftime_now('%d %B %Y') }}. {% for m in messages %}{{ m.content }}{% endfor %}"
THINKS = (
    CHATML[:-11]
    + "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% else %}<think>\n{% endif %}"
    + "{% endif %}"
)
STRICT = (
    "{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{{ m.content }}{% endfor %}"
)
IN_PARTS = (
    "{% for m in messages %}{% for part in m.content if part.type == 'text' %}"
    "[{{ m.role }}] {{ part.text }}{% endfor %}{% endfor %}"
)
PLAIN_END = (
    "{% for m in messages %}### {{ m.role }}\n{{ m.content }}\n### End\n{% endfor %}"
    "{% if add_generation_prompt %}### assistant\n{% endif %}"
)
MARKED = ("<|im_start|>", "<|im_end|>", "<think>", "</think>")


def tokenizer(template: Any, special: tuple[str, ...] = MARKED) -> PreTrainedTokenizerFast:
    made = tiny_tokenizer(vocab_size=360)
    made.add_special_tokens({"additional_special_tokens": list(special)})
    made.chat_template = template
    return made


def chat(template: Any, **options: Any) -> Chat:
    return Chat(tokenizer(template), Path("model"), **options)


def said(template: str, text: str, ended: bool = True, **options: Any) -> chats.Said:
    """Return what is read of one output, which is `text` and, if it `ended`, the token that ends the turn."""
    made = chat(template, **options)
    stop = made.tokenizer.convert_tokens_to_ids("<|im_end|>")
    ids = made.tokenizer(text, add_special_tokens=False)["input_ids"] + ([stop] if ended else [])
    return chats.read(made.tokenizer, [ids], [2, stop], made.turn_end, chats.opens_thinking(made.sample))[0]


def test_arguments_and_a_system_prompt_reach_the_template() -> None:
    assert chat(THINKS).render("Who?").endswith("assistant\n<think>\n")
    made = chat(THINKS, arguments={"enable_thinking": False}, system="Be brief.")
    assert made.render("Who?").endswith("assistant\n<think></think>")
    assert made.render("Who?").startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWho?<|im_end|>")
    own = [{"role": "system", "content": "Rhyme."}, {"role": "user", "content": "Who?"}]
    assert "Be brief." not in made.render(own) and "Rhyme." in made.render(own)


@pytest.mark.parametrize(("options", "template", "error", "words"), [
    ({"arguments": {"enable_thinkin": False}}, THINKS, ConfigError, "enable_thinkin: the chat template of model takes"),
    ({"arguments": {"add_generation_prompt": False}}, CHATML, ConfigError, "takes no such argument"),
    ({"system": "Be brief."}, STRICT, DataError, "System role not supported); leave out --system-prompt"),
    ({"system": "Be brief."}, "{{ messages[-1].content }}", ModelError, "leaves a system prompt out"),
    ({"name": "rag"}, {"default": CHATML, "tool_use": CHATML}, ConfigError, "name one of default, tool_use with"),
    ({}, {"rag": CHATML, "tool_use": CHATML}, ConfigError, "no chat template called 'default'; name one of rag, tool"),
    ({"name": "rag"}, CHATML, ConfigError, "leave out --chat-template-name"),
    ({}, "{{ bos_token }}Hello.", ModelError, "leaves the question out of the prompt"),
    ({}, "{{ messages[0]['content'] + 5 }}", DataError, "does not take the messages"),
    ({}, "{% for m in messages %}", DataError, "does not take the messages"),
])  # fmt: skip
def test_what_a_template_cannot_do_is_one_line(options: Any, template: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        Prompting(None, Chat(tokenizer(template), Path("model"), **options)).check()
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_options_of_a_chat_template_need_one() -> None:
    made = Prompting("Q: {question}", Chat(tokenizer(CHATML), Path("model"), system="Be brief."))
    with pytest.raises(ConfigError, match="add --chat-template, or leave them out"):
        made.check(["a task"])
    made.check([[{"role": "user", "content": "a task"}]])


def test_one_of_several_named_templates() -> None:
    several = {"default": CHATML, "short": "{{ messages[-1].content }}?"}
    assert chat(several, name="short").render("Who") == "Who?"
    assert chat(several).render("Who").startswith("<|im_start|>user")


def test_messages_in_parts_for_models_that_see() -> None:
    assert chat(IN_PARTS).render("Who?") == "[user] Who?"


def test_the_date_is_one_in_a_run_and_part_of_the_key() -> None:
    first, second = (chat(DATED, today=date(2026, 2, day)) for day in (3, 4))
    assert first.render("Who?") == "<s>Today is 03 February 2026. Who?" and "04 February" in second.sample
    assert first.example == "<s>Today is 03 February 2026. {question}"
    keys = []
    for day in (3, 4):
        made = Prompting(None, Chat(tokenizer(DATED), Path("model")))
        made.__dict__["chat"] = chat(DATED, today=date(2026, 2, day))
        keys.append(made.identity())
    assert keys[0] != keys[1] and "03 February 2026" in keys[0]
    # A prompt of its own does not depend on the date, but a task of messages beside it does.
    plain = Prompting("Q: {question}", Chat(tokenizer(DATED), Path("model")))
    assert "Today" not in plain.identity() and "Today" in plain.identity(["", [{"role": "user", "content": "x"}]])


@pytest.mark.parametrize(("template", "end"), [
    (CHATML, "<|im_end|>"),
    ("{% for m in messages %}{{ m.content }}{{ eos_token }}\n{% endfor %}", "</s>"),
    (PLAIN_END, "### End"),
    ("{% for m in messages %}{{ m.content }}\n\n{% endfor %}", ""),
])  # fmt: skip
def test_the_end_of_a_turn_is_found_by_rendering(template: str, end: str) -> None:
    made = chat(template)
    assert made.turn_end == end
    model: Any = SimpleNamespace(generation_config=GenerationConfig(eos_token_id=2))
    stop = made.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert chats.ends(model, made.tokenizer, made.turn_end) == ([2, stop] if end == "<|im_end|>" else [2])
    assert chats.ends(model, made.tokenizer) == [2]


def test_an_end_that_is_no_token_ends_the_text() -> None:
    assert said(PLAIN_END, "Oslo\n### End\n### user\nRome", ended=False) == ("Oslo\n", True, False)


@pytest.mark.parametrize(("template", "text", "ended", "found"), [
    (CHATML, "Oslo", True, ("Oslo", True, False)),
    (CHATML, "<think>Rome?</think>\n\nOslo", True, ("\n\nOslo", True, False)),
    (CHATML, "<think>Rome? No,", False, ("", False, True)),
    (THINKS, "Rome? No.</think>Oslo", True, ("Oslo", True, False)),
    (THINKS, "Rome? No,", False, ("", False, True)),  # the prompt began the block
    (THINKS, "Oslo", True, ("Oslo", True, False)),  # a model that does not think
    (CHATML, "<|channel|>analysis<|message|>Rome<|channel|>final<|message|>Oslo", True, ("Oslo", True, False)),
    (CHATML, "[THINK]Rome[/THINK]Oslo", False, ("Oslo", False, False)),
])  # fmt: skip
def test_answers_are_read_after_the_thinking(template: str, text: str, ended: bool, found: chats.Said) -> None:
    assert said(template, text, ended) == found
    assert chats.opens_thinking(chat(template).sample) == (template == THINKS)


@pytest.mark.parametrize(
    "text", ["Oslo", " Oslo</s>", "Oslo<|im_end|>\n", "<think>Rome? No.</think>\n\nOslo<|im_end|>"]
)
def test_a_target_is_compared_without_what_no_answer_has(text: str) -> None:
    assert chats.target(text, tokenizer(CHATML), "<|im_end|>") == "Oslo"


def test_marks_of_a_template_written_by_hand_end_a_turn_too() -> None:
    by_hand = "<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    made = tokenizer(CHATML)
    assert Prompting(by_hand, Chat(made, Path("model"))).turn_end(["who?"]) == "<|im_end|>"
    assert Prompting(by_hand + "<think>", Chat(made, Path("model"))).opens_thinking(["who?"])
    plain = Prompting("Q: {question}", Chat(made, Path("model")))
    assert plain.turn_end(["who?"]) == "" and plain.turn_end(["<|im_start|>user\nwho?<|im_end|>"]) == "<|im_end|>"
    assert Prompting("Q: {question}", Chat(tokenizer(None), Path("model"))).turn_end(["who?"]) == ""


@pytest.mark.parametrize("add_bos", [True, False])
def test_no_prompt_begins_with_two_bos(add_bos: bool) -> None:
    made = tiny_tokenizer(add_bos=add_bos)
    made.chat_template = DATED
    for template in ("<s>Q: {question}", " <s>Q: {question}", "Q: {question}"):
        prompting = Prompting(template, Chat(made, Path("model")))
        ids = prompting.questions(made, ["who?"])[0]
        assert ids.count(1) == (1 if add_bos or "<s>" in template else 0) and ids[1:2] != [1]
        # Solved examples of a few-shot prompt bring no BOS either.
        assert prompting.form == "Q: {question}" and prompting.opening == "Q:"
        assert prompting.tasks(made, ["<s>Sort:"])[0].count(1) == 1
    assert Prompting(None, Chat(made, Path("model"))).questions(made, ["who?"])[0].count(1) == 1
