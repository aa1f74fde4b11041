"""Mastery: buckets at their edges, the columns of a probe, the best template, imported tables, template choice."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from probe_tables import SENTENCES, facts_table
from sftlens import inference
from sftlens.config.stages.mastery import ProbingSettings, TemplateChoice
from sftlens.data import relations
from sftlens.data.buckets import BUCKETS
from sftlens.errors import DataError
from sftlens.mastery import completions, mastery_table
from sftlens.mastery.completions import Probe
from sftlens.synthetic import template_choice
from tiny import tiny_model, tiny_tokenizer

SETTINGS = ProbingSettings(samples=4, max_new_tokens=6)
EPSILON = 1e-12


@pytest.mark.parametrize(
    ("share", "name"),
    [
        (0.0, "D0"),
        (1 / 210, "D1"),
        (0.25, "D1"),
        (0.25 + EPSILON, "D2"),
        (0.5, "D2"),
        (0.5 + EPSILON, "D3"),
        (0.75, "D3"),
        (0.75 + EPSILON, "D4"),
        (1.0, "D4"),
    ],
)
def test_buckets_are_closed_above(share: float, name: str) -> None:
    assert mastery_table.bucket(share) == name


@pytest.mark.parametrize("trials", [3, 4, 7, 10, 70, 210])
def test_no_count_falls_on_the_wrong_side(trials: int) -> None:
    for hits in range(trials + 1):
        wanted = "D0" if hits == 0 else f"D{next(i for i in (1, 2, 3, 4) if 4 * hits <= i * trials)}"
        assert mastery_table.bucket(hits / trials) == wanted


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    return tiny_model(tmp_path_factory.mktemp("model"), std=0.1)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return tiny_tokenizer()


@pytest.fixture(scope="module")
def probed(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> pd.DataFrame:
    return mastery_table.probe(Probe(model, tokenizer, SENTENCES, SETTINGS), facts_table())


def test_a_probe_adds_its_columns(probed: pd.DataFrame) -> None:
    facts = facts_table()
    added = ["hits", "trials", "mastery", "bucket", "template_hits"]
    assert probed.columns.tolist() == facts.columns.tolist() + added
    pd.testing.assert_frame_equal(probed[facts.columns.tolist()], facts)
    assert probed["hits"].dtype == probed["trials"].dtype == np.int64 and probed["mastery"].dtype == float
    for row in probed.itertuples():
        assert len(row.template_hits) == len(SENTENCES[row.relation])
        assert row.hits == sum(row.template_hits) and row.trials == 4 * len(row.template_hits)
        assert row.mastery == row.hits / row.trials and row.bucket == mastery_table.bucket(row.mastery)
    assert probed["hits"].sum() > 0 and len(set(probed["hits"])) > 2


def test_a_fact_is_measured_by_itself(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, probed: pd.DataFrame
) -> None:
    some = facts_table().iloc[[7, 2, 20]].reset_index(drop=True)
    more = {relation: sentences[::-1] for relation, sentences in SENTENCES.items()}
    again = mastery_table.probe(Probe(model, tokenizer, more, SETTINGS.model_copy(update={"batch_tokens": 90})), some)
    assert again["hits"].tolist() == probed["hits"].iloc[[7, 2, 20]].tolist()
    wanted = [hits[::-1] for hits in probed["template_hits"].iloc[[7, 2, 20]]]
    assert again["template_hits"].tolist() == wanted


def test_the_seed_and_the_fact_seed_the_samples(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, probed: pd.DataFrame
) -> None:
    other = mastery_table.probe(
        Probe(model, tokenizer, SENTENCES, SETTINGS.model_copy(update={"seed": 1})), facts_table()
    )
    assert other["hits"].tolist() != probed["hits"].tolist()
    renamed = mastery_table.probe(Probe(model, tokenizer, SENTENCES, SETTINGS, of="other weights"), facts_table())
    assert renamed["hits"].tolist() != probed["hits"].tolist()
    names = [(s, m, f, t) for s in (0, 1) for m in ("v", "w") for f in ("a", "b") for t in ("x", "y")]
    streams = {completions.stream(*name) for name in names}
    assert len(streams) == 16 and {len(stream) for stream in streams} == {16}


def test_prompts_are_filled_templates_as_the_tokenizer_encodes_them(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts: list[str] = []

    def fake(model: object, prompts: list[list[int]], streams: object, found: object, **options: object):  # type: ignore[no-untyped-def]
        assert all(prompt[0] == tokenizer.bos_token_id for prompt in prompts)
        assert options["temperature"] == 0.7 and options["samples"] == 10 and options["max_new_tokens"] == 32
        texts.extend(str(tokenizer.decode(prompt, skip_special_tokens=True)) for prompt in prompts)
        new = tokenizer([" the answer", " THE ANSWER"], add_special_tokens=False)["input_ids"]
        assert found([0, 0], new) == [True, False]  # type: ignore[operator]
        places = list(range(len(prompts)))
        return [inference.Sampled(0, places, np.array(places) % 11, [])]

    monkeypatch.setattr(inference, "sample", fake)
    facts = facts_table(("train",), 1)
    table = mastery_table.probe(Probe(model, tokenizer, SENTENCES, ProbingSettings()), facts)
    wanted = [
        relations.fill(sentence, subject)
        for relation, subject in zip(facts["relation"], facts["subject"], strict=True)
        for sentence in SENTENCES[relation]
    ]
    assert texts == wanted
    assert table["template_hits"].tolist() == [[0, 1, 2], [3, 4]]
    assert table["trials"].tolist() == [30, 20]


def test_without_aliases_the_object_is_the_answer(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, probed: pd.DataFrame
) -> None:
    facts = facts_table()
    facts["object"] = [aliases[1] for aliases in facts["aliases"]]
    again = mastery_table.probe(Probe(model, tokenizer, SENTENCES, SETTINGS), facts.drop(columns="aliases"))
    assert again["hits"].tolist() == probed["hits"].tolist()


@pytest.mark.parametrize("aliases", ["e", [], ["e", ""], None])
def test_aliases_that_would_accept_anything_are_refused(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, aliases: object
) -> None:
    facts = facts_table(("train",), 1)
    facts["aliases"] = [["a"], aliases]
    with pytest.raises(DataError, match=r"fact 'train/P19/00000': column 'aliases'.*make the facts again"):
        mastery_table.probe(Probe(model, tokenizer, SENTENCES, SETTINGS), facts)


def test_the_best_template_has_most_hits_and_ties_go_to_the_first() -> None:
    table = pd.DataFrame(
        {
            "relation": ["P17", "P19", "P17", "P19"],
            "template_hits": [[1, 5, 0], [2, 2, 1], [3, 0, 4], [1, 1, 2]],
        }
    )
    assert mastery_table.best_templates(table) == {"P17": 1, "P19": 0}
    assert mastery_table.best_templates(table.head(0)) == {}


def test_facts_are_counted_by_split_and_bucket() -> None:
    table = pd.DataFrame({"split": ["train", "train", "test"], "bucket": ["D4", "D4", "D0"]})
    rows = mastery_table.counts(table)
    assert [(row["split"], row["bucket"]) for row in rows] == [
        (split, name) for split in ("train", "test") for name in BUCKETS
    ]
    assert [row["n"] for row in rows] == [0, 0, 0, 0, 2, 1, 0, 0, 0, 0]
    assert all(row["value"] == row["n"] and row["metric"] == "facts" for row in rows)


def test_a_finished_table_is_joined_by_fact(probed: pd.DataFrame) -> None:
    table = probed[["fact_id", "hits", "trials"]].iloc[::-1]
    joined = mastery_table.join_imported(facts_table(), table, "mine.parquet")
    columns = probed.columns.drop("template_hits").tolist()
    pd.testing.assert_frame_equal(joined[columns], probed[columns])
    full = mastery_table.join_imported(facts_table(), probed[[*table, "template_hits"]], "mine.parquet")
    assert full["template_hits"].tolist() == probed["template_hits"].tolist()


def test_a_table_that_does_not_fit_is_refused(probed: pd.DataFrame) -> None:
    table = probed[["fact_id", "hits", "trials"]]
    bad = {
        "column 'trials' is missing": table.drop(columns="trials"),
        "'test/P17/00000' stands there twice": pd.concat([table, table[table.fact_id == "test/P17/00000"]]),
        "no row for fact 'train/P17/00000'": table.iloc[1:],
        "hits must lie between 0 and trials": table.assign(hits=1000),
    }
    for message, damaged in bad.items():
        with pytest.raises(DataError, match=f"mine.parquet: .*{message}"):
            mastery_table.join_imported(facts_table(), damaged, "mine.parquet")


def test_probe_templates_are_chosen_by_the_written_rule(tmp_path: Path) -> None:
    sentences = {"P17": [f"{{subject}} {word}" for word in ("is", "was", "lies", "sits", "stands", "rests")]}
    # Three of six are seen: 1, 3, 5. Their mean is 0.8, so a held-out one passes from 0.4 on.
    rates = {"P17": [0.39, 1.0, 0.4, 0.8, 0.2, 0.6]}
    choice = TemplateChoice(seen=2, held_out=2, threshold=0.5)
    chosen = template_choice.choose(sentences, rates, 3, choice)["P17"]
    assert [(c.template.split()[-1], c.seen, c.passed) for c in chosen] == [
        ("was", True, True),
        ("sits", True, True),
        ("lies", False, True),
        ("is", False, False),
    ]
    template_choice.write(tmp_path / "chosen.yaml", {"P17": chosen})
    assert relations.load_templates(tmp_path / "chosen.yaml") == {"P17": [c.template for c in chosen]}
    assert (tmp_path / "chosen.yaml").read_text().count("BELOW") == 1


def test_calibration_gives_the_mean_of_each_template(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast
) -> None:
    facts = [{"relation": "P19", "subject": name, "object": "e"} for name in ("Ada Loren", "Ben Oslo")]
    rates = template_choice.calibrate(Probe(model, tokenizer, SENTENCES, SETTINGS), facts)
    assert rates.keys() == {"P19"} and len(rates["P19"]) == 2
    assert all(rate * 8 == int(rate * 8) and 0 <= rate <= 1 for rate in rates["P19"])
