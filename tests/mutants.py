"""The mutants of a source: all sources that differ from it by one small change.

A change replaces a comparison, arithmetic, `and`, `or`, `not`, a condition, a number, True, False,
None, a string of one word, an argument, a default (of classes too), a decorator, a result, a loop,
an exception that is caught, or one of some names; or it leaves out a simple statement. Types,
docstrings and `__repr__` do not change, nor do messages: f-strings, strings of several words, and
the names that are passed to a check.
"""

import ast
import warnings
from collections.abc import Callable, Iterator

import attrs

COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
}
SWAPPED = {
    "BaseException": "Exception",
    "Exception": "ZeroDivisionError",
    "all": "any",
    "any": "all",
    "append": "appendleft",
    "inf": "pi",
    "max": "min",
    "min": "max",
    "popleft": "pop",
    "reversed": "list",
}
TYPES = {
    *("T", "K", "V", "Owner", "FlushFn", "OnFailure", "OnReport", "Loader", "DedupeKey", "Weigh"),
    *("Ended", "NoteEnded", "FailureFactory", "Decision", "Given", "Step", "__all__"),
}
CHECKS = ("check", "_check")

Node = ast.expr | ast.stmt | ast.ExceptHandler
Change = tuple[Node, str]


@attrs.frozen
class Mutant:
    """A changed source, and the line of the change."""

    line: int
    source: str


def mutants(source: str) -> Iterator[Mutant]:
    """Yield the different mutants that Python can compile."""
    seen = {ast.dump(ast.parse(source))}
    for node in _nodes(ast.parse(source)):
        for changed, text in _changes(node):
            mutated = _replace(source, changed, text)
            form = _form(mutated)
            if form is not None and form not in seen:
                seen.add(form)
                yield Mutant(changed.lineno, mutated)


def _form(source: str) -> str | None:
    """Return a text that is equal for equivalent sources; None if the source does not compile."""
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(source, "mutant", "exec")
    except SyntaxError:
        return None
    return ast.dump(ast.parse(source))


