"""What a method demands of a task, told from its code: a label of each image, a linear head, several views.

Of the batch and the model it is given, a method may use what every task has: the images, ``batch.cross_entropy``, the
progress, the backbone, its pooled features and probes, and the head as a module that is trained.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.hyper import Value

LABEL, VIEWS = "one label an image", "several views of an image"
HEAD, ANSWER = "a linear head", "one answer an image"
VALIDATION = "a validation split"
OF_IMAGES = (VIEWS, HEAD, ANSWER)
"""What a task has whose answer is of the image as a whole, beside its label."""

_LABELS = ("labels", "targets")
_OF_LINEAR = ("weight", "bias", "in_features", "out_features", "reset_parameters")
_OF_ANSWER = ("logits", "source_head", "source_head_of")
_COMPARED: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda value, among: value in among,
    ast.NotIn: lambda value, among: value not in among,
}


@dataclass(frozen=True)
class Demand:
    """A place in the code of a method that not every task can serve.

    Attributes:
        of: ``LABEL``, one of ``OF_IMAGES``, or ``VALIDATION``, which is for the protocol to give.
        what: stands there, in words: ``reads batch.labels``.
        place: ``methods/scl.py:77``.
        function: of the method's class, in which it stands; empty outside of its functions.
        when: conditions under which it is reached, each as Python writes it, with the truth that it must have.
    """

    of: str
    what: str
    place: str
    function: str = ""
    when: tuple[tuple[str, bool], ...] = ()

    def reached(self, values: Mapping[str, Value]) -> bool:
        """Whether it is, with these hyper-parameters; what cannot be told from them alone counts as if it were."""
        return all(_truth(condition, values) in (wanted, None) for condition, wanted in self.when)

    @property
    def condition(self) -> str:
        """When it is reached, in words: ``then == 'linear' and batch_norm``; empty where that is always so."""
        words = [text if wanted else f"not ({text})" for text, wanted in self.when]
        return " and ".join(words).replace("self.", "")


def demands_of(tree: ast.Module, method: ast.ClassDef, name: str) -> tuple[Demand, ...]:
    """What a file of a method demands, in its order; ``name`` is that of the file, as places have it."""
    reader = _Reader(method, name)
    reader.read(tree)
    return tuple(reader.demands)


def kept(demands: Sequence[Demand], child: ast.ClassDef) -> tuple[Demand, ...]:
    """Those of a method that are left where another one derives from it: what that overrides is not run."""
    functions = [node for node in child.body if isinstance(node, ast.FunctionDef)]
    overridden = {node.name for node in functions if not any(map(_is_super, ast.walk(node)))}
    return tuple(demand for demand in demands if demand.function not in overridden)


def reached_demands(demands: Iterable[Demand], of: str, values: Mapping[str, Value]) -> list[Demand]:
    """Those of a kind that are reached with these hyper-parameters, in their order."""
    return [demand for demand in demands if demand.of == of and demand.reached(values)]


@dataclass(frozen=True)
class _Where:
    """Where a node stands: in which function of the method's class, and under which conditions."""

    function: str = ""
    when: tuple[tuple[str, bool], ...] = ()

    def under(self, condition: str, truth: bool) -> _Where:
        return replace(self, when=(*self.when, (condition, truth)))


