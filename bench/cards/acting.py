"""What a method does with stages, told from its code: whether a policy has something to act on behind another part."""

from __future__ import annotations

import ast

from bench.cards.code import nodes_of

IDLE = "trains nothing"
"""Of a method that gives no stage."""
SHARES = "shares its stages"
"""Of a policy that makes stages ones that runs share."""
EACH = "acts on each stage"
"""Of a policy that goes through the stages of what it acts on, and does nothing where there are none."""
LEAVES = "leaves shared stages"
"""Of a policy that gives stages that runs share as they are."""


def acting_of(node: ast.ClassDef, inherited: frozenset[str] = frozenset()) -> frozenset[str]:
    """Which of these are so of a method's class; those of the class it derives from, where it has no stages itself."""
    stages = next((part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "stages"), None)
    if stages is None:
        return inherited
    facts = {IDLE} if _gives_none(stages) else set[str]()
    for part in nodes_of(node):
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Name) and part.func.id == "Shared":
            facts.add(SHARES)
        elif isinstance(part, ast.For) and _are_inner_stages(part.iter):
            facts.add(EACH)
        elif isinstance(part, (ast.If, ast.IfExp)) and _leaves(part):
            facts.add(LEAVES)
    return frozenset(facts)


def _gives_none(stages: ast.FunctionDef) -> bool:
    """Whether all that it yields is ``yield from ()``."""
    yields = [part for part in ast.walk(stages) if isinstance(part, (ast.Yield, ast.YieldFrom))]
    return all(isinstance(part, ast.YieldFrom) and ast.unparse(part.value) == "()" for part in yields)


def _are_inner_stages(node: ast.expr) -> bool:
    """Whether it is ``self.inner.stages(...)``."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "stages"):
        return False
    inner = node.func.value
    return isinstance(inner, ast.Attribute) and inner.attr == "inner" and _named(inner.value) == "self"


def _leaves(part: ast.If | ast.IfExp) -> bool:
    """Whether it is ``if stage.shared: yield stage``, or ``stage if stage.shared else ...``."""
    first: ast.AST | None = part.body if isinstance(part, ast.IfExp) else part.body[0]
    if isinstance(first, ast.Expr):
        first = first.value
    if isinstance(first, ast.Yield):
        first = first.value
    stage, test = _named(first), part.test
    return bool(stage) and isinstance(test, ast.Attribute) and test.attr == "shared" and _named(test.value) == stage


def _named(node: ast.AST | None) -> str:
    """The name that it is; empty where it is none."""
    return node.id if isinstance(node, ast.Name) else ""
