"""What there is, found by the names of its files: methods, datasets and their readers, experiments, launchers, ...

The suite's own folder and a user's (``--plugin``) have the same shape, so built-in methods have no privilege.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import bench
from bench.cards import BackboneCard, DatasetCard, MethodCard
from bench.cards.backbone import read_backbone, timm_backbone
from bench.cards.code import file_digest
from bench.cards.dataset import read_dataset
from bench.cards.drawn import CHOICES, drawn_backbone
from bench.cards.folder import folder_dataset
from bench.cards.folders import real_path, typed_path
from bench.cards.further import ALSO, with_further
from bench.cards.layout import PREFIX
from bench.cards.method import read_method
from bench.cards.readers import EVERY_READER
from bench.cards.rehearsal import REHEARSAL, read_rehearsal, rehearsal_dataset
from bench.errors import InputError, choose, shortened, to_type
from bench.measure import Measure, Measured, code_of
from bench.metrics import METRICS, Metric
from bench.reading.document import Section, read_document
from bench.reading.loading import load_checked, load_file

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
"""What something that is found by the name of its file may be called."""

_PATTERNS = {
    "methods": "*.py",
    "backbones": "*.yaml",
    "datasets": "*.yaml",
    "experiments": "*.yaml",
    "presets": "*.yaml",
    "paper_tables": "*/*.yaml",
    "launchers": "*.py",
    "readers": "*.py",
    "metrics": "*.py",
    "measures": "*.py",
    "formats": "*.py",
}
"""The folders in which things are found, each with the names of its files."""


def _files_of(kind: str) -> cached_property[dict[str, Path]]:
    """The files of a kind, by name."""
    return cached_property(lambda registry: registry._files(kind))


def _files_of_papers(name: str) -> cached_property[dict[str, Path]]:
    """The files of one name, by the short name of their paper."""
    return cached_property(
        lambda registry: {path.parent.name: path for path in registry._paper_files if path.name == name}
    )


class Registry:
    """The suite's own folders and the user's.

    Args:
        plugins: method files, or folders with ``methods/``, ``datasets/`` or another of the suite's folders in them.

    Attributes:
        backbone_files, dataset_files: cards.
        experiment_files: declared experiments.
        preset_files: protocols by name, which may have hyphens.
        launcher_files: run when one is chosen.
        measure_files: of trained models; run when metrics are listed.
        format_files: formats of tables that plug-ins bring, each run when a table is written so.
        protocol_files, claims_files: what each paper says about its runs and about its tables.

    Raises:
        InputError: a plugin does not exist or has nothing in it, or a name is taken twice.
    """

    def __init__(self, plugins: Iterable[str | Path] = ()) -> None:
        self.plugins = tuple(map(_plugin, plugins))
        self.roots = [*map(Path, bench.__path__), *(plugin for plugin in self.plugins if plugin.is_dir())]

    backbone_files = _files_of("backbones")
    dataset_files = _files_of("datasets")
    experiment_files = _files_of("experiments")
    preset_files = _files_of("presets")
    launcher_files = _files_of("launchers")
    measure_files = _files_of("measures")
    format_files = _files_of("formats")
    protocol_files = _files_of_papers("protocol.yaml")
    claims_files = _files_of_papers("claims.yaml")

    @cached_property
    def method_files(self) -> dict[str, Path]:
        return self._files("methods", extra=[plugin for plugin in self.plugins if plugin.is_file()])

    @cached_property
    def reader_files(self) -> dict[str, Path]:
        """The file of each reader of datasets that plug-ins bring, by name; it runs when such a dataset is opened."""
        readers = self._files("readers")
        if taken := sorted(readers.keys() & EVERY_READER):
            raise InputError(f"{readers[taken[0]]}: the suite has a reader called '{taken[0]}'; rename this one")
        return readers

    @cached_property
    def table_files(self) -> dict[str, Path]:
        """Each paper table, by ``paper/table``."""
        tables = [path for path in self._paper_files if path.name not in ("protocol.yaml", "claims.yaml")]
        return {f"{path.parent.name}/{path.stem}": path for path in tables}

    @cached_property
    def figure_files(self) -> dict[str, Path]:
        """The declaration of each figure of a paper, by ``paper/figN``."""
        paths = [path for root in self.roots for path in sorted(root.glob("paper_tables/*/figures/*.yaml"))]
        return {f"{path.parent.parent.name}/{path.stem}": path for path in paths}

    @cached_property
    def metrics(self) -> Mapping[str, Metric]:
        """Every metric, by name: the suite's own, those of plug-ins, whose files are run, and those of measures.

        The files of measures are run when a name is asked for that is none of the others, or all names are. Raises
        ``InputError``, then or at once: a file declares none, or one of another name, or a name is taken twice.
        """
        metrics = dict(METRICS)
        for path in _paths(filter(Path.is_dir, self.plugins), "metrics"):
            _add(metrics, _load_metric(path), path, "the file and it")
        return _Metrics(metrics, lambda: self._with_measures(metrics))

    def _with_measures(self, others: Mapping[str, Metric]) -> dict[str, Metric]:
        """These metrics, and those of all measures."""
        metrics = dict(others)
        for name, path in self.measure_files.items():
            code, measure = self.measure_code(name), self.measure(name)
            options = tuple(measure.usual.items())
            for metric in measure.gives:
                _add(metrics, replace(metric, code=code, options=options), path, "it")
        return metrics

    def measure(self, name: str) -> Measure:
        """What a measure declares; its file is run. Raises ``InputError`` where there is none of that name."""
        return self._measure_module(name).MEASURE  # type: ignore[no-any-return]

    def measure_code(self, name: str) -> str:
        """The digest of what a measure computes. Raises ``InputError`` where there is none of that name."""
        return code_of(file_digest(self._find(self.measure_files, name, "measure")))

    def load_measure(self, name: str) -> Callable[..., Measured]:
        """The function of a measure. Raises ``InputError`` where there is none of that name."""
        return self._measure_module(name).measure  # type: ignore[no-any-return]

    def _measure_module(self, name: str) -> ModuleType:
        path = self._find(self.measure_files, name, "measure")
        module = load_checked("measures", path, file_digest(path))
        measure = getattr(module, "MEASURE", None)
        if not isinstance(measure, Measure) or measure.name != name or not callable(getattr(module, "measure", None)):
            raise InputError(
                f"{path}: it must say MEASURE = Measure('{name}', ...), from bench.measure import Measure, and have a "
                f"function 'measure(subject)'"
            )
        return module

    @property
    def papers(self) -> list[str]:
        return list(dict.fromkeys(name.partition("/")[0] for name in self.table_files))

    def tables_of(self, targets: Collection[str]) -> list[str]:
        """The tables that are named, by themselves (``gta/table2``) or by their paper (``gta``); all where none is.

        Raises ``InputError``: there is no such paper or table.
        """
        names = [*self.papers, *self.table_files]
        for target in targets:
            if target not in names:
                raise InputError(choose(target, names, "paper or table"))
        return [name for name in self.table_files if not targets or {name, name.partition("/")[0]} & {*targets}]

    def method(self, name: str) -> MethodCard:
        """The card of a method. Raises ``InputError`` where there is none of that name."""
        return read_method(self._method_file(name), self._method_file)

    def meant(self, name: str) -> str:
        """A question, where no method has that name and a choice of a hyper-parameter of one has it; else empty."""
        for method in self.method_files:
            with suppress(InputError):  # of a file that cannot be read something is said where it is meant
                for key, hyper in self.method(method).hypers.items():
                    if name.lower() in (hyper.choices or ()):
                        return f"did you mean '{method}({key}={name.lower()})'?"
        return ""

    def load_method(self, card: MethodCard) -> type[Any]:
        """The method's class; this runs its file and those it derives from, and so imports torch.

        Raises ``Exception``: whatever running the file raises; ``RuntimeError`` where it would end the process.
        """
        if card.parent:
            self.load_method(self.method(card.parent))
        return getattr(load_file("methods", card.path, card.means), card.class_name)  # type: ignore[no-any-return]

    def backbone(self, name: str) -> BackboneCard:
        """The card of a backbone: a registered name or ``timm:NAME``, with ``@none`` or ``@FILE`` for the weights.

        ``@drawn`` and ``@small`` are for rehearsals (``bench.cards.drawn``).
        """
        plain, _, weights = name.partition("@")
        if weights in CHOICES:
            return drawn_backbone(self.backbone(plain), weights)
        if plain.startswith("timm:"):
            return timm_backbone(name)
        also = f"did you mean timm:{shortened(name)}?" if "." in plain else "timm:NAME takes any timm model"
        return read_backbone(name, self._find(self.backbone_files, plain, "backbone", also))

    def dataset(self, name: str) -> DatasetCard:
        """The card of a dataset: a registered name, alone or with ``@VARIANT`` or ``@FILE``, or ``folder:PATH``.

        ``@also=NOISE+BLUR`` behind it are further tests that it names.
        ``rehearsal:EXCERPT:NAME`` is what a rehearsal takes of it, or puts in its place (``bench.cards.rehearsal``).
        """
        if name.startswith(REHEARSAL):
            excerpt, of = read_rehearsal(name)
            return rehearsal_dataset(self.dataset(of), excerpt)
        if name.startswith(PREFIX):
            return folder_dataset(name)
        name, asks, tests = name.partition(ALSO)
        if asks:
            return with_further(self.dataset(name), tests, self.dataset)
        plain = name.partition("@")[0]
        also = f"did you mean folder:{name}?" if _is_folder(name) else "folder:PATH takes your own images"
        return read_dataset(name, self._find(self.dataset_files, plain, "dataset", also), self.reader_files)

    def experiment(self, target: str) -> Section:
        """A declared experiment: a registered name, or the path of a YAML file."""
        if target.endswith((".yaml", ".yml")):
            return read_document(typed_path(target))
        if target in self.table_files:
            raise InputError(f"{target}: a published table; it is shown by {to_type('table', target)}")
        if target in self.experiment_files:
            return read_document(self.experiment_files[target])
        of_papers = [*self.table_files, *self.figure_files]
        choices = of_papers if "/" in target else [*self.experiment_files, *self.papers]
        raise InputError(f"{choose(target, choices, 'experiment, paper or table')}; a path ending in .yaml is read too")

    def table_file(self, name: str) -> Path:
        """The file of a paper's table. Raises ``InputError`` where there is none of that name."""
        return self._find(self.table_files, name, "table")

    def _method_file(self, name: str) -> Path:
        return self._find(self.method_files, name, "method")

    @cached_property
    def _paper_files(self) -> list[Path]:
        return _paths(self.roots, "paper_tables")

    def _files(self, kind: str, extra: Sequence[Path] = ()) -> dict[str, Path]:
        files: dict[str, Path] = {}
        for path in [*(path for path in _paths(self.roots, kind) if path.name != "__init__.py"), *extra]:
            name = path.stem
            if not NAME.fullmatch(name.replace("-", "_") if kind == "presets" else name):
                raise InputError(f"{path}: '{name}' cannot be a name: letters, digits and _ only, a letter first")
            if files.setdefault(name, path) != path:
                raise InputError(f"two {kind} are called '{name}': {files[name]} and {path}; rename one")
        return files

    def _find(self, files: dict[str, Path], name: str, what: str, also: str = "") -> Path:
        if name not in files:
            if in_this_folder(name, what):
                raise InputError(unknown(name, files, what))
            # where it is plain what was meant, a list of what there is would only stand before it
            lacking = f"no {what} is called '{shortened(name)}'"
            problem = lacking if "did you mean" in also else choose(name, files, what)
            raise InputError(problem + (f"; {also}" if also else ""))
        return files[name]