class _Reader:
    """Collects the demands of a file, node by node, however deeply they are nested."""

    def __init__(self, method: ast.ClassDef, name: str) -> None:
        self.method, self.name = method, name
        self.heads: set[str] = set()
        self.demands: list[Demand] = []

    def read(self, tree: ast.Module) -> None:
        waiting: list[tuple[ast.AST, _Where]] = [(tree, _Where())]
        while waiting:
            node, where = waiting.pop()
            self._look(node, where)
            waiting += reversed(list(self._inside(node, where)))

    def _inside(self, node: ast.AST, where: _Where) -> Iterator[tuple[ast.AST, _Where]]:
        """The parts of a node, in their order, each with where it stands."""
        if isinstance(node, (ast.If, ast.IfExp)):
            condition = _text(node.test)
            yield node.test, where
            yield from ((part, where.under(condition, True)) for part in _parts(node.body))
            yield from ((part, where.under(condition, False)) for part in _parts(node.orelse))
            return
        for part in ast.iter_child_nodes(node):
            if node is self.method and isinstance(part, ast.FunctionDef):
                yield part, replace(where, function=part.name)
            else:
                yield part, where

    def _look(self, node: ast.AST, where: _Where) -> None:
        if isinstance(node, ast.Assign) and self._is_head(node.value):
            self.heads |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, ast.Attribute):
            self._look_at_attribute(node, where)
        if isinstance(node, ast.Call):
            self._look_at_call(node, where)

    def _look_at_attribute(self, node: ast.Attribute, where: _Where) -> None:
        of_itself = isinstance(node.value, ast.Name) and node.value.id == "self"
        if node.attr == "head" and isinstance(node.ctx, ast.Store):
            self._add(HEAD, f"replaces {_text(node)}", node, where)
        if of_itself or not isinstance(node.ctx, ast.Load):
            return
        if node.attr in _LABELS:
            self._add(LABEL, f"reads {_text(node)}", node, where)
        elif node.attr in _OF_ANSWER:
            self._add(ANSWER, f"uses {_text(node)}", node, where)
        elif node.attr == "validation":
            self._add(VALIDATION, f"reads {_text(node)}", node, where)
        elif node.attr == "norm_features" or (node.attr in _OF_LINEAR and self._is_head(node.value)):
            self._add(HEAD, f"uses {_text(node)}", node, where)

    def _look_at_call(self, node: ast.Call, where: _Where) -> None:
        called = node.func.id if isinstance(node.func, ast.Name) else ""
        if self._is_head(node.func):
            self._add(HEAD, f"calls {_text(node.func)}", node, where)
        if called == "soft_targets":
            self._add(LABEL, "makes targets of labels", node, where)
        if called == "getattr":
            asked = [part.value for part in node.args[1:2] if isinstance(part, ast.Constant) and part.value in _LABELS]
            for name in asked:
                self._add(LABEL, f"reads {name}", node, where)
        for keyword in node.keywords:
            views = _text(keyword.value)
            if keyword.arg == "views" and views != "1":
                always = isinstance(keyword.value, ast.Constant)
                place = where if always else where.under(f"{views} != 1", True)
                self._add(VIEWS, f"has views={views}", keyword.value, place)

    def _is_head(self, node: ast.expr) -> bool:
        """Whether it is the head of a model, or a name that was given to one."""
        if isinstance(node, ast.Name):
            return node.id in self.heads
        return isinstance(node, ast.Attribute) and node.attr == "head"

    def _add(self, of: str, what: str, node: ast.expr, where: _Where) -> None:
        self.demands.append(Demand(of, what, f"{self.name}:{node.lineno}", where.function, where.when))


def _parts(branch: list[ast.stmt] | ast.expr) -> list[ast.AST]:
    """The statements of a branch, or the one expression that it is."""
    return list[ast.AST](branch) if isinstance(branch, list) else [branch]


def _text(node: ast.expr) -> str:
    """As Python writes it; a name that nothing is known of where it is nested too deeply."""
    try:
        return ast.unparse(node)
    except RecursionError:
        return "_"


def _is_super(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "super"


def _truth(condition: str, values: Mapping[str, Value]) -> bool | None:
    """Whether a condition holds with these hyper-parameters; None where it is not one of them alone."""
    try:
        return bool(_value(ast.parse(condition, mode="eval").body, values))
    except (_Unknown, TypeError, RecursionError):
        return None


class _Unknown(Exception):
    """Something is not told from the hyper-parameters."""


def _value(node: ast.expr, values: Mapping[str, Value]) -> Any:
    """The value of literals, hyper-parameters (``self.NAME``), comparisons and logic. Raises ``_Unknown`` of others."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
        return [_value(part, values) for part in node.elts]
    if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self" and node.attr in values:
        return values[node.attr]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return not _value(node.operand, values)
    if isinstance(node, ast.BoolOp):
        parts = [bool(_value(part, values)) for part in node.values]
        return all(parts) if isinstance(node.op, ast.And) else any(parts)
    if isinstance(node, ast.Compare):
        return all(_comparisons(node, values))
    raise _Unknown


def _comparisons(node: ast.Compare, values: Mapping[str, Value]) -> Iterator[bool]:
    left = _value(node.left, values)
    for sign, part in zip(node.ops, node.comparators, strict=True):
        right = _value(part, values)
        yield _COMPARED[type(sign)](left, right)
        left = right
