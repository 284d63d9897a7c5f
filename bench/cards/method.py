"""A method's card, read from its file without running it: nothing that lists or plans needs torch.

A method file declares one dataclass that derives from ``Method``; its hyper-parameters are fields of the form
``weight: float = hyper(1.0, low=0, source="...")`` with literal arguments.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.cards.acting import acting_of
from bench.cards.backbone import BackboneCard
from bench.cards.code import code_digest, nodes_of, parse_source, read_source
from bench.cards.demands import Demand, demands_of, kept
from bench.cards.text_towers import TEXT_TOWER
from bench.errors import InputError, Problems, choose
from bench.hyper import Hyper, Value, completed
from bench.metrics import TASKS

ARGUMENTS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "source": ((str,), "who published the default: paper and section, released code; or that it is our choice"),
    "low": ((int, float), "the smallest allowed value"),
    "high": ((int, float), "the largest allowed value"),
    "choices": ((tuple,), "the allowed values, where they can be listed"),
    "by": ((str,), "the hyper-parameter whose value decides the default, which is then one for each of its values"),
}
"""What stands in ``hyper(...)`` behind the default: of which type, and what it means."""

LOSSES = Path(__file__).parent.parent / "losses.py"
"""The formulas that methods share: part of what those mean that use them."""

_TYPES = ("float", "int", "bool", "str")


def _is_set_of_texts(value: Any) -> bool:
    return isinstance(value, (set, tuple, list)) and all(isinstance(item, str) for item in value)


def _is_set_of_tasks(value: Any) -> bool:
    return _is_set_of_texts(value) and bool(value) and set(value) <= TASKS.keys()


_CONSTANTS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "paper": (lambda value: isinstance(value, str), "a text"),
    "needs": (_is_set_of_texts, "a set of texts"),
    "uses": (_is_set_of_texts, "a set of texts"),
    "beside": (_is_set_of_texts, "a set of texts"),
    "per_image": (lambda value: isinstance(value, bool), "True or False"),
    "tasks": (_is_set_of_tasks, f"a set of tasks, of {', '.join(TASKS)}"),
    "packages": (_is_set_of_texts, "a set of texts"),
}
"""What a method's class may say of itself, each with what it must be."""

_COUNTED = ("blocks", "read_last_blocks")
"""What a method asks of a model by numbers that its hyper-parameters give: a backbone may have fewer blocks."""

Finder = Callable[[str], Path]
"""Gives the file of a method by its name; raises ``InputError`` where there is none."""


@dataclass(frozen=True)
class MethodCard:
    """What a method file declares.

    Attributes:
        summary: the first line of the file's docstring, or else of the class's.
        needs: probes that a backbone must offer.
        uses: what it takes where a backbone offers it.
        means: digest of the code, without comments and docstrings.
        parent: the method that this one derives from, if it is not ``Method`` itself.
        policy: whether it acts on another method (``Policy``).
        per_image: whether it says that every loss of it is a mean over images, so that none compares those of a batch.
        batches: the hyper-parameters that are images of a step: what its code gives to ``data.fed`` as a batch size.
        beside: the further models that its stages score, by what stands behind the @ of their scores.
        packages: beside those of the suite, that it needs: each is an extra of this one by its own name.
        tasks: those that it says it is for; empty where it does not say it, and its demands tell it.
        acting: what it does with stages, of ``bench.cards.acting``.
        demands: what not every task has, and its code uses; that of the methods it derives from, too.
        refuses: whether its code, or that of a method it derives from, may refuse a backbone or a budget.
    """

    name: str
    class_name: str
    path: Path
    summary: str
    text: str
    paper: str
    needs: frozenset[str]
    uses: frozenset[str]
    hypers: dict[str, Hyper]
    means: str
    parent: str | None
    policy: bool
    per_image: bool = False
    batches: frozenset[str] = frozenset()
    tasks: frozenset[str] = frozenset()
    demands: tuple[Demand, ...] = ()
    beside: frozenset[str] = frozenset()
    packages: frozenset[str] = frozenset()
    refuses: bool = False
    acting: frozenset[str] = frozenset()

    def resolve(self, changes: Mapping[str, object], where: str = "") -> tuple[tuple[str, Value], ...]:
        """Every hyper-parameter with its value: the given ones checked, the others at their default.

        Raises ``InputError``: an unknown name, a wrong type or a value out of range.
        """
        problems, owner = Problems(), f"{where}: {self.name}" if where else self.name
        values: dict[str, Value] = {}
        for name, value in changes.items():
            try:
                if name not in self.hypers:
                    raise InputError(f"{owner}: {choose(name, self.hypers, 'hyper-parameter')}")
                values[name] = self.hypers[name].check(value, owner)
            except InputError as error:
                problems.add(error)
        problems.stop()
        return tuple(sorted(completed(values, self.hypers).items()))