class _Metrics(Mapping[str, Metric]):
    """Some metrics by name, and others, which are loaded when one of them is asked for: that takes a while."""

    def __init__(self, present: Mapping[str, Metric], load: Callable[[], Mapping[str, Metric]]) -> None:
        self.present, self.load = present, lru_cache(maxsize=1)(load)

    def __getitem__(self, name: str) -> Metric:
        return self.present[name] if name in self.present else self.load()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.load())

    def __len__(self) -> int:
        return len(self.load())


def _add(metrics: dict[str, Metric], metric: Metric, path: Path, what: str) -> None:
    """Add a metric that a file declares. Raises ``InputError`` where its name is taken; ``what`` is to be renamed."""
    if metric.name in metrics:
        raise InputError(f"{path}: there is a metric called '{metric.name}' already; rename {what}")
    metrics[metric.name] = metric


def unknown(name: str, choices: Iterable[str], what: str) -> str:
    """As ``choose``, of what a plug-in may bring: where a file here has that name, it asks whether that is meant."""
    nearby = in_this_folder(name, what)
    return f"no {what} is called '{name}': {nearby}" if nearby else choose(name, choices, what)


def in_this_folder(name: str, what: str) -> str:
    """The question whether a file of the current folder is meant, which no plug-in names; empty where there is none."""
    kind = f"{what}s"
    if not NAME.fullmatch(name) or kind not in _PATTERNS:
        return ""
    inside = Path(kind, name + Path(_PATTERNS[kind]).suffix)
    alone = Path(f"{name}.py")
    if kind == "methods":
        path = next(filter(Path.is_file, (alone, inside)), None)
        return f"is it in ./{path}? add --plugin {path}" if path else ""
    return f"is it in ./{inside}? add --plugin ." if inside.is_file() else ""


