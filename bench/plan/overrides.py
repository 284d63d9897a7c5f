"""What the command line puts in the place of a target's own axes and rules: read and refused in one place."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from bench.cards import DatasetCard
from bench.cards.dataset import FOLDER
from bench.cards.folder import typed_folder
from bench.cards.layout import PREFIX
from bench.cards.names import split_names
from bench.errors import InputError, Problems, choose, to_type
from bench.measure import read_choice
from bench.metrics import Metric, seconds_to
from bench.metrics.metric import NAME
from bench.plan.settings import noted
from bench.rate import Rate, rate_label, read_rate, refuse_shares
from bench.reading.syntax import read_value, split_list, split_setting
from bench.registry import Registry, unknown
from bench.rules import ACROSS, MOST_SEEDS, SELECTIONS, SPLITS, SWEEPS, TESTS
from bench.spec import digest

T = TypeVar("T")


@dataclass(frozen=True)
class Overrides:
    """Texts as they are typed; an empty one changes nothing.

    Attributes:
        methods: ``"ce,gta(weight=0.3)"``; a bare name has the target's hyper-parameters, if it has the method.
        backbones: ``"micro_vit,timm:vit_tiny_patch16_224@none"``.
        datasets: ``"digits,folder:PATH"``.
        rates: ``"15,100"`` in percent, ``"16-shot,1000-images"`` in images.
        seeds: how many (``"5"``), or which (``"0,1,7"``).
        settings: of the protocol, such as ``("steps=100", "lr=1e-4")``.
        skip_damaged: whether damaged images of folders are left out.
    """

    methods: str = ""
    backbones: str = ""
    datasets: str = ""
    rates: str = ""
    seeds: str = ""
    settings: Sequence[str] = ()
    selection: str = ""
    split: str = ""
    test: str = ""
    across: str = ""
    metric: str = ""
    margin: str = ""
    skip_damaged: bool = False

    def check(self, metrics: Mapping[str, Metric]) -> None:
        """Refuse what no target has. Raises ``InputError`` that names every option with what is allowed."""
        problems = Problems()
        rules = {"selection": SELECTIONS, "split": SPLITS, "test": TESTS, "across": ACROSS}
        for option, allowed in rules.items():
            typed = getattr(self, option)
            if typed and typed not in allowed:
                noun = "claim over datasets" if option == "across" else option
                problems.add(f"--{option}: {choose(typed, allowed, noun)}")
        for axis in ("methods", "backbones", "datasets", "rates", "seeds"):
            typed = getattr(self, axis)
            if typed and not split_names(typed):
                problems.add(f"--{axis}: '{typed}' lists nothing")
        reads: tuple[Callable[[], object], ...] = (self.typed_seeds, self.typed_rates, self.typed_settings)
        for read in (*reads, lambda: self.typed_metric(metrics), self.typed_margin):
            with noted(problems):
                read()
        problems.stop()

    @property
    def rules(self) -> dict[str, Any]:
        """The rules of a table that are typed, by name; a selection rule that candidates have too is theirs as well."""
        sweep = self.selection if self.selection in SWEEPS else ""
        rules = {"selection": self.selection, "sweep": sweep, "split": self.split, "test": self.test}
        margin = {"margin": self.typed_margin()} if self.margin else {}
        return {name: typed for name, typed in (rules | {"across": self.across}).items() if typed} | margin

    @property
    def chooses_runs(self) -> bool:
        """Whether other runs are wanted than the target's own, and not only other questions about them."""
        axes = (self.methods, self.backbones, self.datasets, self.rates, self.seeds)
        return any((*axes, self.settings, self.skip_damaged))

    @property
    def changes(self) -> str:
        """A short digest of what is changed, for the names of files; empty where nothing is."""
        if self == Overrides():
            return ""
        # an override that is added later leaves the names of old variants alone
        later = ("test", "across", "metric", "margin", "skip_damaged")
        return digest({key: value for key, value in asdict(self).items() if value or key not in later})[:6]

    def dataset(self, name: str, registry: Registry) -> DatasetCard:
        """The card of a dataset, of a folder of images with what is typed for all of them. Raises ``InputError``."""
        card = registry.dataset(self._typed(name) if self.skip_damaged else name)
        if not self.skip_damaged or card.reader != FOLDER or card.options.get("skip_damaged"):
            return card
        raise InputError(f"--skip-damaged: {name} has a card; let its options say 'skip_damaged: true'")

    @staticmethod
    def _typed(name: str) -> str:
        """A folder's name with the choice to leave damaged images out; other names as they are."""
        if not name.startswith(PREFIX):
            return name
        path, options = typed_folder(name.removeprefix(PREFIX))
        return f"{PREFIX}{path}@{replace(options, skip_damaged=True).typed}"

    def typed_seeds(self) -> tuple[int, ...]:
        """The seeds that are typed, none where none are. Raises ``InputError`` where they are no seeds."""
        if not self.seeds:
            return ()
        values = [read_value(written) for written in split_list(self.seeds)]
        return read_seeds(values[0] if len(values) == 1 else values, "--seeds")

    def typed_rates(self) -> tuple[Rate, ...]:
        """The rates that are typed. Raises ``InputError`` that names all that are none."""
        texts = split_list(self.rates)
        rates = _each(lambda written: read_rate(read_value(written), "--rates"), texts)
        refuse_shares([read_value(text) for text in texts], "--rates")
        return tuple(dict.fromkeys(rates))

    def typed_metric(self, metrics: Mapping[str, Metric]) -> Metric | None:
        """The metric that is typed. Raises ``InputError`` where there is none of that name."""
        return find_at(self.metric, metrics, "--metric") if self.metric else None

    def typed_margin(self) -> float | None:
        """The margin that is typed, in points. Raises ``InputError`` where it is no number above 0."""
        return read_margin(read_value(self.margin), "--margin") if self.margin else None

    @property
    def kept(self) -> dict[str, set[str]]:
        """What a paper's cells must be of to be kept, along each of their axes; nothing typed keeps all."""
        named = {axis: set(split_names(getattr(self, f"{axis}s"))) for axis in ("method", "backbone", "dataset")}
        return {**named, "rate": {rate_label(rate).removesuffix(" %") for rate in self.typed_rates()}}

    def typed_settings(self) -> dict[str, Any]:
        """The settings that are typed, by name. Raises ``InputError`` that names all not of the form key=value."""
        return dict(_each(lambda written: split_setting(written, "--set"), self.settings))


