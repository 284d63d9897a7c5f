"""From a declared experiment to runs: expansion, exclusions, overrides, seeds, and every problem told at once."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
import yaml

from bench.entry import read_entries
from bench.errors import InputError
from bench.plan.experiment import read_experiment
from bench.plan.grid import expand
from bench.plan.overrides import Overrides
from bench.plan.table import Plan, PlannedCell
from bench.protocol import Protocol
from bench.registry import Registry
from bench.spec import RunSpec

BASE: dict[str, Any] = {
    "methods": {"Plain": "ce", "GTA": {"gta": {"weight": 0.3}}},
    "backbones": ["micro_vit"],
    "datasets": ["digits", "cluttered_digits"],
    "rates": [15, 100],
    "seeds": 3,
    "protocol": {"steps": 20, "warmup": 2},
    "baseline": "ce",
}


def planned(folder: Path, overrides: Overrides | None = None, *plugins: Path, **changed: Any) -> Plan:
    """The plan of ``BASE`` with some keys changed; ``None`` removes one."""
    keys = {key: value for key, value in {**copy.deepcopy(BASE), **changed}.items() if value is not None}
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump(keys, sort_keys=False), encoding="utf-8")
    return expand(read_experiment(str(file), Registry(plugins), overrides))


def told(folder: Path, text: str, **overrides: Any) -> tuple[str, ...]:
    """The problems of an experiment's text, without its folder."""
    file = folder / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        expand(read_experiment(str(file), Registry(), Overrides(**overrides)))
    assert all("\n" not in problem for problem in caught.value.problems)
    return tuple(problem.replace(f"{folder}/", "") for problem in caught.value.problems)


def problems(folder: Path, overrides: dict[str, Any] | None = None, **changed: Any) -> tuple[str, ...]:
    keys = {key: value for key, value in {**copy.deepcopy(BASE), **changed}.items() if value is not None}
    return told(folder, yaml.safe_dump(keys, sort_keys=False), **(overrides or {}))


class Run(NamedTuple):
    """A run with the labels of its cell, and which candidate of it it is of."""

    axes: Any
    candidate: str
    spec: RunSpec


def cells(plan: Plan) -> list[PlannedCell]:
    return [cell for _, cell in plan.tables[0].places()]


def runs(plan: Plan) -> list[Run]:
    return [Run(cell.axes, each.label, spec) for cell in cells(plan) for each in cell.candidates for spec in each.runs]


def excluded(plan: Plan) -> list[PlannedCell]:
    return [cell for cell in cells(plan) if cell.reason]


def labels(plan: Plan, axis: str) -> list[str]:
    """The labels along an axis, in order, each once."""
    return list(dict.fromkeys(run.axes[axis] for run in runs(plan)))


def candidates(plan: Plan, method: str) -> list[str]:
    """The candidates of a row, in order, each once."""
    return list(dict.fromkeys(run.candidate for run in runs(plan) if run.axes["method"] == method))


def protocols(plan: Plan) -> Iterator[Protocol]:
    return (spec.protocol for spec in plan.unique.values())