def _replace(source: str, node: Node, text: str) -> str:
    """Return the source with this text in the place of a node."""
    lines = source.encode().splitlines(keepends=True)
    end = node.end_lineno or node.lineno
    before = lines[node.lineno - 1][: node.col_offset]
    after = lines[end - 1][node.end_col_offset :]
    changed = before + text.encode() + after
    return b"".join([*lines[: node.lineno - 1], changed, *lines[end:]]).decode()


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a tree that may be changed."""
    for name, field in ast.iter_fields(tree):
        if name in {"annotation", "returns", "bases"}:
            continue
        for node in field if isinstance(field, list) else [field]:
            if isinstance(node, ast.AST) and not _is_left_alone(node):
                yield node
                yield from _nodes(node)


def _is_left_alone(node: ast.AST) -> bool:
    match node:
        case ast.FunctionDef():
            return node.name == "__repr__"
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign():
            return ast.unparse(node.targets[0]) in TYPES
        case ast.AnnAssign():
            return node.value is None
        case ast.Import() | ast.ImportFrom():
            return True
    return _is_message(node)


def _is_message(node: ast.AST) -> bool:
    match node:
        case ast.JoinedStr():
            return True
        case ast.Constant(value=str() as text):
            return " " in text
    return False


def _changes(node: ast.AST) -> Iterator[Change]:
    """Yield the changes of a node and its parts: the changed node, and its new text."""
    for kind, changes in CHANGES.items():
        if isinstance(node, kind):
            yield from changes(node)
    if isinstance(node, ast.stmt) and not hasattr(node, "body"):
        yield node, "pass"


def _compare(node: ast.Compare) -> Iterator[Change]:
    for place, old in enumerate(node.ops):
        for new in COMPARED[type(old)]:
            ops = [*node.ops[:place], new(), *node.ops[place + 1 :]]
            yield node, _text(ast.Compare(node.left, ops, node.comparators))


def _bool_op(node: ast.BoolOp) -> Iterator[Change]:
    other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    yield node, _text(ast.BoolOp(other, node.values))
    for place in range(len(node.values)):
        values = [*node.values[:place], *node.values[place + 1 :]]
        yield node, _text(ast.BoolOp(node.op, values) if len(values) > 1 else values[0])


def _unary_op(node: ast.UnaryOp) -> Iterator[Change]:
    yield node, _text(node.operand)


def _bin_op(node: ast.BinOp) -> Iterator[Change]:
    if isinstance(node.op, ast.BitOr):
        yield from ((node, _text(side)) for side in (node.left, node.right))
    elif type(node.op) in COMPUTED:
        yield node, _text(ast.BinOp(node.left, COMPUTED[type(node.op)](), node.right))


def _constant(node: ast.Constant) -> Iterator[Change]:
    match node.value:
        case None:
            yield node, "..."
        case bool():
            yield node, str(not node.value)
        case int() | float():
            yield node, str(node.value + 1)
            yield node, str(node.value - 1)
        case str():
            yield node, repr(f"{node.value}_")


def _condition(node: ast.If | ast.While | ast.IfExp) -> Iterator[Change]:
    yield node.test, "True"
    yield node.test, "False"
    yield node.test, f"not {_text(node.test)}"


def _comprehension(node: ast.comprehension) -> Iterator[Change]:
    yield from ((test, "True") for test in node.ifs)


def _call(node: ast.Call) -> Iterator[Change]:
    named = ast.unparse(node.func).rpartition(".")[-1]
    for argument in node.args:
        name = named.startswith(CHECKS) and isinstance(argument, ast.Constant)
        if not name and not _is_message(argument):
            yield argument, "*()" if isinstance(argument, ast.Starred) else "None"
    for place in range(len(node.keywords)):
        keywords = [*node.keywords[:place], *node.keywords[place + 1 :]]
        yield node, _text(ast.Call(node.func, node.args, keywords))


def _assigned(node: ast.Assign | ast.AnnAssign | ast.Return) -> Iterator[Change]:
    if node.value is not None:
        yield node.value, "None"


def _augmented(node: ast.AugAssign) -> Iterator[Change]:
    target, value = ast.unparse(node.target), ast.unparse(node.value)
    yield node, f"{target} = {value}"
    yield node, f"{target} {'-' if isinstance(node.op, ast.Add) else '+'}= {value}"


def _loop(node: ast.For) -> Iterator[Change]:
    yield node.iter, "()"


def _handler(node: ast.ExceptHandler) -> Iterator[Change]:
    if node.type is not None:
        yield node.type, "ZeroDivisionError"


def _decorated(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> Iterator[Change]:
    yield from ((decorator, "(lambda made: made)") for decorator in node.decorator_list)


def _name(node: ast.Name) -> Iterator[Change]:
    if node.id in SWAPPED:
        yield node, SWAPPED[node.id]


def _attribute(node: ast.Attribute) -> Iterator[Change]:
    if node.attr in SWAPPED:
        yield node, f"{ast.unparse(node.value)}.{SWAPPED[node.attr]}"


def _text(node: ast.expr) -> str:
    return f"({ast.unparse(node)})"


CHANGES: dict[type[ast.AST] | tuple[type[ast.AST], ...], Callable[..., Iterator[Change]]] = {
    ast.Compare: _compare,
    ast.BoolOp: _bool_op,
    ast.UnaryOp: _unary_op,
    ast.BinOp: _bin_op,
    ast.Constant: _constant,
    (ast.If, ast.While, ast.IfExp): _condition,
    ast.comprehension: _comprehension,
    ast.Call: _call,
    (ast.Assign, ast.AnnAssign, ast.Return): _assigned,
    ast.AugAssign: _augmented,
    ast.For: _loop,
    ast.ExceptHandler: _handler,
    (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef): _decorated,
    ast.Name: _name,
    ast.Attribute: _attribute,
}