def read_method(path: Path, find: Finder) -> MethodCard:
    """The card of a method file; ``find`` gives the file of a method that it derives from.

    Files are read each time, since a worker must notice that one was edited; what was read before is not parsed again.
    Raises ``InputError``: the file cannot be read, is no Python, or declares no method; says where.
    """
    line = list[tuple[Path, str]]()
    while True:
        text = read_source(path)
        line.append((path, text))
        node, parent = _method_class(text, path)
        if parent is None:
            return _card(tuple(line), LOSSES.read_text(encoding="utf-8"))
        path = _parent_file(parent, node, path, find, [file for file, _ in line])


@lru_cache(maxsize=256)
def _card(line: tuple[tuple[Path, str], ...], formulas: str) -> MethodCard:
    """The card of the first of some files with their texts, each of which derives from the next one."""
    (path, text), *further = line
    tree = parse_source(text, path)
    node, parent = _method_class(text, path)
    inherited = _card(tuple(further), formulas) if further else None
    hypers = {**(inherited.hypers if inherited else {}), **_hypers(node, path)}
    _check_dependence(hypers, f"{path}:{node.lineno}")
    constants = _constants(node, path)
    uses_losses = any(isinstance(part, ast.ImportFrom) and part.module == "bench.losses" for part in tree.body)
    losses = code_digest(formulas) if uses_losses else ""
    file_text, class_text = ast.get_docstring(tree) or "", ast.get_docstring(node) or ""
    return MethodCard(
        name=path.stem,
        class_name=node.name,
        path=path,
        summary=(file_text or class_text).split("\n")[0],
        text=class_text,
        paper=constants.get("paper", inherited.paper if inherited else ""),
        needs=frozenset(constants.get("needs", inherited.needs if inherited else ())),
        uses=frozenset(constants.get("uses", inherited.uses if inherited else ())),
        beside=frozenset(constants.get("beside", inherited.beside if inherited else ())),
        packages=frozenset(constants.get("packages", inherited.packages if inherited else ())),
        acting=acting_of(node, inherited.acting if inherited else frozenset()),
        hypers=hypers,
        means=code_digest(text, (inherited.means if inherited else "") + losses),
        parent=parent,
        policy=inherited.policy if inherited else any(ast.unparse(base).endswith("Policy") for base in node.bases),
        per_image=constants.get("per_image", inherited.per_image if inherited else False),
        batches=(_batches(node) & hypers.keys()) | (inherited.batches if inherited else frozenset()),
        tasks=frozenset(constants.get("tasks", inherited.tasks if inherited else ())),
        demands=(
            *demands_of(tree, node, f"{path.parent.name}/{path.name}"),
            *(kept(inherited.demands, node) if inherited else ()),
        ),
        refuses=_refuses(tree) or (inherited is not None and inherited.refuses),
    )


def beside(methods: Iterable[MethodCard], backbone: BackboneCard) -> frozenset[str]:
    """What of its pre-training a model for these methods comes with: ``source_head``, ``text_tower``, both or none."""
    asked = frozenset[str]().union(*(method.needs | method.uses for method in methods))
    return asked & backbone.offers & {"source_head", TEXT_TOWER}