def images(folder: Path) -> Path:
    for name in ("train/a/1.png", "train/b/1.png", "test/a/1.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


MINE = '''\
"""Mine: cross-entropy with a rate of its own."""

from dataclasses import dataclass

from bench.method import Method, hyper


@dataclass(frozen=True)
class Mine(Method):
    """Cross-entropy."""

    lr: float = hyper(1.0, low=0, source="our choice")

    def loss(self, model, batch):
        return {"ce": batch.cross_entropy(model(batch.images))}
'''


class TestExpansion:
    def test_every_combination_once(self, tmp_path: Path) -> None:
        plan = planned(tmp_path)
        assert len(runs(plan)) == len(plan.unique) == 2 * 1 * 2 * 2 * 3
        assert not plan.reasons
        assert len({(*run.axes.values(), run.spec.seed) for run in runs(plan)}) == 24

    def test_the_demo(self) -> None:
        plan = expand(read_experiment("demo", Registry()))
        assert len(plan.unique) == len(runs(plan)) == 6 * 4 * 3

    @pytest.mark.parametrize("name", sorted(Registry().experiment_files))
    def test_every_experiment_of_the_suite_can_be_planned(self, name: str) -> None:
        overrides = Overrides(datasets="" if "datasets" in Registry().experiment(name) else "digits")
        plan = expand(read_experiment(name, Registry(), overrides))
        assert runs(plan)
        assert plan.tables[0].baseline

    def test_labels_are_those_of_the_experiment(self, tmp_path: Path) -> None:
        plan = planned(tmp_path)
        assert labels(plan, "method") == ["Plain", "GTA"]
        assert labels(plan, "dataset") == ["Digits", "Cluttered digits"]
        assert labels(plan, "backbone") == ["micro_vit"]
        assert labels(plan, "rate") == ["15 %", "100 %"]

    def test_a_run_is_what_its_labels_say(self, tmp_path: Path) -> None:
        for run in runs(planned(tmp_path)):
            assert run.spec.method.name == {"Plain": "ce", "GTA": "gta"}[run.axes["method"]]
            assert run.spec.dataset.name == run.axes["dataset"].lower().replace(" ", "_")
            assert f"{run.spec.rate:g} %" == run.axes["rate"]
            assert dict(run.spec.method.hyper).get("weight") == (0.3 if run.axes["method"] == "GTA" else None)
            assert run.spec.protocol.recipe.steps == 20

    def test_methods_may_be_a_list_of_names(self, tmp_path: Path) -> None:
        assert labels(planned(tmp_path, methods=["ce", "gta"]), "method") == ["ce", "gta"]

    def test_one_value_needs_no_list(self, tmp_path: Path) -> None:
        plan = planned(tmp_path, backbones="micro_vit", datasets="digits", rates=30, seeds=1)
        assert len(runs(plan)) == 2
        assert labels(plan, "rate") == ["30 %"]

    def test_rates_and_seeds_written_twice_count_once(self, tmp_path: Path) -> None:
        assert len(runs(planned(tmp_path, rates=[15, 15.0, 100], seeds=[4, 7, 4]))) == 2 * 2 * 2 * 2

    def test_rates_that_differ_are_different_columns(self, tmp_path: Path) -> None:
        plan = planned(tmp_path, rates=[33.3333331, 33.3333332])
        assert len(labels(plan, "rate")) == 2

    def test_two_rows_of_one_run_are_trained_once(self, tmp_path: Path) -> None:
        plan = planned(tmp_path, methods={"Plain": "ce", "A": "gta", "B": {"gta": {"weight": 1}}})
        assert len(runs(plan)) == 36
        assert len(plan.unique) == 24
        assert labels(plan, "method") == ["Plain", "A", "B"]


class TestSweeps:
    SWEPT: ClassVar = {"B": "ce", "A": {"l2sp": {"alpha": [0.1, 1], "beta": [0.0, 0.5], "replaces_decay": False}}}
    POINTS = ("A (alpha=0.1, beta=0.0)", "A (alpha=0.1, beta=0.5)", "A (alpha=1, beta=0.0)", "A (alpha=1, beta=0.5)")
    SETTINGS: ClassVar = {"B": "ce", "A": {"ce": {}, "settings": {"lr": [1e-3, 1e-2], "clip_norm": 1}}}

    def test_lists_of_hyper_parameters_are_candidates_of_one_row(self, tmp_path: Path) -> None:
        plan = planned(tmp_path, methods=self.SWEPT)
        assert labels(plan, "method") == ["B", "A"]
        assert plan.tables[0].rules.sweep == "best-val"
        assert all(len(cell.candidates) == (4 if cell.name == "A" else 1) for cell in cells(plan))
        assert candidates(plan, "A") == [*self.POINTS]
        swept = [dict(run.spec.method.hyper) for run in runs(plan) if run.axes["method"] == "A"]
        found = {(hyper["alpha"], hyper["beta"], hyper["replaces_decay"]) for hyper in swept}
        assert found == {(a, b, False) for a in (0.1, 1.0) for b in (0.0, 0.5)}

    def test_sweep_rows_makes_a_row_of_each_candidate_and_no_other_runs(self, tmp_path: Path) -> None:
        rows = planned(tmp_path, methods=self.SWEPT, sweep="rows")
        assert labels(rows, "method") == ["B", *self.POINTS]
        assert {len(cell.candidates) for cell in cells(rows)} == {1}
        assert {*rows.unique} == {*planned(tmp_path, methods=self.SWEPT).unique}

    def test_a_row_of_a_sweep_has_its_value_where_its_label_says(self, tmp_path: Path) -> None:
        swept = {"gta": {"weight": [0.1, 1]}, "settings": {"lr": [0.001]}}
        rows = planned(tmp_path, methods={"B": "ce", "GTA, λ = {weight}": swept}, sweep="rows")
        assert labels(rows, "method") == ["B", "GTA, λ = 0.1 (lr=0.001)", "GTA, λ = 1 (lr=0.001)"]

    def test_values_of_one_name_are_told_apart_by_whose_they_are(self, tmp_path: Path) -> None:
        (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
        swept = {"mine": {"lr": [1, 2]}, "settings": {"lr": [0.001]}}
        entries = read_entries("A", swept, "here", Registry([tmp_path / "mine.py"]))
        assert [entry.label for entry in entries] == [f"A (mine.lr={lr}, settings.lr=0.001)" for lr in (1, 2)]

    def test_the_split_of_a_sweep_is_declared_or_typed(self, tmp_path: Path) -> None:
        assert planned(tmp_path, sweep="best-test").tables[0].rules.sweep == "best-test"
        typed = planned(tmp_path, Overrides(selection="best-test")).tables[0].rules
        assert (typed.selection, typed.sweep) == ("best-test", "best-test")
        assert planned(tmp_path, Overrides(selection="last"), sweep="best-test").tables[0].rules.sweep == "best-test"

    def test_settings_of_a_row_are_in_its_protocol_and_ids_and_swept_likewise(self, tmp_path: Path) -> None:
        plan = planned(tmp_path, methods=self.SETTINGS)
        assert candidates(plan, "A") == ["A (lr=0.001)", "A (lr=0.01)"]
        recipes = {run.candidate: run.spec.protocol.recipe for run in runs(plan)}
        assert {name: (recipe.lr, recipe.clip_norm) for name, recipe in recipes.items()} == {
            "B": (recipes["B"].lr, 0), "A (lr=0.001)": (1e-3, 1), "A (lr=0.01)": (1e-2, 1),
        }  # fmt: skip
        assert {(recipe.steps, recipe.warmup) for recipe in recipes.values()} == {(20, 2)}
        assert len(plan.unique) == len(runs(plan)) == 3 * 2 * 2 * 3

    def test_settings_that_equal_the_protocols_are_the_same_run(self, tmp_path: Path) -> None:
        plan = planned(tmp_path, methods={"B": "ce", "A": {"ce": {}, "settings": {"steps": 20}}})
        assert len(plan.unique) == len(runs(plan)) // 2

    def test_typed_settings_count_after_a_rows_own(self, tmp_path: Path) -> None:
        plan = planned(tmp_path, Overrides(settings=("clip_norm=3",)), methods=self.SETTINGS)
        assert {protocol.recipe.clip_norm for protocol in protocols(plan)} == {3}

    def test_epochs_of_a_row_take_the_place_of_steps(self, tmp_path: Path) -> None:
        settings = {"epochs": 3, "warmup": 0}
        plan = planned(tmp_path, methods={"B": "ce", "A": {"ce": {}, "settings": settings}})
        found = {run.axes["method"]: run.spec.protocol.recipe for run in runs(plan)}
        assert [(found[name].steps, found[name].epochs) for name in "BA"] == [(20, 0), (0, 3)]

    def test_a_sweep_over_nothing_is_an_error(self, tmp_path: Path) -> None:
        """Else a row would go missing without a word."""
        (problem,) = problems(tmp_path, methods={"Plain": "ce", "A": {"gta": {"weight": []}}})
        assert problem.startswith("mine.yaml:3: ")
        assert "weight" in problem

    @pytest.mark.parametrize(
        ("row", "says"),
        [
            ({"ce": {}, "settings": {"lrr": 1}}, "no protocol setting is called 'lrr'"),
            ({"ce": {}, "settings": {"lr": ["x", 1]}}, "lr = 'x' is not allowed"),
            ({"ce": {}, "settings": {"lr": {"a": 1}}}, "settings: lr must be one value"),
            ({"ce": {}, "settings": {"lr": [[1]]}}, "settings: lr must be one value"),
            ({"ce": {}, "settings": {"lr": [1e-3, 0.001]}}, "another of its candidates are one"),
            ({"gta": {"weight": [1, 1]}}, "another of its candidates are one"),
            ({"ce": {}, "settings": 3}, "'A' must be a method's name"),
            ({"settings": {"lr": 1}}, "'A' must be a method's name"),
        ],
    )
    @pytest.mark.parametrize("sweep", ["best-val", "rows"])
    def test_a_row_that_cannot_be_is_told_with_its_line(self, tmp_path: Path, row: Any, says: str, sweep: str) -> None:
        found = problems(tmp_path, methods={"Plain": "ce", "A": row}, sweep=sweep)
        assert all(problem.startswith("mine.yaml:3: ") for problem in found)
        assert any(says in problem for problem in found)


class TestSeeds:
    @pytest.mark.parametrize(
        ("seeds", "expected"),
        [(1, [0]), (4, [0, 1, 2, 3]), ([5], [5]), ([0], [0]), ([9, 2], [9, 2]), (None, [0, 1, 2])],
    )
    def test_how_many_or_which(self, tmp_path: Path, seeds: Any, expected: list[int]) -> None:
        plan = planned(tmp_path, seeds=seeds)
        assert list(dict.fromkeys(run.spec.seed for run in runs(plan))) == expected

    def grid(self, folder: Path, vary: dict[str, list[str]] | None = None) -> list[RunSpec]:
        return [run.spec for run in runs(planned(folder, None, backbones=["micro_vit", "micro_vit@none"], vary=vary))]

    def varies(self, specs: list[RunSpec], draw: str) -> set[str]:
        """The axes along which a draw changes while all others stay."""
        axes: dict[str, Callable[[RunSpec], Any]] = {
            "method": lambda spec: spec.method.name,
            "backbone": lambda spec: spec.backbone.name,
            "dataset": lambda spec: spec.dataset.name,
            "rate": lambda spec: spec.rate,
            "seed": lambda spec: spec.seed,
        }
        found = set()
        for axis in axes:
            groups: dict[tuple[Any, ...], list[int]] = {}
            for spec in specs:
                others = tuple(get(spec) for name, get in axes.items() if name != axis)
                groups.setdefault(others, []).append(getattr(spec.seeds, draw))
            different = {len(set(draws)) for draws in groups.values()}
            assert len(different) == 1, "a draw depends on an axis always or never"
            if different != {1}:
                assert all(len(set(draws)) == len(draws) for draws in groups.values())
                found.add(axis)
        return found

    def test_rivals_see_the_same_images_head_and_batches(self, tmp_path: Path) -> None:
        specs = self.grid(tmp_path)
        assert self.varies(specs, "subset") == {"dataset", "seed"}
        assert self.varies(specs, "init") == {"dataset", "seed"}
        assert self.varies(specs, "order") == {"dataset", "rate", "seed"}

    def test_the_three_draws_of_a_run_are_different(self, tmp_path: Path) -> None:
        for spec in self.grid(tmp_path):
            assert len({spec.seeds.subset, spec.seeds.init, spec.seeds.order}) == 3

    @pytest.mark.parametrize("draw", ["subset", "init", "order"])
    @pytest.mark.parametrize(
        "axes", [[], ["seed"], ["method"], ["backbone", "rate"], ["method", "backbone", "dataset", "rate", "seed"]]
    )
    def test_vary_fixes_or_spreads_a_draw(self, tmp_path: Path, draw: str, axes: list[str]) -> None:
        specs = self.grid(tmp_path, {draw: axes})
        assert self.varies(specs, draw) == set(axes)
        rest = {"subset": {"dataset", "seed"}, "init": {"dataset", "seed"}, "order": {"dataset", "rate", "seed"}}
        assert all(self.varies(specs, other) == rest[other] for other in rest if other != draw)

    def test_the_order_of_axes_in_vary_does_not_matter(self, tmp_path: Path) -> None:
        one, other = (self.grid(tmp_path, {"subset": axes}) for axes in (["seed", "rate"], ["rate", "seed"]))
        assert [spec.id for spec in one] == [spec.id for spec in other]

    def test_more_seeds_leave_the_first_as_they_are(self, tmp_path: Path) -> None:
        few, many = (set(planned(tmp_path, seeds=seeds).unique) for seeds in (2, 5))
        assert few < many

    def test_two_seeds_that_are_one_run(self, tmp_path: Path) -> None:
        nothing: dict[str, list[str]] = {"subset": [], "init": [], "order": []}
        (problem,) = problems(tmp_path, vary=nothing, seeds=2)
        assert "seeds 0 and 1 are one and the same run" in problem
        assert "vary" in problem
        assert len(runs(planned(tmp_path, vary=nothing, seeds=1))) == 8


class TestExclusions:
    def test_what_the_backbone_does_not_offer(self, tmp_path: Path) -> None:
        plan = planned(tmp_path, backbones=["micro_vit", "timm:resnet18@none"], datasets=["digits"], rates=[15])
        (cell,) = excluded(plan)
        assert dict(cell.axes) == {
            "dataset": "Digits",
            "backbone": "timm:resnet18@none",
            "method": "GTA",
            "rate": "15 %",
        }
        why = "cannot be: a ResNet has no tokens; ask for the grid"
        assert cell.reason == f"gta needs cls_attention, which timm:resnet18@none lacks ({why})"
        assert len(runs(plan)) == 3 * 3
        assert ("gta", "timm:resnet18@none") not in {(r.spec.method.name, r.spec.backbone.name) for r in runs(plan)}

    @pytest.mark.parametrize(
        ("where", "left"),
        [
            ({"method": "gta"}, 4),
            ({"method": "GTA"}, 4),
            ({"method": ["gta", "Plain"], "rate": 15}, 4),
            ({"rate": 15}, 4),
            ({"rate": [15.0]}, 4),
            ({"dataset": "digits"}, 4),
            ({"dataset": "Cluttered digits"}, 4),
            ({"backbone": "micro_vit", "method": "gta", "rate": 15, "dataset": "digits"}, 7),
        ],
    )
    def test_by_name_with_a_reason(self, tmp_path: Path, where: dict[str, Any], left: int) -> None:
        plan = planned(tmp_path, exclude=[{**where, "because": "the paper leaves it out"}])
        assert len(runs(plan)) == left * 3
        assert len(excluded(plan)) == 8 - left
        assert {cell.reason for cell in excluded(plan)} == {"the paper leaves it out"}

    def test_the_first_rule_that_matches_gives_the_reason(self, tmp_path: Path) -> None:
        rules = [{"rate": 15, "because": "first"}, {"method": "gta", "because": "second"}]
        reasons = {(c.axes["method"], c.axes["rate"]): c.reason for c in excluded(planned(tmp_path, exclude=rules))}
        assert reasons == {("Plain", "15 %"): "first", ("GTA", "15 %"): "first", ("GTA", "100 %"): "second"}

    def test_nothing_is_left(self, tmp_path: Path) -> None:
        (problem,) = problems(tmp_path, exclude=[{"rate": [15, 100], "because": "no time"}])
        assert "nothing is left to run" in problem
        assert "no time" in problem

    def test_nothing_is_left_for_want_of_attention(self, tmp_path: Path) -> None:
        (problem,) = problems(tmp_path, methods=["gta"], baseline=None, backbones=["timm:resnet18@none"])
        assert "gta needs cls_attention" in problem

    @pytest.mark.parametrize(
        "rule", [{"method": "gta"}, {"because": 5, "method": "gta"}, {"because": "of nothing"}, "gta", 5]
    )
    def test_a_rule_names_axes_and_a_reason(self, tmp_path: Path, rule: Any) -> None:
        (problem,) = problems(tmp_path, exclude=[rule])
        assert problem.startswith("mine.yaml:")
        assert "an exclusion names axes and a reason" in problem

    def test_a_rule_about_an_unknown_axis(self, tmp_path: Path) -> None:
        (problem,) = problems(tmp_path, exclude=[{"metod": "gta", "because": "x"}])
        assert "did you mean 'method'?" in problem

    def test_a_rule_about_a_method_that_there_is_not(self, tmp_path: Path) -> None:
        """A slip in a name must not quietly run what was to be left out."""
        (problem,) = problems(tmp_path, exclude=[{"method": "gtaa", "because": "x"}])
        assert problem.startswith("mine.yaml:")
        assert "did you mean 'gta'?" in problem.lower()


class TestOverrides:
    def plan(self, folder: Path, **overrides: Any) -> Plan:
        return planned(folder, Overrides(**overrides))

    def test_methods_of_the_experiment_keep_its_hyper_parameters(self, tmp_path: Path) -> None:
        plan = self.plan(tmp_path, methods="gta")
        assert labels(plan, "method") == ["GTA"]
        assert {dict(run.spec.method.hyper)["weight"] for run in runs(plan)} == {0.3}
        assert not plan.tables[0].baseline

    def test_by_label(self, tmp_path: Path) -> None:
        plan = self.plan(tmp_path, methods="GTA, Plain")
        assert labels(plan, "method") == ["GTA", "Plain"]
        assert plan.tables[0].baseline == "Plain"

    def test_a_method_with_hyper_parameters(self, tmp_path: Path) -> None:
        plan = self.plan(tmp_path, methods="ce,gta(weight=2),l2sp(alpha=1e-3, replaces_decay=false)")
        assert labels(plan, "method") == ["Plain", "gta(weight=2)", "l2sp(alpha=1e-3, replaces_decay=false)"]
        given = {run.spec.method.name: dict(run.spec.method.hyper) for run in runs(plan)}
        assert given["gta"]["weight"] == 2.0
        assert given["l2sp"].items() >= {"alpha": 0.001, "beta": 0.01, "replaces_decay": False}.items()

    def test_a_method_that_the_experiment_lacks(self, tmp_path: Path) -> None:
        plan = self.plan(tmp_path, methods="ce,bss")
        assert labels(plan, "method") == ["Plain", "bss"]
        assert runs(plan)[0].spec.protocol.recipe.steps == 20

    def test_of_a_swept_method_all_candidates(self, tmp_path: Path) -> None:
        methods = {"A": {"gta": {"weight": [1, 2]}}, "B": "ce"}
        plan = planned(tmp_path, Overrides(methods="gta"), methods=methods, baseline=None)
        assert (labels(plan, "method"), candidates(plan, "A")) == (["A"], ["A (weight=1)", "A (weight=2)"])
        rows = planned(tmp_path, Overrides(methods="gta"), methods=methods, baseline=None, sweep="rows")
        assert labels(rows, "method") == ["A (weight=1)", "A (weight=2)"]

    def test_backbones(self, tmp_path: Path) -> None:
        plan = self.plan(tmp_path, backbones="timm:vit_tiny_patch16_224@none, micro_vit@none")
        assert labels(plan, "backbone") == ["timm:vit_tiny_patch16_224@none", "micro_vit@none"]

    def test_datasets(self, tmp_path: Path) -> None:
        folder = images(tmp_path / "my é pictures")
        plan = self.plan(tmp_path, datasets=f"digits,folder:{folder}")
        assert labels(plan, "dataset") == ["Digits", "my é pictures"]

    def test_a_folder_that_is_called_as_a_dataset(self, tmp_path: Path) -> None:
        folder = images(tmp_path / "a" / "Digits")
        plan = self.plan(tmp_path, datasets=f"digits,folder:{folder}")
        assert labels(plan, "dataset") == ["Digits", "a/Digits"]

    def test_rates(self, tmp_path: Path) -> None:
        assert labels(self.plan(tmp_path, rates="5, 0.5,1e1"), "rate") == ["5 %", "0.5 %", "10 %"]

    @pytest.mark.parametrize(("seeds", "expected"), [("2", [0, 1]), ("5,7", [5, 7]), ("0,1,7", [0, 1, 7])])
    def test_seeds(self, tmp_path: Path, seeds: str, expected: list[int]) -> None:
        plan = self.plan(tmp_path, seeds=seeds)
        assert list(dict.fromkeys(run.spec.seed for run in runs(plan))) == expected

    def test_how_many_seeds_in_place_of_which(self, tmp_path: Path) -> None:
        plan = planned(tmp_path, Overrides(seeds="2"), seeds=[7, 8, 9])
        assert list(dict.fromkeys(run.spec.seed for run in runs(plan))) == [0, 1]

    def test_settings(self, tmp_path: Path) -> None:
        typed = ("steps=8", "lr=1e-4", "augmentation=none", "nesterov=true", "steps=9")
        (found,) = {*protocols(self.plan(tmp_path, settings=typed))}
        assert (found.recipe.steps, found.recipe.lr, found.recipe.nesterov) == (9, 1e-4, True)
        assert found.augmentation == "none"
        assert found.recipe.warmup == 2

    def test_epochs_take_the_place_of_steps(self, tmp_path: Path) -> None:
        found = {(p.recipe.steps, p.recipe.epochs) for p in protocols(self.plan(tmp_path, settings=("epochs=3",)))}
        assert found == {(0, 3)}

    def test_both_typed_are_a_contradiction(self, tmp_path: Path) -> None:
        (problem,) = problems(tmp_path, {"settings": ("steps=5", "epochs=5")})
        assert "either steps or epochs" in problem

    def test_selection(self, tmp_path: Path) -> None:
        assert self.plan(tmp_path, selection="best-val").tables[0].rules.selection == "best-val"

    def test_they_change_no_other_runs_id(self, tmp_path: Path) -> None:
        assert set(self.plan(tmp_path, methods="gta", rates="15", seeds="2").unique) < set(planned(tmp_path).unique)


class TestProblems:
    def test_all_are_told_together(self, tmp_path: Path) -> None:
        text = """\
title: Everything is wrong
methds: {A: ce}
methods:
  A: ce
  B: {gtaa: {}}
  C: {gta: {wieght: 1}}
  D: {gta: {weight: -1}}
  E: [ce]
backbones: [microvit]
datasets: [digit, "folder:/nowhere"]
rates: [0, 15, 101, abc]
seeds: -1
protocol:
  steps: 10
  warmup: 10
  stps: 10
  lr: fast
vary:
  subst: [seed]
  init: [sed]
  order: seed
exclude:
  - {method: gta}
baseline: nobody
table: {rows: [methd], family: rows, alpha: 2, colums: [rate]}
"""
        found = told(tmp_path, text)
        expected = {
            2: "did you mean 'methods'?",
            5: "did you mean 'gta'?",
            6: "did you mean 'weight'?",
            7: "weight = -1 is not allowed; it must be a number of at least 0",
            8: "'E' must be a method's name",
            9: "did you mean 'micro_vit'?",
            10: "did you mean 'digits'?",
            11: "the rate 101 is not allowed",
            12: "seeds are how many",
            13: "the warm-up (10 steps) must be shorter than the schedule (10)",
            16: "did you mean 'steps'?",
            17: "lr = 'fast' is not allowed; it must be a number of at least 0",
            19: "did you mean 'subset'?",
            20: "did you mean 'seed'?",
            21: "a list of axes is needed",
            23: "an exclusion names axes and a reason",
            24: "no method of this experiment is called 'nobody'",
            25: "no family is called 'rows'",
        }
        for line, says in expected.items():
            assert any(p.startswith(f"mine.yaml:{line}: ") and says in p for p in found), (
                f"line {line}: {says}\n{found}"
            )
        assert sum(problem.startswith("mine.yaml:11: ") for problem in found) == 3
        assert sum(problem.startswith("mine.yaml:10: ") for problem in found) == 2
        assert len(set(found)) == len(found)
        assert all(re.match(r"mine\.yaml:\d+: ", problem) for problem in found)

    def test_those_of_the_command_line_name_the_option(self, tmp_path: Path) -> None:
        found = problems(
            tmp_path,
            {
                "methods": "gtaa,gta(wieght=1),gta(weight=x),l2sp(",
                "backbones": "microvit",
                "datasets": "digit,folder:/nowhere",
                "rates": "0,abc",
                "seeds": "x",
                "settings": ("stps=1", "lr=fast", "nothing"),
                "selection": "best",
            },
        )
        for option, says in [
            ("--methods", "did you mean 'gta'?"),
            ("--methods", "did you mean 'weight'?"),
            ("--methods", "weight = 'x' is not allowed"),
            ("--methods", "'l2sp(' is not of the form"),
            ("--backbones", "did you mean 'micro_vit'?"),
            ("--datasets", "did you mean 'digits'?"),
            ("--datasets", "there is no such folder"),
            ("--rates", "the rate 0 is not allowed"),
            ("--rates", "the rate abc is not allowed"),
            ("--seeds", "seeds are how many (3) or which (0,1,2), not x"),
            ("--set", "'nothing' is not of the form key=value"),
            ("--selection", "did you mean 'best-"),
        ]:
            assert any(p.startswith(f"{option}: ") and says in p for p in found), f"{option}: {says}\n{found}"
        assert all(problem.startswith("--") for problem in found)

    def test_a_problem_of_the_files_table_is_not_blamed_on_an_option(self, tmp_path: Path) -> None:
        (problem,) = problems(tmp_path, {"selection": "last"}, table={"alpha": 2})
        assert problem.startswith("mine.yaml:")

    def test_every_setting_is_told_at_once(self, tmp_path: Path) -> None:
        found = problems(tmp_path, {"settings": ("nothing", "stps=1", "lr=fast")})
        assert [problem.split(":")[0] for problem in found] == ["--set"] * 3

    @pytest.mark.parametrize(
        ("overrides", "option"),
        [
            ({"datasets": "digits,folder:FOLDER/a/none"}, "--datasets"),
            ({"settings": ("warmup=20",)}, "--set"),
            ({"settings": ("steps=0",)}, "--set"),
            ({"methods": ","}, "--methods"),
        ],
    )
    def test_what_was_typed_is_not_blamed_on_the_file(
        self, tmp_path: Path, overrides: dict[str, Any], option: str
    ) -> None:
        given = {
            key: value.replace("FOLDER", str(tmp_path)) if isinstance(value, str) else value
            for key, value in overrides.items()
        }
        (problem,) = problems(tmp_path, given)
        assert problem.startswith(f"{option}: ")

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("title", 5),
            ("about", [1]),
            ("methods", []),
            ("methods", {}),
            ("methods", 5),
            ("methods", "ce"),
            ("methods", {"A": {"ce": {}, "gta": {}}}),
            ("methods", {"A": 5}),
            ("methods", [["ce"]]),
            ("methods", ["ce", "ce"]),
            ("backbones", []),
            ("backbones", {"a": 1}),
            ("backbones", [5]),
            ("datasets", []),
            ("datasets", 5),
            ("rates", []),
            ("rates", "15"),
            ("rates", [True]),
            ("rates", [None]),
            ("rates", [100.5]),
            ("rates", [float("nan")]),
            ("rates", [[15]]),
            ("seeds", []),
            ("seeds", 0),
            ("seeds", 1.5),
            ("seeds", [1.5]),
            ("seeds", [-1]),
            ("seeds", True),
            ("seeds", "3"),
            ("protocol", 5),
            ("protocol", []),
            ("protocol", {}),
            ("protocol", {"steps": 0}),
            ("protocol", {"steps": 5, "epochs": 5}),
            ("protocol", {"steps": 5, "warmup": 5}),
            ("protocol", {"steps": 1.5}),
            ("protocol", {"steps": True}),
            ("protocol", {"steps": 5, "optimizer": "adam"}),
            ("protocol", {"steps": 5, "nesterov": 1}),
            ("protocol", {"steps": 5, "validation": 0.95}),
            ("protocol", {"steps": 5, "first": 1}),
            ("protocol", {"steps": 5, "recipe": {}}),
            ("vary", 5),
            ("vary", ["subset"]),
            ("vary", {"subset": 5}),
            ("vary", {"subset": [["seed"]]}),
            ("exclude", 5),
            ("exclude", "gta"),
            ("exclude", {"method": "gta", "because": "x"}),
            ("exclude", [{"rate": [["a"]], "because": "x", "methods": "ce"}]),
            ("baseline", 5),
            ("baseline", ["ce"]),
            ("baseline", "bss"),
            ("table", 5),
            ("table", ["rows"]),
            ("table", {"rows": 5}),
            ("table", {"rows": "method"}),
            ("table", {"rows": [["method"]]}),
            ("table", {"rows": ["seed"]}),
            ("table", {"rows": ["dataset", "backbone", "method", "rate"]}),
            ("table", {"rows": ["dataset", "backbone"]}),
            ("table", {"rows": ["method", "method"], "columns": ["rate"]}),
            ("table", {"family": ["column"]}),
            ("table", {"family": {}}),
            ("table", {"alpha": "small"}),
            ("table", {"alpha": True}),
            ("table", {"selection": "first"}),
            ("table", {"selection": ["last"]}),
            ("sweep", "best"),
            ("sweep", ["rows"]),
            ("table", {"metric": "top2"}),
            ("next", "a text"),
            ("next", 5),
        ],
    )
    def test_each_key_written_wrongly_is_told_with_its_line(self, tmp_path: Path, key: str, value: Any) -> None:
        keys = {**copy.deepcopy(BASE), key: value}
        text = yaml.safe_dump(keys, sort_keys=False)
        found = problems(tmp_path, **{key: value})
        first = next(n for n, line in enumerate(text.splitlines(), 1) if line.startswith(f"{key}:"))
        after = [n for n, line in enumerate(text.splitlines(), 1) if n > first and line[0] not in " -"]
        lines = range(first, after[0] if after else 1000)
        numbers = [int(match[1]) for p in found if (match := re.match(r"mine\.yaml:(\d+): ", p))]
        assert set(numbers) & set(lines), found

    @pytest.mark.parametrize("key", ["methods", "backbones", "datasets", "rates", "protocol"])
    def test_what_is_needed_is_missing(self, tmp_path: Path, key: str) -> None:
        (problem,) = problems(tmp_path, **{key: None, **({"baseline": None} if key == "methods" else {})})
        assert problem.startswith("mine.yaml:1: ")
        assert key in problem or "steps or epochs" in problem

    def test_a_problem_in_a_method_file_is_told_with_the_rest(self, tmp_path: Path) -> None:
        plugin = tmp_path / "broken.py"
        plugin.write_text("class Broken(\n", encoding="utf-8")
        keys = {**BASE, "methods": ["ce", "broken"], "rates": [0]}
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(keys), encoding="utf-8")
        with pytest.raises(InputError) as caught:
            read_experiment(str(tmp_path / "mine.yaml"), Registry([plugin]))
        assert any(problem.startswith(f"{plugin}:1: not valid Python") for problem in caught.value.problems)
        assert any("the rate 0" in problem for problem in caught.value.problems)

    def test_a_long_list_of_choices_is_cut(self, tmp_path: Path) -> None:
        assert all(len(problem) < 1000 for problem in problems(tmp_path, methods=["x" * 50]))