def _each(read: Callable[[str], T], texts: Iterable[str]) -> list[T]:
    """What each text says. Raises ``InputError`` with all that is wrong."""
    problems, values = Problems(), list[T]()
    for text in texts:
        with noted(problems):
            values.append(read(text))
    problems.stop()
    return values


def find_at(name: str, metrics: Mapping[str, Metric], place: str) -> Metric:
    """A metric by its name, written somewhere; ``s_dbw(images=500)`` is what was measured with such options.

    ``top1@noise`` is a metric of a further test, or of a further model of a run; whether there is one of that name, the
    target's datasets and methods say (``bench.plan.further``).

    Raises ``InputError`` that says where: there is none of that name, or it has no such option.
    """
    if "@" in name.partition("(")[0]:
        name, _, where = name.partition("@")
        usual = find_at(name, metrics, place)
        if not usual.of_curve or not NAME.fullmatch(where):
            form = "NAME@WHERE is a metric that is computed where a run is scored, such as top1@noise"
            raise InputError(f"{place}: {name}@{where}: {form}")
        return usual.at(where)
    written, (name, _, choice) = name, name.partition("(")
    metric = metrics.get(name) or seconds_to(name)
    if metric is None:
        of_runs = [each.name for each in metrics.values() if not each.measure]
        import difflib

        near = difflib.get_close_matches(name, metrics, n=1)
        more = f"; {to_type('list', 'metrics')} has those of trained models too" if len(of_runs) < len(metrics) else ""
        raise InputError(f"{place}: {unknown(name, {*of_runs, 'seconds_to_N', *near}, 'metric')}{more}")
    return _with_choice(metric, written, choice, place) if choice else metric


def _with_choice(metric: Metric, written: str, choice: str, place: str) -> Metric:
    """A metric as it is measured with what stands in its parentheses."""
    usual = dict(metric.options)
    if not usual or not choice.endswith(")"):
        why = "write NAME(OPTION=VALUE)" if usual else f"{metric.title} is not measured with options"
        raise InputError(f"{place} {written}: {why}")
    words = split_list(choice.removesuffix(")"))
    return metric.measured_with(dict(read_choice(word, usual, f"{place} {written}", name_again=True) for word in words))


def read_seeds(written: object, place: str) -> tuple[int, ...]:
    """Seeds, each once: how many (``3``) or which (``[0, 1, 7]``).

    Raises ``InputError``: it is neither, or there are more than ``bench.rules.MOST_SEEDS``.
    """
    if type(written) is int and 0 < written <= MOST_SEEDS:
        return tuple(range(written))
    seeds = written if isinstance(written, list) else []
    if not seeds or len(seeds) > MOST_SEEDS or not all(type(seed) is int and 0 <= seed < 2**31 for seed in seeds):
        most = f" (at most {MOST_SEEDS})" if type(written) is int and written > MOST_SEEDS else ""
        raise InputError(f"{place}: seeds are how many (3) or which (0,1,2), not {written}{most}")
    return tuple(dict.fromkeys(seeds))


def read_margin(written: object, place: str) -> float:
    """What is no difference to a published number, in points. Raises ``InputError`` where it is none."""
    if isinstance(written, (int, float)) and not isinstance(written, bool) and 0 < written < math.inf:
        return float(written)
    raise InputError(f"{place}: the margin {written} is not allowed; it is in points, above 0, such as 0.5")
