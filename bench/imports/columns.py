"""What each column of a file of results is: said by somebody, or plain from its name and from what stands in it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

from bench.errors import InputError, choose
from bench.imports.directions import HIGHER, LOWER, NEUTRAL, Directions, in_suite, is_lower, marked, words, words_of
from bench.imports.numbers import has_failed, is_missing, read_number
from bench.imports.rows import Rows
from bench.metrics import Metric

NAMES: Mapping[str, str] = {
    "method": "method,methods,model,algorithm,algo,framework,approach,classifier,estimator",
    "dataset": "dataset,data set,data,task,benchmark",
    "seed": "seed,random seed,random state,run,trial,iteration,repeat,repetition,replicate",
    "fold": "fold,cv fold,fold id",
    "backbone": "backbone,arch,architecture,encoder",
    "rate": "rate,sampling rate,fraction,data fraction,train fraction,label fraction,shots,shot,n shots,k shot",
    "metric": "metric,measure",
    "std": "std,std dev,stdev,stddev,sd,standard deviation,±,+-",
    "n": "n,runs,seeds,count,n runs,n seeds,num runs,num seeds",
    "quoted": "quoted",
    "state": "state,status",
    "value": "value",
}
"""Of each role the names that a column with it may have, small and with blanks; the first is its own.

