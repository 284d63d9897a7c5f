"""Soups: the average of whole trainings, of those that the paper's recipe takes, each trained once for all runs."""

from __future__ import annotations

import copy
import importlib
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.backbones import Model
from bench.cost.shared import stages_here
from bench.data import TrainingImages, Validation
from bench.errors import InputError
from bench.method import Method, Policy, Stage
from bench.plan.overrides import Overrides
from bench.plan.soundness import require_sound
from bench.plan.target import read_plan
from bench.protocol import Recipe
from bench.records.kept import Keep
from bench.registry import Registry
from bench.spec import RunSpec
from bench.training.fit import fit
from bench.training.shelf import Shelf
from bench.training.trial import TrainedRun, run_trial
from tests.methods.test_baselines import a_recipe, noise, same, small, state
from tests.scenes import as_plain, curve_of
from tests.training.test_checkpoint import in_pieces

soup: Any = importlib.import_module("bench.methods.soup")
coin: Any = importlib.import_module("bench.methods.coin")
ema: Any = importlib.import_module("bench.methods.ema")
lp_ft: Any = importlib.import_module("bench.methods.lp_ft")
swa: Any = importlib.import_module("bench.methods.swa")

Weights = dict[str, Tensor]
CPU = torch.device("cpu")
USUAL = ("steps=6", "warmup=2", "evaluations=2", "batch_size=8")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def close(found: Weights, expected: Weights) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value.double(), expected[name].double(), rtol=1e-6, atol=1e-7)


def trained(method: Method, model: Model, data: TrainingImages) -> list[tuple[Stage, Weights, Weights]]:
    """Each stage with the weights that it began and ended with, trained in its own order as the engine does it."""
    seen = []
    for stage in method.stages(model, a_recipe(), data):
        start = state(stage.model)
        apart = stage.shared.apart if stage.shared else ()
        fit(stage, replace(data, seed=sum(100 * number for number in apart)), start=0)
        seen.append((stage, start, state(stage.model)))
    return seen


# ---- averages


def test_an_average_is_the_mean_of_each_entry_by_hand() -> None:
    states = [{"w": torch.randn(3, 4), "n": torch.tensor(number)} for number in (7, 8, 9)]
    mean = (states[0]["w"].double() + states[1]["w"].double() + states[2]["w"].double()) / 3
    found = soup.averaged(states)
    assert torch.equal(found["w"], mean.float())
    assert found["w"].dtype == torch.float32
    assert found["n"] == 7


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_soup_of_equal_members_is_the_member_bit_for_bit(count: int, dtype: torch.dtype) -> None:
    member = {"w": torch.randn(5, 5).to(dtype), "b": torch.randn(5).to(dtype)}
    assert same(soup.averaged([member] * count), member)


def test_a_uniform_soup_is_the_mean_of_what_its_members_were_trained_to() -> None:
    seen = trained(soup.Soup(kind="uniform", members=3), small(), noise())
    ends = [end for _, _, end in seen]
    assert not same(ends[0], ends[1])
    assert not same(ends[1], ends[2])
    expected = {name: sum(end[name].double() for end in ends) / 3 for name in ends[0]}
    expected["backbone.1.num_batches_tracked"] = ends[0]["backbone.1.num_batches_tracked"]
    close(state(seen[-1][0].model), expected)  # type: ignore[arg-type]


# ---- recipe 1


def recipe_1(scores: dict[frozenset[int], float], count: int) -> frozenset[int]:
    """As printed: sorted in decreasing order of ValAcc; for i: if ValAcc(average(ingredients ∪ {θi})) is not less."""
    order = sorted(range(count), key=lambda number: scores[frozenset([number])], reverse=True)
    ingredients = frozenset[int]()
    for number in order:
        if not ingredients or scores[ingredients | {number}] >= scores[ingredients]:
            ingredients |= {number}
    return ingredients


