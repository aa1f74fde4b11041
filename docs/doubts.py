"""Write docs/doubts.md from the tables over worlds that `sftlens worlds` made.

python docs/doubts.py            take the tables and figures in results/doubts*-worlds, then write the page
python docs/doubts.py --check    exit 1 where the page is out of step with the tables in docs/doubts
"""

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "src"))

from sftlens.doubts import DOUBTS, Doubt, sentence  # noqa: E402
from sftlens.reporting import frames  # noqa: E402
from sftlens.statistics.worlds import NEEDED, SD, WORLDS  # noqa: E402

PAGE, TABLES = HERE / "doubts.md", HERE / "doubts"
STUDIES = ("doubts", "doubts-parents")
"""Their configurations are config/NAME.yaml, their worlds' tables below results/NAME-worlds."""
HEAD = """<!-- Made by docs/doubts.py from docs/doubts/*.csv; do not edit. -->

# What readers of the study doubt

Each question is an experiment with one figure, one table and one sentence, which the program writes from an interval:
higher, lower, or undecided where the interval includes 0. In the embedded world each can be answered over fresh worlds:
facts, corpus and model are drawn anew, and the world is the unit of the interval. **It is no evidence for or against
the paper, or about any LLM**: it says what the instrument shows where we know what the model had the chance to learn.
[config/doubts.yaml](../config/doubts.yaml) has the settings; those of experiments with other parents, and of `skill`,
are in [config/doubts-parents.yaml](../config/doubts-parents.yaml). All were fixed before any result of these worlds was
looked at.

```
snakemake steps --cores all --configfile config/doubts.yaml   # one world; the interval is over seeds and questions
sftlens worlds --experiment steps --worlds 4                  # four worlds, as below; with 12 it goes on from there
python docs/doubts.py                                         # this page, from what the worlds left
```

What it takes (AMD EPYC, two cores that had other work, too; by `time`): four worlds of `steps`, `dose`, `domains`,
`skill`, `flawed` and `geometry` took 84 CPU minutes, of all ten 2.9 CPU hours. By that twelve worlds of all should take
8.6, a night of two cores. Most of it is pretraining and probing, which the experiments of a configuration share.

On an existing model (`source: path` or `hub`) the same experiments run by configuration alone: `snakemake steps
--cores all --configfile MINE`. There is one of it, and no worlds. Worlds for one point: how many worlds a difference of
one point would need (80 % power, two-sided 5 %). An experiment is one file of `src/sftlens/doubts/`.
"""


def section(doubt: Doubt) -> str:
    """Return the section of one experiment; without a table it says how one is made."""
    parts = [f"## `{doubt.name}`: {doubt.question}"]
    path = TABLES / f"{doubt.name}.csv"
    if path.is_file():
        table = frames.read_csv(path)
        parts.append(f"**{sentence(doubt, table.iloc[0].to_dict())}**")
        if path.with_suffix(".svg").is_file():
            parts.append(f"![{doubt.question}](doubts/{doubt.name}.svg)")
        # What the sentence is about; the other quantities stand in the file.
        shown = table[table["Quantity"] == table["Quantity"].iloc[0]]
        columns = ["Series", "X", "Estimate", "Low", "High", WORLDS, SD, NEEDED]
        text = frames.as_text(shown.astype({WORLDS: "Int64", NEEDED: "Int64"}))[columns]
        rows = [columns, ["---"] * 2 + ["---:"] * (len(columns) - 2), *text.to_numpy().tolist()]
        parts.append(f"{shown['Quantity'].iloc[0]}:")
        parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
        parts.append(f"All numbers: [doubts/{doubt.name}.csv](doubts/{doubt.name}.csv).")
    else:
        parts.append(f"Not run yet: `sftlens worlds --experiment {doubt.name} --worlds 12`.")
    parts.append(f"What this cannot say: {doubt.limit}")
    if doubt.pretrained_only:
        parts.append(f"Not on an existing model: {doubt.pretrained_only}.")
    return "\n\n".join(parts) + "\n"


def page() -> str:
    """Return the page of the tables in docs/doubts."""
    return "\n".join([HEAD, *map(section, DOUBTS)])


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(None if PAGE.read_text(encoding="utf-8") == page() else f"{PAGE}: out of step; run docs/doubts.py")
    TABLES.mkdir(exist_ok=True)
    for doubt in DOUBTS:
        for name in (f"{doubt.name}.csv", f"{doubt.name}.svg"):
            for study in STUDIES:
                if (made := HERE.parent / f"results/{study}-worlds" / doubt.name / name).is_file():
                    shutil.copyfile(made, TABLES / name)
    PAGE.write_text(page(), encoding="utf-8")
