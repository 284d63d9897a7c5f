"""Estimates of cost: arithmetic on measured times, each number with what it rests on, and none without."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bench
from bench.cards import DatasetCard
from bench.cli import main
from bench.cost.estimate import Estimate, estimate, lines
from bench.cost.measure import measure
from bench.cost.nearest import RATIOS
from bench.cost.step_times import StepTime, keep_times, read_times, times_of_records, work_of
from bench.errors import InputError
from bench.metrics.predictions import BYTES, compact
from bench.protocol import Protocol, Recipe
from bench.records.store import Store
from bench.spec import MethodSpec, Named, RunSpec, Seeds
from bench.training.size import Size, size_of

CPU, GPU = "AMD EPYC", "NVIDIA H200"
UNKNOWN = "not known: the same command with --measure times 10 steps of each method and backbone here"


def spec(
    method: str = "ce",
    backbone: str = "micro_vit",
    dataset: str = "digits",
    rate: float = 100.0,
    seed: int = 0,
    **protocol: Any,
) -> RunSpec:
    recipe = Recipe(steps=protocol.pop("steps", 0 if "epochs" in protocol else 100), epochs=protocol.pop("epochs", 0))
    return RunSpec(
        method=MethodSpec(method, f"{method:x<12}", (("weight", 1.0),)),
        backbone=Named(backbone, "b" * 12),
        dataset=Named(dataset, "c" * 12),
        rate=rate,
        protocol=Protocol(recipe, batch_size=10, evaluations=2, **protocol),
        seeds=Seeds(seed, seed, seed),
        seed=seed,
    )


def card(name: str = "digits", **facts: Any) -> DatasetCard:
    facts = {"splits": {"train": 1000, "val": 50, "test": 100}, **facts}
    return DatasetCard(name, name, "digits", "", facts, "c" * 12)


def time(
    run: RunSpec, step: float, image: float = 0.0, *, hardware: str = CPU, noise: bool = False, on_gpu: int = 1
) -> StepTime:
    dataset = "" if noise else run.dataset.name
    return StepTime(work_of(run), hardware, hardware == GPU, step, image, 10, dataset, on_gpu=on_gpu)


def estimated(runs: list[RunSpec], times: list[StepTime], **facts: Any) -> Estimate:
    return estimate(runs, lambda name: card(name, **facts), times)[0]


def record(run: RunSpec, **environment: Any) -> dict[str, Any]:
    """A run of 100 steps in 30 s, of which 10 went into evaluating 100 images at 2 points."""
    curve = [{"step": step, "val": {"top1": 50.0}, "test": {"top1": 50.0}} for step in (50, 100)]
    timing = {"seconds": 30.0, "evaluation_seconds": 10.0}
    images = {"validation_images": 40, "test_images": 60}
    return {
        "status": "done",
        "curve": curve,
        "timing": timing,
        "environment": {"processor": CPU, **environment},
        **images,
    }


def publish(store: Store, run: RunSpec, changed: Mapping[str, Any] | None = None, **environment: Any) -> Path:
    with store.draft() as draft:
        (draft / "predictions.npz").write_bytes(b"0" * 5000)
        return store.publish(draft, run, {**record(run, **environment), **(changed or {})})


def make_older(folder: Path, changed: Mapping[str, Any]) -> None:
    """Write a record as one of schema 1 with other entries."""
    path = folder / "record.json"
    record = {**json.loads(path.read_text()), "schema": 1, **changed}
    del record["checksum"]
    path.write_text(json.dumps(record), encoding="utf-8")


def from_records(store: Store) -> list[StepTime]:
    return times_of_records(store, store.finished().values(), ["micro_vit"])


class TestCompiledRuns:
    def test_the_seconds_of_compiling_are_no_seconds_of_steps(self, tmp_path: Path) -> None:
        store, taken = Store(tmp_path), {"mode": "default", "seconds": 15.0, "graphs": 1, "breaks": 0}
        publish(store, spec(compile="default"), {"compiled": taken})
        (time,) = from_records(store)
        assert time.step_seconds == pytest.approx((30.0 - 10.0 - 15.0) / 100)

    def test_a_step_of_theirs_is_no_step_of_others(self) -> None:
        compiled = spec(compile="default")
        assert work_of(compiled).setting != work_of(spec()).setting
        assert estimated([compiled], [time(spec(), 0.5, 0.1)]).unknown == 1


class TestSizeOfARun:
    def test_steps_are_the_protocols(self) -> None:
        assert size_of(spec(), card()) == Size(steps=100, points=2, images=150)

    def test_or_follow_from_the_images_at_the_rate(self) -> None:
        # 15 % of 1000 images are 150, in batches of 10
        assert size_of(spec(epochs=3, rate=15.0), card()).steps == 45

    def test_where_a_validation_split_is_held_out(self) -> None:
        held_out = card(splits={"train": 1000, "test": 100})
        assert size_of(spec(epochs=3), held_out) == Size(steps=3 * 90, points=2, images=200)
        assert size_of(spec(epochs=3, validation=0.0), held_out) == Size(steps=300, points=2, images=100)

    def test_without_sizes_on_the_card(self) -> None:
        assert size_of(spec(epochs=3), card(splits={})) == Size(None, 2, None)
        assert size_of(spec(), card(splits={})) == Size(100, 2, None)

    @pytest.mark.parametrize("name", bench.Registry().dataset_files)
    def test_every_card_of_the_suite_gives_them(self, name: str) -> None:
        size = size_of(spec(epochs=1), bench.Registry().dataset(name))
        assert size.steps
        assert size.images


class TestHours:
    def test_steps_and_evaluated_images(self) -> None:
        # 100 steps of 0.5 s, and 150 images of 0.1 s at each of 2 points: 80 s
        found = estimated([spec(seed=seed) for seed in range(9)], [time(spec(), 0.5, 0.1)])
        assert found.hours == pytest.approx(9 * 80 / 3600)
        assert found.longest == pytest.approx(80 / 3600)
        assert (found.runs, found.unknown, found.hardware, found.gpu) == (9, 0, CPU, False)

    def test_the_median_of_several_times(self) -> None:
        times = [time(spec(), seconds) for seconds in (1.0, 2.0, 50.0)]
        assert estimated([spec()], times).hours == pytest.approx(200 / 3600)

    def test_weights_change_no_time(self) -> None:
        assert estimated([spec(backbone="timm:vit@none")], [time(spec(backbone="timm:vit"), 1.0)]).unknown == 0

    @pytest.mark.parametrize(
        "other",
        [
            spec(backbone="micro_resnet"),
            spec(image_size=32),
            spec(precision="bf16"),
            replace(spec(), protocol=replace(spec().protocol, batch_size=20)),
        ],
        ids=["backbone", "image size", "precision", "batch"],
    )
    def test_nothing_is_guessed_from_another(self, other: RunSpec) -> None:
        found = estimated([spec()], [time(other, 1.0)])
        assert (found.hours, found.unknown, found.hardware) == (0.0, 1, "")
        assert found.bases == {UNKNOWN: 1}

    def test_the_nearest_match_counts(self) -> None:
        heavier = replace(spec(), method=replace(spec().method, hyper=(("weight", 2.0),)))
        times = [
            time(spec("gta"), 16.0),
            time(spec(), 8.0, noise=True),
            time(spec(dataset="cub200"), 4.0),
            time(heavier, 2.0),
            time(spec(), 1.0),
        ]
        expected = {
            1.0: "from 1 finished run of the same method and backbone on the same dataset",
            2.0: "from 1 finished run of the same method and backbone on the same dataset",
            4.0: "from 1 finished run of the same method and backbone on other datasets",
            8.0: "from 10 measured steps of each method and backbone on noise: the loading of images is not in it",
            16 / RATIOS["gta"]: "from 1 finished run of another method on the same backbone, times the ratio of the "
            "methods (results/shown/step_cost.md: ViT-Ti/16, batch 16, one core of an AMD EPYC)",
        }
        for seconds, basis in expected.items():
            found = estimated([spec()], times)
            assert found.hours == pytest.approx(seconds * 100 / 3600)
            assert found.bases == {basis: 1}
            times.pop()
        assert estimated([spec()], times).unknown == 1

    def test_a_ratio_measured_here_comes_before_the_shipped_one(self) -> None:
        elsewhere: dict[str, Any] = {"backbone": "micro_resnet"}
        times = [time(spec(), 2.0), time(spec("gta", **elsewhere), 30.0), time(spec("ce", **elsewhere), 10.0)]
        found = estimated([spec("gta")], times)
        assert found.hours == pytest.approx(3 * 2.0 * 100 / 3600)
        assert "measured on another backbone or batch, same hardware" in next(iter(found.bases))

    def test_a_method_without_a_ratio_is_not_known(self) -> None:
        assert estimated([spec("mine")], [time(spec(), 1.0)]).unknown == 1

    def test_machines_are_not_mixed(self) -> None:
        times = [time(spec(), 1.0), time(spec(), 0.01, hardware=GPU), time(spec("gta"), 0.02, hardware=GPU)]
        found = estimated([spec(), spec("gta"), spec("bss")], times)
        assert (found.hardware, found.gpu, found.unknown) == (GPU, True, 0)
        assert found.hours == pytest.approx(100 * (0.01 + 0.02 + 0.98 * 0.01) / 3600)

    def test_runs_that_shared_a_gpu_teach_nothing_of_those_that_have_theirs(self) -> None:
        alone, shared = time(spec(), 36.0, hardware=GPU), time(spec(), 100.0, hardware=GPU, on_gpu=4)
        assert estimated([spec()], [alone, shared, shared]).hours == 1.0
        assert estimated([spec()], [shared]).unknown == 1

    def test_runs_that_share_a_gpu_take_their_share_as_measured(self) -> None:
        """100 steps of 72 s are two hours each, and four runs at a time half an hour of the GPU."""
        runs = [spec(seed=seed) for seed in range(8)]
        times = [time(spec(), 36.0, hardware=GPU), time(spec(), 72.0, hardware=GPU, on_gpu=4)]
        cost, _ = estimate(runs, card, times, on_gpu=4)
        assert (cost.hours, cost.longest, cost.on_gpu, cost.unshared) == (4.0, 2.0, 4, "")
        assert lines(cost, 1)[0] == "about 4 GPU-hours of NVIDIA H200; with 1 GPU, 4 runs on each, about 4 hours"
        assert lines(cost, 9)[0].endswith("with 9 GPUs, 4 runs on each, about 2 hours")

    def test_where_that_was_not_measured_nothing_is_divided(self) -> None:
        runs = [spec(), spec("mine")]
        times = [time(run, 36.0, hardware=GPU) for run in runs] + [time(spec(), 72.0, hardware=GPU, on_gpu=4)]
        cost, _ = estimate(runs, card, times, on_gpu=4)
        assert cost.hours == 2.0
        assert "  4 runs on a GPU: not measured, so this is as if each run had its GPU alone" in lines(cost, 1)
        assert estimate(runs, card, times, on_gpu=2)[0].unshared

    def test_a_card_without_sizes(self) -> None:
        found = estimated([spec()], [time(spec(), 1.0)], splits={})
        assert found.bases == {"not known: the dataset's card does not give the sizes of its splits": 1}
        assert (found.unknown, found.hardware) == (1, "")

    def test_the_shipped_ratios_are_the_measured_ones(self) -> None:
        page = (Path(__file__).parent.parent.parent / "results" / "shown" / "step_cost.md").read_text(encoding="utf-8")
        measured = dict(re.findall(r"^\| (\w+) \| ([\d.]+) \|", page, re.MULTILINE))
        assert {"ce": 1.0, **{name: float(ratio) for name, ratio in measured.items()}} == RATIOS


class TestDisk:
    def test_from_records_of_the_dataset(self) -> None:
        times = [replace(time(spec(), 1.0), bytes=size, points=2) for size in (1000, 3000)]
        found = estimated([spec(seed=1), spec("gta")], times)
        assert (found.bytes, found.disk) == (4000, ("records: from 2 finished runs",))

    def test_or_from_the_number_of_predictions(self) -> None:
        # 2 points, 150 images, 12 bytes
        other = replace(time(spec(dataset="cub200"), 1.0), bytes=10**9, points=2)
        found = estimated([spec(), spec("gta")], [other])
        assert found.bytes == 2 * 2 * 150 * 12
        assert found.disk == ("predictions: 12 bytes an image and point of the curve, before compression",)

    def test_of_an_image_as_much_is_kept(self) -> None:
        kept = compact(*[np.ones(1)] * 4)
        assert sum(array.itemsize for array in kept.values()) + np.dtype(np.uint16).itemsize == BYTES

    def test_decoded_images_of_one_size_once(self) -> None:
        runs = [spec(seed=seed, image_size=32, augmentation="shift") for seed in range(3)]
        found = estimated(runs, [], official={"train": 1000})
        assert found.bytes == 3 * 2 * 150 * 12 + 1150 * 32 * 32 * 3
        assert "decoded images: 3 bytes a pixel" in found.disk

    def test_decoded_images_of_many_sizes_are_said_to_be_left_out(self) -> None:
        found = estimated([spec()], [], official={"train": 1000})
        assert "decoded images are not in it: their sizes are not on the cards" in found.disk


class TestTimesOfRecords:
    def test_of_a_run_on_a_core(self, tmp_path: Path) -> None:
        folder = publish(Store(tmp_path), spec())
        (found,) = from_records(Store(tmp_path))
        assert (found.step_seconds, found.image_seconds) == pytest.approx((0.2, 0.05))
        assert (found.hardware, found.gpu, found.steps, found.points) == (CPU, False, 100, 2)
        assert found.bytes == sum(path.stat().st_size for path in folder.iterdir()) > 5000
        assert found.work == work_of(spec())

    def test_of_a_run_on_a_gpu(self, tmp_path: Path) -> None:
        publish(Store(tmp_path), spec(), gpus=[{"name": GPU}])
        (found,) = from_records(Store(tmp_path))
        assert (found.hardware, found.gpu) == (GPU, True)

    def test_of_a_run_that_shared_its_gpu(self, tmp_path: Path) -> None:
        publish(Store(tmp_path), spec(), gpus=[{"name": GPU}], gpu_sharing={"runs": 4, "mps": False})
        (found,) = from_records(Store(tmp_path))
        assert found.on_gpu == 4

    def test_of_a_run_on_the_only_gpu_of_an_older_record(self, tmp_path: Path) -> None:
        make_older(publish(Store(tmp_path), spec()), {"environment": {"processor": CPU, "gpu": GPU}})
        (found,) = from_records(Store(tmp_path))
        assert (found.hardware, found.gpu) == (GPU, True)

    def test_gpus_that_share_a_run_are_all_counted(self, tmp_path: Path) -> None:
        publish(Store(tmp_path), spec(), {"ranks": 4}, gpus=[{"name": GPU}] * 4)
        (found,) = from_records(Store(tmp_path))
        assert found.step_seconds == pytest.approx(0.8)

    @pytest.mark.parametrize(
        "changed", [{"environment": {}}, {"timing": {"seconds": 3.0}}, {"test_images": None}, {"environment": None}]
    )
    def test_a_record_that_lacks_something_gives_none(self, tmp_path: Path, changed: dict[str, Any]) -> None:
        store = Store(tmp_path)
        make_older(publish(store, spec()), changed)
        publish(store, spec(seed=1))
        assert len(store.finished()) == 2
        assert len(from_records(store)) == 1

    def test_a_run_without_steps_takes_its_whole_seconds(self, tmp_path: Path) -> None:
        """30 s, of which 10 went into evaluating 100 images, and nothing was trained: 20 s whatever the steps."""
        store = Store(tmp_path)
        publish(store, spec("knn"), {"curve": [{"step": 0, "val": {"top1": 50.0}, "test": {"top1": 50.0}}]})
        (found,) = from_records(store)
        assert (found.steps, found.step_seconds) == (0, 0.0)
        assert found.run_seconds == pytest.approx(20.0)
        assert found.image_seconds == pytest.approx(0.1)
        # 150 images at each of 2 points: 30 s
        assert estimated([spec("knn", steps=7)], [found]).hours == pytest.approx((20 + 30) / 3600)
        assert estimated([spec("ce")], [found]).unknown == 1

    def test_some_of_each_cell_are_read(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        for seed in range(8):
            publish(store, spec(seed=seed))
            publish(store, spec("gta", seed=seed))
        assert sorted(found.work.method for found in from_records(store)) == ["ce"] * 5 + ["gta"] * 5


class TestKeptTimes:
    def test_come_back_and_count_once(self, tmp_path: Path) -> None:
        store = Store(tmp_path)
        assert read_times(store) == []
        first, again = time(spec(), 1.0, noise=True), time(spec(), 2.0, noise=True)
        elsewhere = time(spec(), 0.1, hardware=GPU, noise=True)
        keep_times(store, [first, elsewhere])
        keep_times(store, [again])
        assert read_times(store) == [again, elsewhere]

    @pytest.mark.parametrize("content", ["", "{", "[{}]", '[{"work": 5}]', "5"])
    def test_a_damaged_file_is_an_input_error(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "step_times.json").write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=r"step_times\.json: .* remove it and measure again"):
            read_times(Store(tmp_path))


class TestWords:
    MADE = Estimate(60, 30.0, 1.0, False, CPU, {"from 12 finished runs": 60}, 0, 41_000_000, ("records: from 12",))

    def test_all_is_known(self) -> None:
        assert lines(self.MADE, 4) == [
            "about 30 core-hours of AMD EPYC; with 4 workers about 7.5 hours",
            "  60 runs: from 12 finished runs",
            "disk: about 41 MB",
            "  records: from 12",
        ]

    def test_on_a_gpu(self) -> None:
        found = replace(self.MADE, gpu=True, hardware=GPU, hours=1234.5)
        assert lines(found, 1)[0] == "about 1,234 GPU-hours of NVIDIA H200; with 1 worker about 51 days"

    def test_a_part_is_known(self) -> None:
        found = replace(self.MADE, unknown=10, bases={"from 12 finished runs": 50, UNKNOWN: 10})
        assert lines(found, 4)[:3] == [
            "about 30 core-hours of AMD EPYC for 50 of the 60 runs; with 4 workers about 7.5 hours",
            "  50 runs: from 12 finished runs",
            f"  10 runs: {UNKNOWN}",
        ]

    def test_nothing_is_known(self) -> None:
        found = Estimate(60, 0.0, 0.0, False, "", {UNKNOWN: 60}, 60, 0, ())
        assert lines(found, 4) == ["core or GPU-hours: not known", f"  60 runs: {UNKNOWN}", "disk: not known"]

    def test_more_workers_than_runs_are_no_quicker_than_the_longest(self) -> None:
        assert lines(self.MADE, 1000)[0].endswith("with 1,000 workers about 1 hour")

    def test_nothing_is_to_be_trained(self) -> None:
        assert lines(Estimate(0, 0.0, 0.0, False, "", {}, 0, 0, ()), 4) == []


class TestCommand:
    @pytest.mark.slow
    def test_plan_says_it_without_torch(self, tmp_path: Path) -> None:
        code = (
            "import sys\nfrom bench.cli import main\nassert main(sys.argv[1:]) == 0\n"
            "heavy = {'torch', 'torchvision', 'timm', 'sklearn', 'pandas', 'matplotlib'} & set(sys.modules)\n"
            "assert not heavy, heavy"
        )
        demo = bench.read_plan("demo", bench.Registry()).unique
        publish(Store(tmp_path), next(iter(demo.values())))
        for target in ("demo", "gta"):
            arguments = ["plan", target, "--results", str(tmp_path)]
            done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert "disk: about" in done.stdout
            assert "not known: the same command with --measure" in done.stdout
            assert ("core-hours of AMD EPYC" in done.stdout) == (target == "demo")

    @pytest.mark.slow
    def test_for_programs(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for target in ("demo", "gta"):
            assert main(["plan", target, "--results", str(tmp_path), "--format", "json"]) == 0
            told = json.loads(capsys.readouterr().out)["estimate"]
            assert told["unknown"] == told["runs"] > 0
            assert told["bases"] == {UNKNOWN: told["runs"]}

    @pytest.mark.parametrize(
        ("flag", "problem"),
        [
            ("--jobs", " 0: at least one run at a time is needed"),
            ("--runs-per-gpu", ": '0' is not a whole number of 1 or more"),
        ],
    )
    def test_an_option_that_cannot_be_is_refused_before_anything_is_printed(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], flag: str, problem: str
    ) -> None:
        assert main(["plan", "demo", "--results", str(tmp_path), flag, "0"]) == 2
        assert capsys.readouterr() == ("", f"bench: {flag}{problem}\n")

    @pytest.mark.slow
    @pytest.mark.usefixtures("warm")
    def test_steps_are_timed_and_kept(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        arguments = ["plan", "demo", "--methods", "ce,lacvit", "--rates", "15", "--results", str(tmp_path)]
        assert main([*arguments, "--measure"]) == 0
        captured = capsys.readouterr()
        assert captured.err.count("s a step of 32 images") == 2
        assert "from 10 measured steps of each method and backbone on noise" in captured.out
        found = {kept.work.method: kept for kept in read_times(Store(tmp_path))}
        assert set(found) == {"ce", "lacvit"}
        assert all(kept.work.backbone == "micro_vit" and kept.steps == 10 for kept in found.values())
        assert all(0 < kept.image_seconds < kept.step_seconds < 10 for kept in found.values())
        assert main(arguments) == 0
        assert capsys.readouterr().out == captured.out

    @pytest.mark.slow
    @pytest.mark.usefixtures("warm")
    def test_what_cannot_be_timed_is_told_and_stops_nothing(self, tmp_path: Path) -> None:
        registry, store = bench.Registry(), Store(tmp_path)
        plan = bench.read_plan("demo", registry, bench.Overrides(methods="ce", rates="15"))
        good = next(iter(plan.unique.values()))
        changed = replace(good, method=replace(good.method, name="gta"))
        told = list(measure([changed, good], registry, store))
        assert re.match(
            r"gta micro_vit, a step of 32 images: not measured: .*the method changed since the run was planned", told[0]
        )
        assert told[1].startswith("ce micro_vit: ")
        assert [kept.work.method for kept in read_times(store)] == ["ce"]


class TestOfMasks:
    """What is measured of one task says nothing of another one."""

    def test_their_steps_are_other_work(self) -> None:
        (masks,) = bench.read_plan(
            "shapes", bench.Registry(), bench.Overrides("ce", rates="25", seeds="1")
        ).unique.values()
        work = work_of(masks, "segmentation")
        assert work.answers == "segmentation inference=whole decoder=32 auxiliary=0.4"
        assert work.setting != work_of(masks).setting
        assert work_of(masks).answers == ""

    def test_what_is_kept_of_them_is_counted_by_class(self) -> None:
        (masks,) = bench.read_plan(
            "shapes", bench.Registry(), bench.Overrides("ce", rates="25", seeds="1")
        ).unique.values()
        shapes = bench.Registry().dataset("drawn_shapes")
        assert size_of(masks, shapes).kept == 8 * shapes.facts["classes"]
        assert size_of(spec(), card()).kept == 12