@pytest.mark.parametrize("seed", range(30))
def test_greedy_takes_what_the_papers_recipe_takes(seed: int) -> None:
    """Of few different scores, so that there are many ties."""
    count, state = 2 + seed % 5, np.random.RandomState(seed)
    sets = [frozenset(each) for size in range(1, count + 1) for each in itertools.combinations(range(count), size)]
    scores = {each: float(state.randint(0, 4)) for each in sets}
    asked = []

    def score_of(numbers: Sequence[int]) -> float:
        asked.append(numbers)
        return scores[frozenset(numbers)]

    chosen = soup.greedy([scores[frozenset([number])] for number in range(count)], score_of)
    assert frozenset(chosen) == recipe_1(scores, count)
    assert len(asked) == count - 1


def test_greedy_by_hand() -> None:
    scores = {(1, 2): 91.0, (1, 2, 0): 90.9, (1, 2, 3): 91.0}
    assert soup.greedy([80.0, 90.0, 85.0, 70.0], lambda numbers: scores[tuple(numbers)]) == [1, 2, 3]
    assert soup.greedy([5.0, -math.inf], lambda _: -math.inf) == [0]
    assert soup.greedy([1.0], lambda _: 1 / 0) == [0]


def test_a_greedy_soup_is_of_the_members_that_validation_chose_and_says_which() -> None:
    start, data = small(), noise()
    ends = [end for _, _, end in trained(soup.Soup(kind="uniform", members=3), copy.deepcopy(start), data)]
    scripted = [1.0, 3.0, 2.0, 3.0, 2.9]  # of the members; of 1 with 2, which is no worse; of 1, 2 with 0, which is
    scored = []

    def scorer(model: Model) -> float:
        scored.append(state(model))
        return scripted[len(scored) - 1]

    validation = Validation(data, scorer)
    seen = trained(soup.Soup(members=3), start, replace(data, held_out=validation))
    averages = [soup.averaged([ends[number] for number in group]) for group in ([0], [1], [2], [1, 2], [1, 2, 0])]
    assert all(map(same, scored, averages))
    assert len(scored) == 5
    assert same(state(seen[-1][0].model), averages[3])
    assert validation.chosen == {"soup": "1, 2"}


# ---- members


@pytest.mark.parametrize(
    ("members", "spread", "factors"),
    [(3, 4.0, [0.5, 1, 2]), (2, 9.0, [1 / 3, 3]), (4, 1.0, [1, 1, 1, 1]), (5, 16.0, [0.25, 0.5, 1, 2, 4])],
)
def test_learning_rates_are_in_equal_ratios_around_the_protocols(
    members: int, spread: float, factors: list[float]
) -> None:
    method = soup.Soup(kind="uniform", members=members, spread=spread)
    stages = list(method.stages(small(), a_recipe(min_lr=1e-4), noise()))
    assert [stage.recipe.lr for stage in stages] == pytest.approx([factor * 1e-2 for factor in factors])
    assert [stage.recipe.min_lr for stage in stages] == pytest.approx([factor * 1e-4 for factor in factors])
    assert {stage.recipe.last for stage in stages} == {12}


class Adding(Method):
    """Adds a layer that it draws, and draws for its head in between."""

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        assert isinstance(model.backbone, nn.Sequential)
        model.backbone.append(nn.Linear(4, 4))
        yield Stage(model, self.loss, recipe.share(0.5))
        yield Stage(model, self.loss, recipe.rest(0.5))


def test_members_begin_alike_and_the_start_is_left_alone() -> None:
    start, data = small(), noise()
    before = state(start)
    seen = trained(soup.Soup(kind="uniform", members=3, inner=Adding()), start, data)
    firsts = [begin for stage, begin, _ in seen if stage.shared and stage.shared.apart[1] == 0]
    assert len(firsts) == 3
    assert same(firsts[0], firsts[1])
    assert same(firsts[0], firsts[2])
    assert same(before, state(start))
    assert [stage.shared.apart for stage, _, _ in seen if stage.shared] == [(m, s) for m in range(3) for s in range(2)]
    assert all(stage.shared and stage.shared.extra for stage, _, _ in seen)


