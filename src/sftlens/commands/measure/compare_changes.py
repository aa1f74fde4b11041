"""Compare the updates of several fine-tunings of one base model: their norms, and the cosines between them.

    sftlens compare-changes BASE FINETUNED FINETUNED ... --out FILE.csv [--region transformer]

Models are Hugging Face folders, base.json pointers or hub ids (org/name@revision). Writes one row for each pair of
models, and for each with itself: `a`, `b` (the folders as given), `norm_a`, `norm_b` (l2 over the region) and `cosine`.
In short types such as bfloat16, or after few steps of AdamW, rounding and signs determine much of an update's
direction.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from sftlens import files, gate
from sftlens.changes import change_cosines
from sftlens.commands import headline, options, written
from sftlens.models.delta.reader import open_tensors
from sftlens.restoration.pairs import Pair
from sftlens.runtime.progress import bar


def main() -> None:
    parser = options.Parser(description=__doc__)
    parser.add_argument("base", type=options.Model, help="pre-trained model: folder or hub id")
    parser.add_argument("finetuned", type=options.Model, nargs="+", help="models fine-tuned from it")
    parser.add_argument("--region", default="transformer", help="parameters that are compared")
    parser.add_argument("--out", type=Path, required=True, help="table to write")
    args = parser.parse_args()
    written.check(args, {"cosines.csv": args.out})
    base = open_tensors(args.base)
    with bar(description="compare", unit="element") as progress:
        pairs = [Pair(base, open_tensors(path), args.region, progress=progress.update) for path in args.finetuned]
        progress.reset(total=sum(pair.elements() for pair in pairs))
        products = change_cosines.products(pairs)

    norms, cosines = np.sqrt(np.diag(products)), change_cosines.cosines(products)
    names, (a, b) = np.array(list(map(str, args.finetuned))), np.triu_indices(len(pairs))
    columns = {"a": names[a], "b": names[b], "norm_a": norms[a], "norm_b": norms[b], "cosine": cosines[a, b]}
    files.write_text(args.out, gate.csv_text(pd.DataFrame(columns)))
    headline.say("compare_changes", [args.out])
