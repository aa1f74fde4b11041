"""The parts of a repair that need no model: the rule, the halves, scores, few-shot prompts, what users bring."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sftlens.config.repair import FewShotSettings, RepairSettings
from sftlens.errors import ConfigError, DataError
from sftlens.repair import choice_rule, fewshot_mastery, prompting, user_files
from sftlens.repair.choice_rule import Comparison, Difference
from sftlens.repair.models import Candidate, candidates

TOLERANCE = 0.05


def seen(mean: float, gain_low: float, change_low: float, change: float = 0.0) -> Comparison:
    gain = Difference(mean, mean - 0.4, gain_low, mean, 50)
    return Comparison(gain, Difference(0.5, change, change_low, 0.2, 50))


SMALL, MIDDLE, LARGE = (Candidate("relative", ratio) for ratio in (1, 5, 20))


def test_most_facts_win_among_those_that_keep_the_task() -> None:
    found = {SMALL: seen(0.5, 0.01, -0.05), MIDDLE: seen(0.6, 0.1, -0.049), LARGE: seen(0.9, 0.4, -0.051)}
    assert choice_rule.choose(found, TOLERANCE) == MIDDLE


def test_ties_go_to_the_smaller_ratio_then_to_the_first_order() -> None:
    settings = RepairSettings(ratios=[20, 5], criteria=["absolute", "relative"])
    found = {candidate: seen(0.6, 0.1, 0.0) for candidate in candidates(settings)}
    assert choice_rule.choose(found, TOLERANCE) == Candidate("absolute", 5)


def test_no_certain_gain_means_no_choice() -> None:
    found = {SMALL: seen(0.5, 0.0, 0.0), LARGE: seen(0.9, 0.4, -0.3, change=-0.1)}
    assert choice_rule.choose({SMALL: found[SMALL]}, TOLERANCE) is None
    assert "answers more facts" in choice_rule.why_not({SMALL: found[SMALL]}, TOLERANCE)
    assert choice_rule.choose(found, TOLERANCE) is None
    assert "relative 20 %, changes it by -10.0 points" in choice_rule.why_not(found, TOLERANCE)
    unsure = {LARGE: seen(0.9, 0.4, -0.3, change=-0.01)}
    assert "With more examples of the task" in choice_rule.why_not(unsure, TOLERANCE)


def test_differences_are_paired() -> None:
    generator = np.random.default_rng(0)
    before = (generator.random(400) < 0.5).astype(float)
    after = np.maximum(before, generator.random(400) < 0.05)
    paired = choice_rule.difference(after, before)
    assert paired.low > 0 and paired.high - paired.low < 0.06  # unpaired it would be 0.14 wide
    assert paired.value == pytest.approx(after.mean() - before.mean()) and paired.n == 400


def test_halves_do_not_depend_on_the_other_examples() -> None:
    names = [f"question {i}" for i in range(200)]
    whole = dict(zip(names, user_files.halves(names, "f.csv", "facts"), strict=True))
    part = dict(zip(names[::2], user_files.halves(names[::2], "f.csv", "facts"), strict=True))
    assert {name: whole[name] for name in part} == part
    assert 70 < sum(half == "choosing" for half in whole.values()) < 130


def test_too_few_examples_name_the_minimum() -> None:
    with pytest.raises(DataError, match=r"f\.csv: 30 facts make halves of \d+ and \d+, each needs at least 20"):
        user_files.halves(map(str, range(30)), "f.csv", "facts")


def test_no_fact_is_solved_in_its_own_prompt() -> None:
    table = pd.DataFrame({"question": [f"Q{i}?" for i in range(30)], "object": [f"A{i}" for i in range(30)]})
    table["fact_id"] = table["question"]
    settings = FewShotSettings(prompts=3, shots=4)
    made = fewshot_mastery.prompts(table, table, settings, prompting.QUESTION_ANSWER)
    for (_, row), texts in zip(table.iterrows(), made, strict=True):
        assert len(set(texts)) == 3
        for text in texts:
            assert text.endswith(f"\n\nQuestion: {row['question']}\nAnswer:") and text.count("Question:") == 5
            assert text.count(f"{row['question']}\n") == 1 and f" {row['object']}\n" not in text
    others = fewshot_mastery.prompts(
        table, table, FewShotSettings(prompts=3, shots=4, seed=1), prompting.QUESTION_ANSWER
    )
    assert others != made
    with pytest.raises(DataError, match=r"12 facts are too few .* at least 13"):
        fewshot_mastery.check(12, settings)


@pytest.mark.parametrize(
    ("score", "output", "target", "value"),
    [
        ("exact", " Oslo \n", "Oslo", 1),
        ("exact", "Oslo.", "Oslo", 0),
        ("contains", "It is Oslo.", "Oslo", 1),
        ("contains", "oslo", "Oslo", 0),
        # The example of Lin (2004).
        ("rouge_l", "police kill the gunman", "police killed the gunman", 0.75),
        ("rouge_l", "the gunman kill police", "police killed the gunman", 0.5),
        ("rouge_l", "Police, KILLED the gunman!", "police killed the gunman", 1),
        ("rouge_l", "", "police", 0),
    ],
)
def test_scores(score: str, output: str, target: str, value: float) -> None:
    assert user_files.SCORES[score](output, target) == value


def test_prompt_templates() -> None:
    assert prompting.read_template(r"Q: {question}\nA:") == "Q: {question}\nA:"
    assert prompting.read_template("{{x}} {question}").format(question="why?") == "{x} why?"
    for text, words in (
        ("{question} {answer}", "unknown placeholder {answer}"),
        ("{}", "unknown placeholder {}"),
        ("Answer:", "0 places"),
        ("{question} {question}", "2 places"),
        ("{question", "expected '}'"),
    ):
        with pytest.raises(ConfigError) as error:
            prompting.read_template(text)
        assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("f.csv", 'question,answers\n"Where, then?",Oslo|Christiania\nWho?, Ada \n'),
        ("f.csv", '\ufeffid,answers,question\n1,Oslo|Christiania,"Where, then?"\n2,Ada,Who?\n'),
        (
            "f.jsonl",
            '{"question": "Where, then?", "answers": ["Oslo", "Christiania"]}\n\n'
            '{"question": "Who?", "answers": "Ada"}',
        ),
    ],
)  # fmt: skip
def test_facts_are_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    table = user_files.read_facts(tmp_path / name)
    assert table["question"].tolist() == ["Where, then?", "Who?"]
    assert table["aliases"].tolist() == [["Oslo", "Christiania"], ["Ada"]]
    assert table["object"].tolist() == ["Oslo", "Ada"]


@pytest.mark.parametrize("ending", [".jsonl", ".parquet", ".csv"])
def test_tasks_are_read(tmp_path: Path, ending: str) -> None:
    chat = [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]
    parts = [{**message, "content": [{"type": "text", "text": message["content"]}]} for message in chat]
    for messages in (chat, parts):
        table = pd.DataFrame({"messages": [json.dumps(messages) if ending == ".csv" else messages]})
        write = {".jsonl": table.to_json, ".parquet": table.to_parquet, ".csv": table.to_csv}[ending]
        write(tmp_path / f"t{ending}", **({"orient": "records", "lines": True} if ending == ".jsonl" else {}))
        task = user_files.read_task(tmp_path / f"t{ending}")
        assert task["prompt"].tolist() == [chat[:1]] and task["target"].tolist() == ["4"]
    row = {"prompt": "2 + 2?", "target": 4}
    (tmp_path / "t.jsonl").write_text("\n".join([json.dumps(row), json.dumps({**row, "target": '{"sum": 4}'})]))
    assert user_files.read_task(tmp_path / "t.jsonl")["target"].tolist() == ["4", '{"sum": 4}']


def test_answers_count_in_plain_characters_too(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text('{"question": "Where?", "answers": ["N\u2019Djamena"]}\n', encoding="utf-8")
    assert user_files.read_facts(tmp_path / "f.jsonl")["aliases"].tolist() == [["N\u2019Djamena", "N'Djamena"]]


def test_one_answer_may_hold_a_bar(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("question,answer\nWhich sign?,a|b\n")
    assert user_files.read_facts(tmp_path / "f.csv")["aliases"].tolist() == [["a|b"]]


def test_the_more_settings_the_more_certain_a_gain_must_be() -> None:
    generator = np.random.default_rng(5)
    before = (generator.random(200) < 0.5).astype(float)
    after = np.where(generator.random(200) < 0.06, 1 - before, before) + 0.0
    after[before == 0] = np.maximum(after[before == 0], (generator.random(int((before == 0).sum())) < 0.05))
    scores = choice_rule.Scores(before, before), choice_rule.Scores(np.maximum(before, after), before)
    everywhere = np.ones(200, dtype=bool)
    lows = []
    for settings in (1, 15, 10_000):
        seen = choice_rule.compare(scores[1], scores[0], everywhere, everywhere, choice_rule.level_of(settings))
        lows.append(seen.facts.low)
    assert lows[0] > lows[1] > lows[2]


def test_among_many_useless_settings_one_is_taken_at_most_once_in_forty_times() -> None:
    generator, taken, settings = np.random.default_rng(1), 0, 15
    everywhere = np.ones(100, dtype=bool)
    for _ in range(300):
        before = (generator.random(100) < 0.5).astype(float)
        finetuned = choice_rule.Scores(before, before)
        found = {}
        for ratio in range(1, settings + 1):
            flipped = np.where(generator.random(100) < 0.2, generator.random(100) < 0.5, before).astype(float)
            level = choice_rule.level_of(settings)
            made = choice_rule.compare(choice_rule.Scores(flipped, before), finetuned, everywhere, everywhere, level)
            found[Candidate("relative", ratio)] = made
        taken += choice_rule.choose(found, TOLERANCE) is not None
    assert taken / 300 < 0.05  # 0.025 and the noise of 300 draws; without the correction it is about 0.25


def test_a_base_that_does_as_well_is_as_good() -> None:
    def against(facts: float, task: float, high: float) -> Comparison:
        return Comparison(
            Difference(0.9, facts, facts - 0.1, facts + 0.1, 50), Difference(0.5, task, task - 0.1, high, 50)
        )

    assert choice_rule.as_good(against(0.1, 0.0, 0.1)) and choice_rule.as_good(against(0.0, -0.05, 0.02))
    assert not choice_rule.as_good(against(-0.02, 0.0, 0.1)) and not choice_rule.as_good(against(0.1, -0.3, -0.1))