def test_the_number_of_a_policy_is_its_place_in_the_chain() -> None:
    inside = Policy()
    assert (inside.number, Policy(inner=inside).number, Policy(inner=Policy(inner=inside)).number) == (1, 2, 3)
    (stage, *_) = soup.Soup(kind="uniform", inner=ema.EMA()).stages(small(), a_recipe(), noise())
    assert stage.shared.policy == 2


@pytest.mark.parametrize("inner", [coin.COIN(), swa.SWA()])
def test_a_method_of_one_optimiser_over_its_stages_is_refused(inner: Method) -> None:
    with pytest.raises(InputError, match=f"soup: {type(inner).__name__} continues one optimiser over its stages"):
        list(soup.Soup(kind="uniform", inner=inner).stages(small(), a_recipe(), noise()))


class Idle(Method):
    """Trains nothing."""

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        return iter(())


def test_a_method_that_trains_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="Idle trains nothing"):
        list(soup.Soup(kind="uniform", inner=Idle()).stages(small(), a_recipe(), noise()))


def test_statistics_of_batch_norms_are_averaged_too() -> None:
    states = [end for _, _, end in trained(soup.Soup(kind="uniform", members=2, spread=1.0), small(), noise())]
    found = soup.averaged(states)["backbone.1.running_var"]
    assert not torch.equal(states[0]["backbone.1.running_var"], states[1]["backbone.1.running_var"])
    mean = (states[0]["backbone.1.running_var"].double() + states[1]["backbone.1.running_var"].double()) / 2
    torch.testing.assert_close(found.double(), mean, rtol=1e-6, atol=1e-9)


class Growing(Method):
    """Ends with another network each time."""

    def stages(self, model: Model, recipe: Recipe, data: TrainingImages) -> Iterator[Stage]:
        yield Stage(model, self.loss, recipe)
        if recipe.lr > 1e-2 and isinstance(model.backbone, nn.Sequential):
            model.backbone.append(nn.Linear(4, 4))


def test_members_that_end_as_other_networks_are_refused() -> None:
    with pytest.raises(InputError, match="members of Growing end as other networks"):
        list(soup.Soup(kind="uniform", inner=Growing()).stages(small(), a_recipe(), noise()))


# ---- runs


def specs(methods: str, *settings: str, **changes: str) -> list[RunSpec]:
    given = {"rates": "15", "seeds": "1", **changes}
    overrides = Overrides(methods=methods, settings=(*USUAL, *settings), **given)  # type: ignore[arg-type]
    return list(read_plan("digits", Registry(), overrides).unique.values())


def trial(spec: RunSpec, keep: Path | None = None, models: str = "") -> TrainedRun:
    return run_trial(spec, Registry(), CPU, keep, models=Keep(models) if models else Keep())


def keys(made: TrainedRun) -> list[str]:
    return [stage["shared"]["key"] for stage in as_plain(made.record)["stages"]]


def taken(made: TrainedRun) -> list[bool]:
    return [stage["shared"]["taken"] for stage in as_plain(made.record)["stages"]]


@pytest.mark.slow
def test_one_member_is_the_methods_own_training() -> None:
    plain, one = (trial(spec) for spec in specs("lp_ft,lp_ft+soup(members=1)"))
    assert plain.record.id != one.record.id
    assert curve_of(plain.record) == curve_of(one.record)
    assert as_plain(plain.record)["stages"] == as_plain(one.record)["stages"]
    assert all(np.array_equal(plain.predictions[key], one.predictions[key]) for key in plain.predictions)


