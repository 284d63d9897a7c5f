"""What a run is, fully resolved, and its id: a hash of what can change its result and nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from bench.hyper import Value
from bench.protocol import Protocol, Recipe
from bench.rate import Rate, budget_named, rate_label

ENGINE = 3
"""Raised by hand whenever the engine changes so that the same spec gives another result; part of every run id."""

AXES = ("method", "backbone", "dataset", "rate", "seed")
"""The axes of a grid, which are also what a seed may vary along."""


@dataclass(frozen=True)
class Named:
    """A name and a digest of what it stands for, so that renaming changes nothing and changing anything shows."""

    name: str
    means: str


@dataclass(frozen=True)
class MethodSpec:
    """A method with every hyper-parameter resolved; ``means`` is the digest of its code.

    ``policies`` act on it in this order, each on what the ones before it made.
    """

    name: str
    means: str
    hyper: tuple[tuple[str, Value], ...]
    policies: tuple[MethodSpec, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Its name and those of its policies."""
        return (self.name, *(policy.name for policy in self.policies))

    @property
    def full_name(self) -> str:
        """``gta+transmix``."""
        return "+".join(self.names)


@dataclass(frozen=True)
class Seeds:
    """What is drawn at random in a run: which images, which initial head, which order and augmentation."""

    subset: int
    init: int
    order: int


@dataclass(frozen=True)
class RunSpec:
    """One training, fully resolved.

    ``seed`` is the declared seed, a label; ``further`` is the digest of the further tests that it is scored on
    (``bench.cards.further``), empty without any.
    """

    method: MethodSpec
    backbone: Named
    dataset: Named
    rate: Rate
    protocol: Protocol
    seeds: Seeds
    seed: int
    further: str = ""

    @cached_property
    def id(self) -> str:
        """12 hexadecimal digits of the hash of ``identity``."""
        return digest(identity(self))

    @property
    def label(self) -> str:
        """A readable name, not an identity: ``gta micro_vit cluttered_digits 15 % seed 0``."""
        return (
            f"{self.method.full_name} {short_name(self.backbone.name)} {short_name(self.dataset.name)} "
            f"{rate_label(self.rate)} seed {self.seed}"
        )


def identity(spec: RunSpec) -> dict[str, Any]:
    """Everything that can change a run's result: names, labels and the declared seed are left out.

    Fields that equal their default are left out, so that a field added later leaves the old ids as they are.
    """
    return {
        "engine": ENGINE,
        "method": method_identity(spec.method),
        "backbone": spec.backbone.means,
        "dataset": spec.dataset.means,
        "rate": spec.rate,
        "protocol": {**written(spec.protocol), "recipe": written(spec.protocol.recipe)},
        "seeds": dict(vars(spec.seeds)),
        **({"further": spec.further} if spec.further else {}),
    }


@lru_cache(maxsize=1024)
def method_identity(method: MethodSpec) -> dict[str, Any]:
    """What a method and its policies do, whatever they are called."""
    policies = [method_identity(policy) for policy in method.policies]
    return {"code": method.means, "hyper": dict(method.hyper), **({"policies": policies} if policies else {})}


@lru_cache(maxsize=1024)
def method_digest(method: MethodSpec) -> str:
    return digest(method_identity(method))


@lru_cache(maxsize=1024)
def written(declared: Any) -> dict[str, Any]:
    """The plain fields of a dataclass instance that differ from their default, by name."""
    plain = (field for field in dataclasses.fields(declared) if field.default is not dataclasses.MISSING)
    return {field.name: value for field in plain if (value := getattr(declared, field.name)) != field.default}


_PLAIN = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_HERE = "\0seeds\0"
"""Stands for what comes later in an encoded identity; no name or value holds such characters."""


def digest(value: object) -> str:
    """12 hexadecimal digits of the SHA-256 of a JSON-able value; the order of keys does not matter."""
    return _hashed(_PLAIN.encode(value))


def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def id_by_seeds(first: RunSpec) -> Callable[[int, int, int], str]:
    """What gives, by subset, init and order, the ids of runs that differ from one in their seeds alone.

    What they share is hashed once.
    """
    head, tail = _PLAIN.encode({**identity(first), "seeds": _HERE}).split(_PLAIN.encode(_HERE))
    begun = hashlib.sha256(head.encode())

    def id_of(subset: int, init: int, order: int) -> str:
        whole = begun.copy()
        # the names in their order, as in every encoded identity
        whole.update(f'{{"init":{init:d},"order":{order:d},"subset":{subset:d}}}{tail}'.encode())
        return whole.hexdigest()[:12]

    return id_of