def _paths(roots: Iterable[Path], kind: str) -> list[Path]:
    return [path for root in roots for path in sorted(root.glob(f"{kind}/{_PATTERNS[kind]}"))]


def _plugin(path: str | Path) -> Path:
    """A plugin's own path, whatever link leads there. Raises ``InputError`` where nothing of it can be used."""
    try:
        plugin = real_path(path)
    except InputError as error:
        raise InputError(f"--plugin: {error}") from None
    if not (plugin.is_dir() or (plugin.is_file() and plugin.suffix == ".py")):
        raise InputError(f"--plugin {plugin}: there is no such folder or .py file")
    if plugin.is_dir() and not any((plugin / kind).is_dir() for kind in _PATTERNS):
        raise InputError(
            f"--plugin {plugin}: it has none of the folders {', '.join(_PATTERNS)}; or name a .py file in it"
        )
    return plugin


def _is_folder(name: str) -> bool:
    try:
        return typed_path(name).is_dir()
    except (InputError, OSError):
        return False


def _load_metric(path: Path) -> Metric:
    """The metric that a plug-in's file declares. Raises ``InputError`` where it declares none of the file's name."""
    metric = getattr(load_checked("plugin_metrics", path, file_digest(path)), "METRIC", None)
    if not isinstance(metric, Metric) or metric.name != path.stem:
        raise InputError(f"{path}: it must say METRIC = Metric('{path.stem}', ...), from bench.metrics import Metric")
    return metric
