"""A table as it is printed: the layout of the paper, in Markdown and in LaTeX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sftlens.reporting import frames

if TYPE_CHECKING:
    import pandas as pd

    from sftlens.dag.targets import Target

_LONG = 45
"""Rows beyond which a LaTeX table may run over pages."""
_LATEX = {
    "\u00b1": r"$\pm$",
    "\u2212": "$-$",
    "\u2013": "--",
    "|d|": "$|d|$",
    "d\\textasciicircum 2": "$d^2$",
    "<": "$<$",
}


def laid_out(target: Target, numbers: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Return a target's frame as text in its layout, and in words what is the same in all rows ("": nothing).

    A cell holds a value with its SD over three or more seeds, or its gain in brackets. The columns have several levels
    where the layout puts something side by side.
    """
    import pandas as pd

    cells, plain = frames.cells(numbers), target.layout
    numeric = [name for name in cells if pd.api.types.is_numeric_dtype(numbers[name])]
    keys = [name for name in cells if name not in numeric]
    if plain and len(numbers):
        keys = [name for name in plain.rows if name in cells]
        values = [name for name in plain.values or numeric if name in numeric and name not in (*keys, "Seeds")]
        across = [name for name in plain.across if name in cells]
        ordered = frames.in_order(numbers, [name for name in keys if name not in numeric], numbers)
        cells = frames.cells(ordered).set_index([*keys, *across])[values]
        if across:
            # In the order of the frame, not of the alphabet: first what stands side by side, then its values.
            groups = list(dict.fromkeys(zip(*(numbers[name] for name in across), strict=True)))
            rows = list(dict.fromkeys(cells.index.droplevel(across) if keys else [()]))
            cells = cells[~cells.index.duplicated()].unstack(across).loc[rows]
            columns = [(value, *group) for group in groups for value in values]
            cells = cells[columns].fillna("-")
            cells.columns = pd.MultiIndex.from_tuples(
                [(*map(_group, across, group), *([value] if len(values) > 1 else [])) for value, *group in columns]
            )
        cells = cells.reset_index()
    same = [name for name in keys if name in frames.PLAIN and len(numbers) and numbers[name].nunique() == 1]
    words = ", ".join(f"{name.lower()} {numbers[name].iloc[0]}" for name in same)
    return cells.drop(
        columns=[column for column in cells if _head(column)[0] in same]
    ), f"Here: {words}." if same else ""


def markdown(target: Target, numbers: pd.DataFrame, notice: str = "") -> str:
    """Return a target's table as Markdown with its title, caption and notice."""
    cells, same = laid_out(target, numbers)
    head = [" ".join(_head(column)) for column in cells]
    right = ["---:" if _is_number(cells.iloc[:, i]) else "---" for i in range(len(head))]
    rows = [head, right, *cells.to_numpy(dtype=object).tolist()]
    lines = ["| " + " | ".join(str(cell).replace("|", r"\|") for cell in row) + " |" for row in rows]
    parts = [f"**{target.title}**", "\n".join(lines), _words(target, numbers, same), f"> {notice}" if notice else ""]
    return "\n\n".join(filter(None, parts)) + "\n"


def latex(target: Target, numbers: pd.DataFrame, notice: str = "") -> str:
    """Return a target's table as LaTeX for the package booktabs (and longtable, if it is long), with its caption."""
    cells, same = laid_out(target, numbers)
    words = " ".join(filter(None, (f"{target.title}.", _words(target, numbers, same), notice)))
    long = len(cells) > _LONG
    formats = "".join("r" if _is_number(cells.iloc[:, i]) else "l" for i in range(cells.shape[1]))
    styled = cells.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis="columns")
    text = styled.to_latex(
        column_format=formats, hrules=True, multicol_align="c", label=f"tab:{target.name}", caption=_escaped(words),
        environment="longtable" if long else "table", position=None if long else "htbp",
        position_float=None if long else "centering",
    )  # fmt: skip
    for plain, code in _LATEX.items():
        text = text.replace(plain, code)
    packages = "booktabs,longtable" if long else "booktabs"
    return f"% \\usepackage{{{packages}}}\n{text}"


def _head(column: object) -> list[str]:
    return [str(part) for part in (column if isinstance(column, tuple) else (column,)) if part != ""]


def _group(column: str, value: str) -> str:
    return f"n = {value}" if column == "n" else value


def _words(target: Target, numbers: pd.DataFrame, same: str) -> str:
    spread = [name for name in numbers if name.endswith(" SD")]
    few = bool(spread) and not numbers["Seeds"].astype("float64").ge(frames.BAND).any()
    note = frames.seeds_note(numbers.drop(columns=spread) if few else numbers)
    return " ".join(filter(None, (frames.said(target, numbers), target.caption, same, note)))


def _is_number(column: pd.Series) -> bool:
    return bool(column.astype(str).str.fullmatch(r"[-+\u2212]?[\d.]*( \u00b1 [\d.]+| \(.*\))?|-").all())


def _escaped(text: str) -> str:
    return "".join(
        {"^": r"\textasciicircum ", "~": r"\textasciitilde "}.get(c, f"\\{c}" if c in "&%$#_{}" else c) for c in text
    )