def with_seeds(first: RunSpec, drawn: Iterable[tuple[int, Seeds]]) -> list[RunSpec]:
    """The runs that differ from one in their seeds alone; what they share is looked up once."""
    id_of, runs = id_by_seeds(first), []
    method, backbone, dataset, rate = first.method, first.backbone, first.dataset, first.rate
    protocol, further = first.protocol, first.further
    for seed, seeds in drawn:
        spec = RunSpec(method, backbone, dataset, rate, protocol, seeds, seed, further)
        # what the cached property would compute; a dictionary of its attributes would take four times the memory
        object.__setattr__(spec, "id", id_of(seeds.subset, seeds.init, seeds.order))
        runs.append(spec)
    return runs


def derive(purpose: str, *along: object) -> int:
    """A 31-bit seed from what it is for and the values it varies along; the same on every machine."""
    return int(digest([purpose, *along])[:8], 16) & 0x7FFFFFFF


_drawn = lru_cache(maxsize=65536)(derive)  # methods share their draws


def draw_cell(axes: Mapping[str, object], seeds: Sequence[int], vary: Mapping[str, Sequence[str]]) -> tuple[Seeds, ...]:
    """The seeds of the runs of a cell, whose axes are all but ``seed``; cells that share their draws share the work.

    ``vary`` gives, for ``subset``, ``init`` and ``order``, the axes along which that draw changes.
    """
    used = sorted({axis for along in vary.values() for axis in along} - {"seed"})
    purposes = tuple((purpose, tuple(sorted(along))) for purpose, along in vary.items())
    return _drawn_cell(tuple((axis, axes[axis]) for axis in used), tuple(seeds), purposes)


@lru_cache(maxsize=1024, typed=True)
def _drawn_cell(
    axes: tuple[tuple[str, object], ...], seeds: tuple[int, ...], purposes: tuple[tuple[str, tuple[str, ...]], ...]
) -> tuple[Seeds, ...]:
    drawn = []
    for seed in seeds:
        cell = {**dict(axes), "seed": seed}
        of_run = {purpose: _drawn(purpose, *((axis, cell[axis]) for axis in along)) for purpose, along in purposes}
        drawn.append(Seeds(**of_run))
    return tuple(drawn)


def short_name(name: str) -> str:
    """A name fit for a folder or a heading: of a path only its last part."""
    kind, _, rest = name.partition(":")
    if kind == "rehearsal":
        return f"rehearsal of {short_name(rest.partition(':')[2])}"
    if kind == "folder":
        path, at, also = rest.partition("also=")  # whose paths are no part of the name
        names = "+".join(re.findall(r"(?:^|\+)(\w+):", also))
        return path.rstrip("/").rpartition("/")[2] + at + names
    return "@".join(part.rpartition("/")[2] for part in name.split("@"))


def to_json(spec: RunSpec) -> dict[str, Any]:
    """The spec as plain data, every default written out."""
    return dataclasses.asdict(spec)


def from_json(data: Mapping[str, Any]) -> RunSpec:
    """The spec that ``to_json`` wrote. Raises ``ValueError`` where its rate is a text and names no budget."""
    protocol, rate = dict(data["protocol"]), data["rate"]
    if isinstance(rate, str):
        rate = budget_named(rate).name
    return RunSpec(
        method=_method_from_json(data["method"]),
        backbone=Named(**data["backbone"]),
        dataset=Named(**data["dataset"]),
        rate=rate,
        protocol=Protocol(recipe=Recipe(**protocol.pop("recipe")), **protocol),
        seeds=Seeds(**data["seeds"]),
        seed=data["seed"],
        further=data.get("further", ""),
    )


def _method_from_json(data: Mapping[str, Any]) -> MethodSpec:
    hyper = tuple((name, value) for name, value in data["hyper"])
    policies = tuple(_method_from_json(policy) for policy in data.get("policies", ()))
    return MethodSpec(data["name"], data["means"], hyper, policies)
