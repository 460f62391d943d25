"""The operators: every small mistake that can be made in a piece of Python, by kind.

comparison     < becomes <=, == becomes !=, `in` becomes `not in`, `and` becomes `or`, and the other way round
boundary       a whole number that is compared, sliced, indexed or counted with is one more
axis           the axis of a reduction or a join is another one
constant       True becomes False, a number is doubled, zero becomes one
dropped line   a call for its effect, an assignment to an element or attribute, a `raise` or `continue` is left out
swapped argument  the first two arguments of a call change places
"""

import ast
from collections.abc import Iterator

from tests.mutants.mutant import Mutant

_OPPOSITE: dict[type, tuple[str, str]] = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"), ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="), ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"), ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
}  # fmt: skip
_REDUCTIONS = frozenset({
    "sum", "mean", "amax", "amin", "max", "min", "any", "all", "argmax", "argmin", "sort", "argsort", "topk",
    "cumsum", "cummax", "softmax", "log_softmax", "norm", "std", "median", "gather", "scatter", "cat",
    "stack", "concatenate", "unsqueeze", "squeeze", "repeat_interleave", "kthvalue", "take_along_axis",
})  # fmt: skip
_OTHER_AXIS = {-1: 0, 0: -1, 1: 0, 2: 1, -2: -1}
_NO_ORDER = frozenset({"min", "max", "minimum", "maximum", "equal", "gcd"})  # the same either way
_RAISE = frozenset({"isinstance", "issubclass", "getattr", "hasattr", "setattr"})  # at once
Change = tuple[ast.AST, str, str]  # the node whose text is replaced, the new text, the operator


class _File:
    def __init__(self, file: str, text: str) -> None:
        self.file, self.text = file, text
        self.starts = [0]
        for line in text.encode().splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.bytes = text.encode()

    def offsets(self, node: ast.AST) -> tuple[int, int]:
        first = self.starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        last = self.starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
        return len(self.bytes[:first].decode()), len(self.bytes[:last].decode())

    def said(self, node: ast.AST) -> str:
        start, end = self.offsets(node)
        return self.text[start:end]


def mutants(file: str, text: str) -> Iterator[Mutant]:
    """Every mistake that the operators make in the file's text, in the order of the text."""
    source = _File(file, text)
    found = {m.name: m for change in _changes(source, ast.parse(text)) for m in _made(source, *change)}
    yield from sorted(found.values(), key=lambda m: (m.start, m.kind, m.new))


def _made(source: _File, node: ast.AST, new: str, kind: str) -> Iterator[Mutant]:
    start, end = source.offsets(node)
    old = source.text[start:end]
    if new != old:
        yield Mutant(source.file, start, old, new, kind)


def _changes(source: _File, tree: ast.AST) -> Iterator[Change]:
    for node, parent in _code(tree):
        if isinstance(node, ast.Compare):
            yield from _comparison(source, node)
        if isinstance(node, ast.BoolOp):
            yield from _and_or(source, node)
        if isinstance(node, ast.Constant):
            yield from _constant(node, parent)
        if isinstance(node, ast.Call):
            yield from _axis(node)
            yield from _swapped(source, node)
        if _is_effect(node):
            yield node, "pass", "dropped line"


def _code(node: ast.AST, parent: ast.AST | None = None) -> Iterator[tuple[ast.AST, ast.AST | None]]:
    """The nodes that run, with their parents: no annotations, docstrings, imports, decorators, names on the face, f-strings."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr) or _is_words(node):
        return
    yield node, parent
    skipped = {id(child) for name in ("annotation", "returns", "decorator_list") for child in _field(node, name)}
    for child in ast.iter_child_nodes(node):
        if id(child) not in skipped:
            yield from _code(child, node)


def _field(node: ast.AST, name: str) -> list[ast.AST]:
    found = getattr(node, name, None)
    return found if isinstance(found, list) else [found] if found is not None else []


def _is_words(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return True
    return isinstance(node, ast.Assign) and ast.dump(node.targets[0]).startswith("Name(id='__all__'")


def _comparison(source: _File, node: ast.Compare) -> Iterator[Change]:
    if len(node.ops) != 1:
        return
    old, new = _OPPOSITE[type(node.ops[0])]
    left, right = source.said(node.left), source.said(node.comparators[0])
    said = source.said(node)
    between = said[len(left) :][: len(said) - len(left) - len(right)] if said.startswith(left) else ""
    if between.strip() == old:
        yield node, f"{left}{between.replace(old, new)}{right}", "comparison"


def _and_or(source: _File, node: ast.BoolOp) -> Iterator[Change]:
    word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
    values = [source.said(v) for v in node.values]
    if source.said(node) == f" {word} ".join(values):
        yield node, "(" + f" {other} ".join(f"({v})" for v in values) + ")", "comparison"


def _constant(node: ast.Constant, parent: ast.AST | None) -> Iterator[Change]:
    value = node.value
    if isinstance(parent, ast.keyword) and parent.arg == "strict":
        return  # a guard of zip's: nobody sees it where lengths agree
    if isinstance(value, bool):
        yield node, str(not value), "constant"
    elif isinstance(value, int) and _is_counted_with(parent):
        yield node, str(value + 1), "boundary"
    elif isinstance(value, int | float):
        yield node, repr(2 * value if value else 1), "constant"


def _is_counted_with(parent: ast.AST | None) -> bool:
    if isinstance(parent, ast.Call):
        return getattr(parent.func, "id", "") == "range"
    return isinstance(parent, ast.Compare | ast.Subscript | ast.Slice)


def _axis(node: ast.Call) -> Iterator[Change]:
    name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    named = [k.value for k in node.keywords if k.arg in ("dim", "axis")]
    given = [a for a in node.args if isinstance(a, ast.Constant | ast.UnaryOp)] if name in _REDUCTIONS else []
    for axis in (*named, *given):
        try:
            value = ast.literal_eval(axis)
        except ValueError:
            continue
        if type(value) is int and value in _OTHER_AXIS:
            yield axis, str(_OTHER_AXIS[value]), "axis"


def _swapped(source: _File, node: ast.Call) -> Iterator[Change]:
    if len(node.args) < 2 or any(isinstance(a, ast.Starred) for a in node.args[:2]):
        return
    if getattr(node.func, "id", getattr(node.func, "attr", "")) in _NO_ORDER | _RAISE:
        return
    (start, _), (_, end) = source.offsets(node.args[0]), source.offsets(node.args[1])
    a, b = source.said(node.args[0]), source.said(node.args[1])
    between = source.text[start + len(a) : end - len(b)]
    first, last = source.offsets(node)
    yield node, source.text[first:start] + b + between + a + source.text[end:last], "swapped argument"


def _is_effect(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    if isinstance(node, ast.Assign):
        return all(isinstance(t, ast.Attribute | ast.Subscript) for t in node.targets)
    return isinstance(node, ast.AugAssign | ast.Raise | ast.Continue)