@lru_cache(maxsize=256)
def _method_class(text: str, path: Path) -> tuple[ast.ClassDef, str | None]:
    """The class that is the method, and the name of the method it derives from, if it is not ``Method`` itself."""
    tree = parse_source(text, path)
    imported = {
        alias.asname or alias.name: (statement.module or "")
        for statement in tree.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    methods: list[tuple[ast.ClassDef, str | None]] = []
    for node in [node for node in tree.body if isinstance(node, ast.ClassDef)]:
        for name in [ast.unparse(base).rpartition(".")[2] for base in node.bases]:
            module = imported.get(name, "")
            if name in ("Method", "Policy"):
                methods.append((node, None))
            elif module.startswith("bench.methods."):
                methods.append((node, module.removeprefix("bench.methods.")))
    if len(methods) != 1:
        count = f"{len(methods)} classes that derive" if methods else "no class that derives"
        raise InputError(f"{path}:1: {count} from Method; a method file declares exactly one (class Mine(Method): ...)")
    return methods[0]


def _parent_file(parent: str, node: ast.ClassDef, path: Path, find: Finder, line: Sequence[Path]) -> Path:
    place = f"{path}:{node.lineno}"
    try:
        file = find(parent)
    except InputError as error:
        raise InputError(f"{place}: it derives from bench.methods.{parent}, but {error}") from None
    if file in line:
        raise InputError(f"{place}: it derives from itself, by way of bench.methods.{parent}")
    return file


def _hypers(node: ast.ClassDef, path: Path) -> dict[str, Hyper]:
    hypers = {}
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            annotation = ast.unparse(statement.annotation)
            if not annotation.startswith("ClassVar"):
                name = statement.target.id
                hypers[name] = _hyper(name, annotation, statement, path)
    return hypers


def _hyper(name: str, annotation: str, statement: ast.AnnAssign, path: Path) -> Hyper:
    place, call = f"{path}:{statement.lineno}", statement.value
    if not (isinstance(call, ast.Call) and ast.unparse(call.func).endswith("hyper") and len(call.args) == 1):
        raise InputError(f"{place}: the field {name} must be declared as {name}: float = hyper(1.0, source='...')")
    if annotation not in _TYPES:
        raise InputError(f"{place}: {name} has type {annotation}; a hyper-parameter is one of {', '.join(_TYPES)}")
    default = _literal(call.args[0], name, place)
    arguments: dict[str, Any] = {}
    for keyword in call.keywords:
        argument = str(keyword.arg)
        if argument not in ARGUMENTS:
            raise InputError(f"{place}: {name}: {choose(argument, ARGUMENTS, 'argument of hyper')}")
        value = arguments[argument] = _literal(keyword.value, name, place)
        listed = value if isinstance(value, tuple) else ()
        is_plain = all(isinstance(item, (bool, int, float, str)) for item in listed)
        if value is not None and not (is_plain and type(value) in ARGUMENTS[argument][0]):
            raise InputError(f"{place}: {name}: {argument} = {value!r} has the wrong type")
    if not arguments.get("source"):
        raise InputError(f"{place}: {name} needs a source: the paper and section, the released code, or 'our choice'")
    is_table = isinstance(default, dict) and bool(default)
    if is_table is not bool(arguments.get("by")):
        raise InputError(f"{place}: {name}: a default for each value of another one is hyper({{...}}, by='its name')")
    declared = Hyper(name, annotation, None if is_table else default, **arguments)
    owner = f"{place}: the default of"
    if is_table:
        return replace(declared, defaults={value: declared.check(its, owner) for value, its in default.items()})
    declared.check(default, owner)
    return declared


def _check_dependence(hypers: Mapping[str, Hyper], place: str) -> None:
    """Raise ``InputError`` where a default depends on what has no list of values, or is missing for one of them."""
    for name, declared in hypers.items():
        if not declared.by:
            continue
        deciding = hypers.get(declared.by)
        values = (False, True) if deciding and deciding.type == "bool" else deciding.choices if deciding else None
        if deciding is None or deciding.by or values is None:
            must = "a hyper-parameter of the same method with choices and a default of its own"
            raise InputError(f"{place}: {name}: by = '{declared.by}' must be {must}")
        if {*declared.defaults} != {*values}:
            listed = ", ".join(str(value) for value in values)
            raise InputError(f"{place}: {name}: there must be a default for each value of {declared.by}: {listed}")


def _batches(node: ast.ClassDef) -> frozenset[str]:
    """Attributes of the method in what it gives to ``fed`` as a batch size, which is the first argument."""
    sizes = list[ast.expr]()
    for call in nodes_of(node):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "fed":
            sizes += call.args[:1]
            sizes += [keyword.value for keyword in call.keywords if keyword.arg == "batch_size"]
    return frozenset(part.attr for size in sizes for part in ast.walk(size) if isinstance(part, ast.Attribute))


def _refuses(tree: ast.Module) -> bool:
    """Whether a file raises ``InputError``, or takes of a model what its backbone may have too little of."""
    for node in nodes_of(tree):
        if isinstance(node, ast.Raise) and any(
            isinstance(part, ast.Name) and part.id == "InputError" for part in ast.walk(node)
        ):
            return True
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _COUNTED:
            return True
    return False


def _constants(node: ast.ClassDef, path: Path) -> dict[str, Any]:
    constants = {}
    for statement in node.body:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        value = getattr(statement, "value", None)
        if isinstance(target, ast.Name) and target.id in _CONSTANTS and value is not None:
            place, (holds, form) = f"{path}:{statement.lineno}", _CONSTANTS[target.id]
            literal = _literal(value, target.id, place)
            if not holds(literal):
                raise InputError(f"{place}: {target.id} must be {form}")
            constants[target.id] = literal
    return constants


def _literal(node: ast.expr, name: str, place: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        raise InputError(f"{place}: {name} must be a literal: cards are read without running the file") from None