@pytest.mark.slow
def test_uniform_and_greedy_soups_train_each_member_once(tmp_path: Path) -> None:
    greedy, uniform = specs("ce+soup,ce+soup(kind=uniform)")
    chosen = trial(greedy, tmp_path)
    made = trial(uniform, tmp_path, "last")
    assert keys(chosen) == keys(made)
    assert len(set(keys(made))) == 3
    assert (taken(chosen), taken(made)) == ([False] * 3, [True] * 3)
    record = as_plain(made.record)
    assert [(stage["steps"], stage["budget"]) for stage in record["stages"]] == [(6, 0)] * 3
    assert [point["step"] for point in record["curve"]] == [0]
    assert as_plain(chosen.record)["chosen"]["soup"]
    # the model that was scored is the mean, in float64, of what lies on the shelf
    members = [load_file(Shelf(tmp_path / "shared").path(key)) for key in keys(made)]
    (path,) = made.models
    for name, value in load_file(path).items():
        part, _, rest = name.partition(".")
        values = [member[f"{('backbone', 'head').index(part)}.{rest}"].double() for member in members]
        torch.testing.assert_close(value.double(), torch.stack(values).sum(0) / 3, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_what_decides_a_member_is_in_its_key() -> None:
    def key(method: str, *settings: str) -> str:
        (stages,) = stages_here(specs(method, *settings), Registry())
        assert stages is not None
        return stages.shared[1].key

    usual = key("ce+soup(kind=uniform)")
    assert key("ce+soup(kind=uniform)", "evaluations=1") == usual
    others = [
        key("ce+soup(kind=uniform)", "lr=1e-5"),
        key("l2(alpha=0.1)+soup(kind=uniform)"),
        key("l2(alpha=0.2)+soup(kind=uniform)"),
        key("ce+ema+soup(kind=uniform)"),
        key("ce+ema(decay=0.5)+soup(kind=uniform)"),
        key("ce+soup(kind=uniform)+ema"),
    ]
    assert len({usual, *others}) == 7


@pytest.mark.slow
def test_a_run_that_is_killed_in_any_member_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (spec,) = specs("lp_ft(share=0.5)+soup(members=2)", "steps=4", "warmup=0")
    whole = trial(spec, tmp_path / "whole")
    pieces, stops = in_pieces(spec, tmp_path / "pieces", 2, monkeypatch)
    assert stops == 4
    assert keys(whole) == keys(pieces)
    assert curve_of(whole.record) == curve_of(pieces.record)
    assert all(np.array_equal(whole.predictions[key], pieces.predictions[key]) for key in whole.predictions)
    assert as_plain(whole.record)["chosen"] == as_plain(pieces.record)["chosen"]


def test_members_of_a_backbone_with_batch_norms_lie_on_the_shelf_too(tmp_path: Path) -> None:
    method = "ce+soup(members=2),ce+soup(members=2,kind=uniform)"
    runs = specs(method, "steps=1", "warmup=0", "evaluations=1", backbones="micro_resnet")
    assert [taken(trial(spec, tmp_path)) for spec in runs] == [[False, False], [True, True]]


def test_greedy_without_a_validation_split_is_refused_where_runs_are_planned() -> None:
    runs = specs("ce+soup,ce+soup(kind=uniform)", "validation=0", datasets="cub200", backbones="vit_small@none")
    with pytest.raises(InputError) as caught:
        require_sound(runs, Registry(), lambda _: None)
    (problem,) = (each for each in caught.value.problems if "validation" in each)
    assert problem.startswith("soup: ")
    assert "validation=0.1" in problem
    with pytest.raises(InputError) as caught:  # micro images for a large model and the like: no word of validation
        require_sound(runs[1:], Registry(), lambda _: None)
    assert "validation" not in str(caught.value)


def test_what_a_soup_costs_is_its_members_each_once_for_every_seed() -> None:
    greedy, *others = stages_here(specs("ce+soup,ce+soup(kind=uniform),ce+soup(members=1)", seeds="2"), Registry())
    again, uniform, of_second, one, _ = others
    assert greedy is not None
    assert uniform is not None
    assert again is not None
    assert of_second is not None
    assert one is not None
    assert (greedy.steps, [stage.steps for stage in greedy.shared]) == (0, [6, 6, 6])
    assert greedy.shared == uniform.shared
    assert again.shared == of_second.shared
    assert not {*greedy.shared} & {*again.shared}
    assert (one.steps, one.shared) == (6, ())
