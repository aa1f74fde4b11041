"""Table 7 from the configuration to the table: an instruct model, trainings, LoRA and a restoration, chosen on dev."""

from pathlib import Path

import pandas as pd
import torch
from study import configure, copy_repository, snakemake

from tiny import TEXTS, tiny_model, tiny_tokenizer

TEMPLATE = (
    "{% for m in messages %}<s>[{{ m.role }}] {{ m.content }} </s>{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def prepare(folder: Path) -> dict:
    """Write facts of every bucket and dev facts, a model and an instruct model; return the configuration."""
    rows, hits = [], []
    for split, relation in (("train", "P17"), ("train", "P36"), ("test", "P17"), ("testood", "P50"), ("dev", "P17")):
        for i in range(10):
            fact = {"fact_id": f"{split}/{relation}/{i}", "split": split, "relation": relation, "subject": f"S {i}"}
            rows.append(
                {**fact, "question": f"Where is {split} {relation} {i}?", "object": "Port" if i % 2 else "Vale"}
            )
            if split != "dev":
                hits.append({"fact_id": fact["fact_id"], "hits": (0, 2, 5, 7, 10)[i % 5], "trials": 10})
    pd.DataFrame(rows).to_csv(folder / "facts.csv", index=False)
    pd.DataFrame(hits).to_parquet(folder / "hits.parquet")
    tokenizer = tiny_tokenizer([*TEXTS, "Port Vale user assistant"])
    tiny_model(folder / "model", dtype=torch.float32, tokenizer=tokenizer)
    tokenizer.chat_template = TEMPLATE
    tiny_model(folder / "instruct", dtype=torch.float32, tokenizer=tokenizer, std=0.3)
    geometry = {"layers": 2, "hidden_size": 32, "intermediate_size": 48, "heads": 4, "kv_heads": 2, "vocab_size": 400}
    entry = {"source": "path", "path": "model", "mastery": "hits.parquet", "geometry": geometry}
    return {
        "study": "seven", "facts": {"source": "table", "path": "facts.csv"},
        "models": {"tiny": {**entry, "instruct": {"source": "path", "path": "instruct"}}},
        "finetuning": {"learning_rate": 1e-2, "dtype": "float32", "zero_stage": 0},
        "evaluation": {"reprobe": 0, "max_new_tokens": 4, "dev_facts": 8},
        "scales": [4],
        "experiments": {
            "scaling": {"train_sets": ["D2", "mixed"], "shots": 0},
            "strategies": {"train_sets": ["mixed"], "strategies": ["lora"], "learning_rates": [0.1]},
            "restoration": {"train_sets": ["D2"], "ratios": [20, 60]},
        },
    }  # fmt: skip


def test_table7_is_made_of_five_strategies_each_chosen_on_dev_and_as_printed(tmp_path: Path) -> None:
    folder = copy_repository(tmp_path / "repository")
    configure(folder, prepare(folder))
    snakemake(folder, "table7")
    table = pd.read_csv(folder / "results/seven/tables/table7.csv")
    names = ["Instruct model", "SFT on mixed", "SFT on one bucket", "LoRA on mixed", "Parameter restoration"]
    assert table["Strategy"].tolist() == names * 2
    assert table["Chosen on"].tolist() == ["dev"] * 5 + ["ID test, as printed"] * 5
    dev = table[table["Chosen on"] == "dev"].set_index("Strategy")
    told = pd.read_json(folder / "results/seven/tiny/base/n0/seed0/instruct/evaluate/summary.json", typ="series")
    assert told["settings"]["instruction"].startswith("Answer with the name alone")
    # What dev chose of two learning rates and of two k is the better of the two there.
    for name, cells in {
        "LoRA on mixed": ["mixed/n4/seed0/lora/evaluate", "mixed/n4/seed0/lora@0.1/evaluate"],
        "Parameter restoration": [f"D2/n4/seed0/full/restore/relative-transformer/k{k}" for k in (20, 60)],
    }.items():
        answers = [pd.read_parquet(folder / f"results/seven/tiny/{cell}/answers.parquet") for cell in cells]
        scores = [100 * found.loc[found["split"] == "dev", "contains"].mean() for found in answers]
        assert dev.loc[name, "There"] == max(scores), name
    assert (folder / "results/seven/tables/table7.tex").is_file()
