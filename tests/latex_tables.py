"""A LaTeX table as LaTeX reads it: a parser's nodes, not this project's own patterns."""

from itertools import groupby

from pylatexenc.latex2text import LatexNodes2Text
from pylatexenc.latex2text import get_default_latex_context_db as texts
from pylatexenc.latexwalker import (
    LatexEnvironmentNode,
    LatexMacroNode,
    LatexNode,
    LatexSpecialsNode,
    LatexWalker,
)
from pylatexenc.latexwalker import (
    get_default_latex_context_db as known,
)
from pylatexenc.macrospec import EnvironmentSpec, MacroSpec

_KNOWN = known()
_KNOWN.add_context_category(
    "tables", [MacroSpec("multicolumn", "{{{")], [EnvironmentSpec("longtable", "{")], prepend=True
)
_TEXT = LatexNodes2Text(latex_context=texts(), math_mode="text", strict_latex_spaces=True)


def rows(code: str) -> list[list[str]]:
    """Return the rows below the head of the one table in some LaTeX code: the text of each cell.

    Raises LatexWalkerParseError for what LaTeX does not read: braces and environments that do not match. Every row,
    those of the head too, must have as many cells as the table has columns.
    """
    nodes = LatexWalker(code, latex_context=_KNOWN, tolerant_parsing=False).get_latex_nodes()[0]
    [table] = [node for node in _all(nodes) if getattr(node, "environmentname", "") in ("tabular", "longtable")]
    columns = len(table.nodeargd.argnlist[-1].latex_verbatim().strip("{}"))
    found: list[list[str]] = []
    lines = [list(part) for end, part in groupby(table.nodelist, lambda node: _is(node, "\\")) if not end]
    for line in lines:
        marks = [node.macroname for node in line if isinstance(node, LatexMacroNode)]
        if "midrule" in marks or "endlastfoot" in marks:
            found = []  # what came before was the head
        cells = [list(part) for end, part in groupby(line, lambda node: isinstance(node, LatexSpecialsNode)
                                                    and node.specials_chars == "&") if not end]  # fmt: skip
        if "caption" not in marks and (len(cells) > 1 or _TEXT.nodelist_to_text(line).strip()):
            wide = sum(_columns(cell) for cell in cells)
            assert wide == columns, f"{wide} cells in a table of {columns} columns: {cells}"
            found.append([" ".join(_TEXT.nodelist_to_text(cell).split()) for cell in cells])
    return found


def _is(node: LatexNode, name: str) -> bool:
    return isinstance(node, LatexMacroNode) and node.macroname == name


def _columns(cell: list[LatexNode]) -> int:
    wide = [node for node in cell if _is(node, "multicolumn")]
    return int(wide[0].nodeargd.argnlist[0].latex_verbatim().strip("{}")) if wide else 1


def _all(nodes: list[LatexNode]) -> list[LatexNode]:
    inside = [node.nodelist for node in nodes if isinstance(node, LatexEnvironmentNode)]
    return [*nodes, *(node for part in inside for node in _all(part))]