``NAME name`` is the same as ``NAME``.
"""

SEVERAL = ("value", "dataset", "metric", "method", "seed", "fold")
"""Roles that several columns of numbers may have: one a dataset, one a metric and so on."""

GENERIC = ("score", "result", "results", "performance")
AVERAGES = ("average", "avg", "avg.", "mean")
STATES = words("finished running failed crashed killed scheduled pending preempted preempting")
SETTINGS = words(
    "param params parameter parameters size lr epoch epochs step steps batch time runtime duration created timestamp "
    "memory flops gflops macs gmacs pct id index idx rank latency throughput gpu gpus year stderr se sem ci decay "
    "temperature"
)
"""Words of columns that tell something about a run, and hold no result."""

_PREFIX = re.compile(r"^(config|params|metrics|summary|tags)[./]", re.IGNORECASE)
_SETTING = re.compile(r"^(config|params|tags|system)[./]|^_", re.IGNORECASE)
_STD = re.compile(
    r"[\s_./-]*(?:\b|_)(?:std|stdev|stddev|sd|standard[ _]deviation)(?:\b|_)[\s_./-]*|\s*±\s*", re.IGNORECASE
)
_MEAN = re.compile(r"[\s_./-]*(?:\b|_)mean(?:\b|_)[\s_./-]*", re.IGNORECASE)
_RUN = re.compile(r"(?P<role>seed|run|trial|fold|repeat|repetition|rep|iteration) ?#?(?P<number>\d+)")
_LOOK_AT = 500


@dataclass(frozen=True)
class ValueColumn:
    """A column of numbers: of which metric, dataset, method, seed or fold, where the header says it.

    Attributes:
        std: the column of its ±.
        is_average: whether it is the average of other columns.
    """

    at: int
    metric: str = ""
    dataset: str = ""
    method: str = ""
    seed: str = ""
    fold: str = ""
    std: int | None = None
    is_average: bool = False


@dataclass(frozen=True)
class Columns:
    """What the columns are, by their place.

    Attributes:
        roles: the column of each role; those of the numbers are ``values``.
        lower: what headers say of metrics, by name: whether less is better.
        ignored: the names of the columns that are not used.
    """

    roles: Mapping[str, int]
    values: tuple[ValueColumn, ...]
    lower: Mapping[str, bool] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def read_roles(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """What is typed of columns, ``method=model,value=A,B``: the names of the columns of each role.

    Raises ``InputError`` where a role is none, or has several columns that only one can be.
    """
    typed: dict[str, list[str]] = {}
    for text in texts:
        role = ""
        for part in text.split(","):
            left, sign, right = part.partition("=")
            if sign and (left.strip().lower() in NAMES or not role):
                role = left.strip().lower()
                if role not in NAMES:
                    raise InputError(f"--columns {text}: {choose(role, NAMES, 'role of a column')}")
                typed.setdefault(role, []).append(right.strip())
            elif not role:
                raise InputError(f"--columns {text}: it is ROLE=COLUMN, with commas between: method=model,value=acc")
            else:
                typed[role].append(part.strip())
    for role, columns in typed.items():
        if "" in columns or (len(columns) > 1 and role not in SEVERAL):
            raise InputError(f"--columns {role}={','.join(columns)}: one column is the {role}")
    if several := [role for role in SEVERAL if len(typed.get(role, ())) > 1][1:]:
        raise InputError(f"--columns: only one of {', '.join(SEVERAL)} has several columns, not {several[0]} too")
    return {role: tuple(columns) for role, columns in typed.items()}


def choose_columns(
    rows: Rows, typed: Mapping[str, Sequence[str]], metrics: Mapping[str, Metric], declared: Directions
) -> Columns:
    """What the columns of a file are.

    Args:
        rows: the file.
        typed: the names of the columns of each role that somebody says (``read_roles``).
        metrics: those of the suite and of plug-ins; a column that is called like one holds it.
        declared: metrics that somebody says the direction of: they are metrics, too.

    Raises:
        InputError: a column that is needed is not there, or several may be it; says what to type.
    """
    header = _Header(rows, metrics, declared)
    header.check()
    roles = {role: header.find(names[0]) for role, names in typed.items() if len(names) == 1 and role != "value"}
    several = next(((role, names) for role, names in typed.items() if len(names) > 1), ("", ()))
    header.used = {*roles.values(), *(header.find(name) for name in several[1])}
    if "value" in typed and not several[0]:
        header.used.add(header.find(typed["value"][0]))
    for role in NAMES:
        if role in ("value", *roles) or role == several[0] != "value":
            continue
        if (at := header.plain(role)) is not None:
            roles[role] = at
            header.used.add(at)
    header.check_method(roles, several[0])
    values = header.typed_values(several, typed, roles) or header.values(roles)
    used = {*roles.values()}.union(*({value.at, value.std} for value in values))
    ignored = tuple(name for at, name in enumerate(rows.header) if name and at not in used)
    return Columns(roles, tuple(values), header.lower, ignored)


class _Header:
    """The names of columns with what stands below them."""

    def __init__(self, rows: Rows, metrics: Mapping[str, Metric], declared: Directions) -> None:
        self.rows, self.metrics, self.declared = rows, metrics, declared
        self.names = rows.header
        self.used: set[int] = set()
        self.lower: dict[str, bool] = {}
        self.bare = [re.sub(r"[\s_-]+", " ", _PREFIX.sub("", marked(name)[0]).lower()) for name in self.names]
        self.labels = [_PREFIX.sub("", marked(name)[0]) for name in self.names]
        for name, label in zip(self.names, self.labels, strict=True):
            if (says := marked(name)[1]) is not None:
                self.lower[label] = says

    def check(self) -> None:
        """Refuse a name that stands there twice."""
        twice = [name for name in dict.fromkeys(self.names) if name and self.names.count(name) > 1]
        if twice:
            raise InputError(f"{self.rows.top}: a column stands there twice: {', '.join(twice[:5])}")

    def check_method(self, roles: Mapping[str, int], several: str) -> None:
        """Refuse a file of which no column says the method; ``several`` is the role that several columns have."""
        if "method" in roles or several == "method":
            return
        turned = [at for at in range(len(self.names)) if self._may_hold_results(at) and not self._is_metric(at)]
        how = ""
        if len(turned) > 1 and "dataset" in roles:
            how = f", or method={self.names[turned[0]]},{self.names[turned[1]]},... where each is one,"
        raise InputError(
            f"{self.rows.top}: no column is called method or model; --columns method=NAME{how} ({self.listed()})"
        )

    def listed(self, places: Collection[int] | None = None) -> str:
        """The names of columns, the first few of many."""
        names = [name for at, name in enumerate(self.names) if name and (places is None or at in places)]
        return ", ".join(names[:8]) + ", ..." * (len(names) > 8)

    def find(self, name: str) -> int:
        """The column of a name, or of a number from 1 where no name is so."""
        for names in (self.names, self.labels, self.bare, [each.lower() for each in self.names]):
            wanted = name if names is self.names or names is self.labels else name.lower()
            if list(names).count(wanted) == 1:
                return list(names).index(wanted)
        if name.isdecimal() and 1 <= int(name) <= len(self.names):
            return int(name) - 1
        raise InputError(f"{self.rows.top}: --columns: {choose(name, [each for each in self.names if each], 'column')}")

    def plain(self, role: str) -> int | None:
        """The column that is called like a role; its own name goes before others."""
        names = NAMES[role].split(",")
        alike = [at for at, bare in enumerate(self.bare) if bare.removesuffix(" name") in names]
        if role == "method" and not alike and "state" not in self.bare:
            alike = [at for at, bare in enumerate(self.bare) if bare == "name"]
        alike = [at for at in alike if at not in self.used]
        if role == "state":
            alike = [at for at in alike if {text.lower() for text in self._texts(at)} <= STATES]
        first = [at for at in alike if self.bare[at] == names[0]][:1]
        models = [at for at in alike if self.bare[at].startswith("model") and len({*self._texts(at)}) > 1]
        if role == "method" and first and models:
            mine, model = self.names[first[0]], self.names[models[0]]
            raise InputError(
                f"{self.rows.top}: {mine} and {model} may both be the method: "
                f"--columns method={mine},backbone={model}, or --columns method={model}"
            )
        if not first and len(alike) > 1:
            typed = " or ".join(f"--columns {role}={self.names[at]}" for at in alike[:3])
            raise InputError(f"{self.rows.top}: {self.listed(alike)} may all be the {role}: {typed}")
        return next(iter(first or alike), None)

    def typed_values(
        self, several: tuple[str, Sequence[str]], typed: Mapping[str, Sequence[str]], roles: Mapping[str, int]
    ) -> list[ValueColumn]:
        """The columns of numbers that somebody names; none where nobody does."""
        role, names = several
        places = [self.find(name) for name in names]
        if role in ("dataset", "method", "seed", "fold"):
            return [self._column(at, **{role: self.labels[at]}) for at in places]
        if role == "metric" or (role and "dataset" in roles) or (role and all(map(self._is_metric, places))):
            return [self._column(at, metric=self.labels[at]) for at in places]
        if role:
            return self._split(places) or [self._column(at, dataset=self.labels[at]) for at in places]
        if "value" in typed:
            at = self.find(typed["value"][0])
            return [self._column(at, metric="" if self._is_generic(at) or "metric" in roles else self.labels[at])]
        return []

    def values(self, roles: Mapping[str, int]) -> list[ValueColumn]:
        """The columns of numbers, by their names."""
        if (at := self.plain("value")) is not None:
            return [self._column(at)]
        numeric = [at for at in range(len(self.names)) if self._may_hold_results(at)]
        generic = [at for at in numeric if self.bare[at] in GENERIC]
        if len(generic) == 1:
            return [self._column(generic[0])]
        stds = {std for at in numeric if (std := self._std_of(at)) is not None}
        numeric = [at for at in numeric if at not in stds and not _STD.search(self.names[at])]
        if len(runs := [at for at in numeric if _RUN.fullmatch(self.bare[at])]) > 1:
            return [self._run(at) for at in runs]
        averages = [at for at in numeric if self.bare[at] in AVERAGES]
        if "dataset" not in roles and (columns := self._split(numeric)):
            return columns
        metrics = [at for at in numeric if self._is_metric(at)]
        results = [at for at in metrics if not self._is_cost(at)]
        others = [at for at in numeric if at not in metrics and at not in averages]
        if "metric" in roles:
            chosen = numeric if len(numeric) == 1 else []
            return [self._column(at) for at in chosen] or self._refuse(numeric)
        if results and (len(others) < 2 or "dataset" in roles):
            return [self._column(at, metric=self.labels[at]) for at in results]
        if averages and not results and ("std" in roles or "dataset" in roles or not others):
            return [self._column(averages[0])]
        if "dataset" not in roles and not results and len(others) > 1:
            places = [at for at in numeric if at in others or at in averages]
            above = _above([self.labels[at] for at in others])
            labels = {at: self.labels[at].removeprefix(above) for at in places}
            return [self._column(at, dataset=labels[at], is_average=at in averages) for at in places]
        single = others or metrics
        return [self._column(single[0], metric=self.labels[single[0]])] if len(single) == 1 else self._refuse(numeric)

    def _refuse(self, numeric: Sequence[int]) -> list[ValueColumn]:
        if not numeric:
            raise InputError(f"{self.rows.top}: no column holds numbers; --columns value=NAME ({self.listed()})")
        raise InputError(
            f"{self.rows.top}: which columns hold the results? --columns value=NAME, dataset=NAME,NAME (one a dataset) "
            f"or metric=NAME,NAME (one a metric), of {self.listed(numeric)}"
        )

    def _split(self, places: Sequence[int]) -> list[ValueColumn]:
        """Columns whose names are a metric and a dataset, ``test/acc/CUB``: of a metric at least two datasets."""
        parts = {at: _parts(self.labels[at]) for at in places}
        groups: dict[str, set[str]] = {}
        for metric, dataset in parts.values():
            if metric and dataset:
                groups.setdefault(metric, set()).add(dataset)
        columns = []
        for at, (metric, dataset) in parts.items():
            if dataset and len(groups.get(metric, ())) > 1:
                name = dataset.removeprefix(_above([*groups[metric]]))
                columns.append(self._column(at, metric, name, is_average=name.lower() in AVERAGES))
                if self.labels[at] in self.lower:
                    self.lower[metric] = self.lower[self.labels[at]]
        return columns

    def _column(self, at: int, metric: str = "", dataset: str = "", **labels: Any) -> ValueColumn:
        return ValueColumn(at, metric, dataset, std=self._std_of(at), **labels)

    def _run(self, at: int) -> ValueColumn:
        """A column of one seed or fold, ``seed_0`` or ``fold 3``."""
        match = _RUN.fullmatch(self.bare[at])
        assert match is not None
        number = match["number"]
        return ValueColumn(at, fold=number) if match["role"] == "fold" else ValueColumn(at, seed=number)

    def _std_of(self, at: int) -> int | None:
        """The column of the ± of a column: ``acc_std`` of ``acc`` or ``acc_mean``."""
        place = self.stds.get(_MEAN.sub("", self.names[at]).lower())
        return None if place == at else place

    @cached_property
    def stds(self) -> dict[str, int]:
        """The columns of ±, by the name of what they are the ± of."""
        rests = {name: _STD.sub("", name) for name in self.names}
        named = [(rests[name].lower(), at) for at, name in enumerate(self.names) if rests[name] not in ("", name)]
        return dict(reversed(named))

    def _is_generic(self, at: int) -> bool:
        return self.bare[at] in ("value", *GENERIC, *AVERAGES)

    def _is_metric(self, at: int) -> bool:
        name = self.labels[at]
        return name in self.lower or self.declared.says(name) is not None or is_lower(name, self.metrics) is not None

    def _is_cost(self, at: int) -> bool:
        """Whether it is what a run took, of which nobody makes a table without being asked."""
        metric = in_suite(self.labels[at], self.metrics)
        return metric is not None and metric.of_run is not None and self.labels[at].lower() not in self.declared.names

    def _may_hold_results(self, at: int) -> bool:
        name = self.names[at]
        if at in self.used or not name or _SETTING.search(name):
            return False
        if words_of(name) & SETTINGS and not self._is_metric(at):
            return False
        return self._is_numeric(at)

    def _is_numeric(self, at: int) -> bool:
        """Whether most of what stands below is a number: what is not is a mistake, and told with its line."""
        texts = [text for text in self._texts(at) if not has_failed(text)]
        return 2 * sum(read_number(text, self.rows.commas) is not None for text in texts) > len(texts)

    def _texts(self, at: int) -> list[str]:
        """The first texts of a column that are not missing."""
        return [*islice(_present(self.rows.fields, at), _LOOK_AT)]


def _present(fields: Sequence[Sequence[str]], at: int) -> Iterator[str]:
    for row in fields:
        text = row[at].strip()
        if not is_missing(text):
            yield text


def _above(names: Sequence[str]) -> str:
    """What stands before the last / or . of all names, with it; empty where that is not the same."""
    heads = {name[: max(name.rfind("/"), name.rfind(".")) + 1] for name in names}
    return heads.pop() if len(heads) == 1 else ""


def _parts(name: str) -> tuple[str, str]:
    """The metric and the dataset that a name has, each as it is written; no metric where no word is one."""
    pieces = re.split(r"([/._:\s]+)", name)
    words = pieces[::2]
    is_of_metric = [words_of(word) <= HIGHER | LOWER | NEUTRAL for word in words]
    if not any(words_of(word) & (HIGHER | LOWER) for word in words):
        return "", name
    metric = [word for word, inside in zip(words, is_of_metric, strict=True) if inside]
    places = [2 * at for at, inside in enumerate(is_of_metric) if not inside]
    dataset = "".join(pieces[places[0] : places[-1] + 1]) if places else ""
    return " ".join(metric), dataset
