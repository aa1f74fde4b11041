"""Table 7: five strategies on one model, chosen on dev, and what a study lacks for it in one line."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import compared_strategies
from demo_study import demo
from probe_tables import facts_table
from script_calls import ok, refused
from sftlens.dag.bases import Bases
from sftlens.dag.jobs import Jobs
from sftlens.dag.paths import Paths
from sftlens.dag.targets import TARGETS, wanted, why_unknown
from sftlens.files import read_json
from sftlens.paper import strategies
from sftlens.paper.measured import Measured
from sftlens.results import collect
from sftlens.results.answers import Answers
from tiny import tiny_model, tiny_tokenizer

INSTRUCT = {"source": "path", "path": "models/instruct"}
AXES = {"scales": [8, 16], "seeds": [0, 1, 2]}
CONFIG: dict[str, Any] = {
    **compared_strategies.CONFIG,
    "models": {"one": {**compared_strategies.CONFIG["models"]["one"], "instruct": INSTRUCT}},
    "experiments": {
        "scaling": {"train_sets": ["D0", "D2", "mixed"], **AXES},
        "strategies": {"train_sets": ["mixed"], "strategies": ["lora"], "learning_rates": [3e-5], "scales": [8]},
        "restoration": {"train_sets": ["D2"], "ratios": [20, 60], **AXES},
    },
}  # fmt: skip


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answers:
    monkeypatch.chdir(tmp_path)
    study, _ = compared_strategies.make(CONFIG)
    products = wanted(study)["table7"]
    return Answers(study, products, collect.collect(study, products)[0])


def test_dev_chooses_the_cell_of_each_strategy_and_as_printed_stands_beside_it(answers: Answers) -> None:
    table = collect.numbers(TARGETS.get("table7"), answers)
    dev, printed = table[table["Chosen on"] == "dev"], table[table["Chosen on"] != "dev"]
    assert dev["Strategy"].tolist() == printed["Strategy"].tolist() == list(strategies.STRATEGIES)
    assert dev["Setting"].tolist() == [
        "its own chat template", "mixed, n = 8, lr 1e-05", "D0, n = 8, lr 1e-05", "mixed, n = 8, lr 3e-05",
        "D2, n = 8, lr 1e-05, k = 60 %",
    ]  # fmt: skip
    assert printed["Setting"].tolist()[3:] == ["mixed, n = 8, lr 1e-05", "D2, n = 8, lr 1e-05, k = 20 %"]
    assert dev["ID test, paper"].tolist() == [53.83, 58.67, 58.8, 57.82, 62.21]
    assert dev["There"].tolist()[-1] == pytest.approx(60) and (dev["ID test low"] < dev["ID test"]).all()


def test_the_claim_on_strategies_is_judged_by_the_cells_that_dev_chose(answers: Answers) -> None:
    part = Measured("one", answers).strategies("test")
    table = collect.numbers(TARGETS.get("table7"), answers)
    best = table[table["Chosen on"] == "dev"].set_index("Strategy")["ID test"]
    assert part.label == "against LoRA on mixed" and part.seeds == 3
    assert part.value == pytest.approx(best[strategies.RESTORATION] - best["LoRA on mixed"])


def test_a_study_that_lacks_cells_says_which_in_one_line() -> None:
    said = why_unknown(demo(), "table7")
    assert said.startswith("study demo has nothing to draw table7 from; it lacks the instruct model")
    lacking = ("models.MODEL.instruct", "full fine-tuning on mixed", "lora on mixed", "evaluation.dev_facts")
    assert all(words in said for words in lacking) and "one of D0 to D4" not in said and "\n" not in said


def test_the_instruct_model_is_a_pointer_beside_its_base() -> None:
    study = demo(models__tiny__instruct={"path": "org/tiny-instruct", "revision": "main"})
    paths, jobs = Paths(study), Jobs(study)
    pointer = Path(paths.instruct("tiny"))
    assert pointer != Path(paths.base("tiny")) and pointer.parent.parent == Path(paths.base("tiny")).parent.parent
    assert Paths(demo()).base("tiny") == paths.base("tiny") and Paths(demo()).instruct("tiny") == ""

    def given(path: str) -> dict[str, Any]:
        key = Path(path).parent.name.removeprefix("base-")
        bases, wildcards = Bases(study, paths), pd.Series({"model": "tiny", "key": key})
        return {"options": bases.options(wildcards), "corpus": bases.corpus(wildcards)}

    assert given(str(pointer)) == {"options": ["--name", "tiny", "--source", "hub", "--path", "org/tiny-instruct",
                                               "--revision", "main"], "corpus": []}  # fmt: skip
    assert given(paths.base("tiny"))["corpus"] == paths.world
    cell = next(p.cell for p in jobs.products if p.cell.strategy == "instruct")
    assert jobs.evaluate_inputs(cell)["model"] == str(pointer)
    assert "--instruction" in jobs.evaluate_options(cell)


def test_an_instruct_model_is_asked_by_its_own_chat_template(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}<s>[{{ m.role }}] {{ m.content }} </s>{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    tiny_model(tmp_path / "m", tokenizer=tokenizer)
    facts = facts_table(("train", "test")).assign(bucket="D2")
    facts.to_parquet(tmp_path / "facts.parquet")
    given = ["--model", tmp_path / "m", "--facts", tmp_path / "facts.parquet", "--max-new-tokens", 4]
    ok("evaluate.py", *given, "--out", tmp_path / "told", "--instruction", "Answer only.")
    ok("evaluate.py", *given, "--out", tmp_path / "plain")
    told, plain = (pd.read_parquet(tmp_path / name / "answers.parquet") for name in ("told", "plain"))
    assert told["fact_id"].tolist() == plain["fact_id"].tolist() and told["output"].tolist() != plain["output"].tolist()
    assert read_json(tmp_path / "told/summary.json", dict)["settings"]["instruction"] == "Answer only."
    assert "--instruction: an instruct model is asked as it is" in refused(
        "evaluate.py", *given, "--out", tmp_path / "no", "--instruction", "x", "--shots", 2
    )
    tiny_model(tmp_path / "bare")
    given[1] = tmp_path / "bare"
    refusal = refused("evaluate.py", *given, "--out", tmp_path / "no", "--instruction", "x")
    assert "chat template" in refusal
