"""What limits a machine's runs, from numbers that are put in; and the process that measures them, once."""

from __future__ import annotations

import math
import shlex
from dataclasses import replace
from typing import Any

import pytest

import bench
from bench.cli import build_parser
from bench.cost.limits import Clocked, Grid, Limit, Probed, limits, run_time
from bench.cost.probe import probe
from bench.device.limits import usable_cores
from bench.plan.overrides import Overrides
from bench.plan.target import read_plan


def alike(seconds: float) -> Clocked:
    return Clocked(seconds, seconds)


CPU = Probed(
    hardware="a core",
    gpu=False,
    gpu_bytes=0,
    torch_cuda="",
    batch_size=32,
    precision="auto",
    start=alike(5.0),
    memory=900_000_000,
    compute=alike(0.020),
    loop=alike(0.021),
    plain=alike(0.020),
    feed=alike(0.001),
    image=alike(0.0002),
)
GPU = replace(CPU, hardware="a GPU", gpu=True, gpu_bytes=100_000_000_000, memory=50_000_000_000, precision="bf16")
GRID = Grid(
    target="demo",
    runs=72,
    steps=1500,
    images=2000,
    evaluations=4,
    augmentation="randaugment",
    jobs=2,
    cores=2,
    memory=8_000_000_000,
)


def named(measured: Probed, **changed: Any) -> dict[str, Limit]:
    return {limit.what: limit for limit in limits(measured, replace(GRID, **changed))}


def test_where_the_loop_keeps_the_rate_of_computing_alone_computing_limits() -> None:
    (limit,) = limits(CPU, GRID)
    assert (limit.what, limit.command) == ("compute", "bench run demo --jobs 2")
    assert "1,524 images a second, 95 % of computing alone" in limit.sentence


def test_a_loop_that_waits_for_images_is_fed_too_slowly() -> None:
    limit = named(replace(CPU, loop=alike(0.030)))["feed"]
    assert "waits for its images 33 % of the time" in limit.sentence
    assert limit.command == "bench run demo --set augmentation=randaugment_batched"
    assert "compute" not in named(replace(CPU, loop=alike(0.030)))


def test_a_gpu_that_waits_asks_for_as_many_cores_as_would_feed_it() -> None:
    slow = replace(GPU, loop=alike(0.040), feed=alike(0.070), feeders=2)
    assert named(slow, slurm=True)["feed"].command == "bench run demo --launcher slurm --cpus-per-run 4"
    assert "4 cores for each GPU would keep it fed" in named(slow)["feed"].sentence
    assert named(slow, cores=4)["feed"].command == "bench run demo --jobs 1"
    assert named(slow, cores=8)["feed"].command == "bench run demo --set augmentation=randaugment_batched"


def test_what_counts_is_the_clock_of_a_gpu_and_the_time_of_a_core() -> None:
    busy = Clocked(0.021, 0.400)
    assert replace(CPU, loop=busy).share == pytest.approx(0.020 / 0.021)
    assert replace(GPU, loop=busy).share == pytest.approx(0.020 / 0.400)
    assert busy.is_busy
    assert not alike(0.021).is_busy


def test_short_runs_are_limited_by_the_start_of_their_workers() -> None:
    # 2 × 5 s of starts, and 4 runs of 10 steps of 21 ms and 2,000 images of 0.2 ms each: 2.44 s
    limit = named(CPU, runs=4, steps=10)["start"]
    assert "2 workers of 5 s each are 80 % of what 4 runs take" in limit.sentence
    assert limit.command == "bench run demo --jobs 1"
    assert named(CPU, runs=4, steps=10, slurm=True)["start"].command == "bench run demo --launcher slurm --pack 4"
    assert "start" not in named(CPU)


def test_memory_that_runs_do_not_fit_into_at_a_time() -> None:
    limit = named(CPU, jobs=16)["memory"]
    assert "a run takes 0.9 GB, and 16 at a time more than the 8 GB" in limit.sentence
    assert limit.command == "bench run demo --jobs 8"
    assert "memory" not in named(CPU, jobs=16, memory=math.inf)


def test_a_batch_that_does_not_fit_is_all_that_is_told() -> None:
    (limit,) = limits(replace(GPU, short_of_memory=True), GRID)
    assert limit.what == "memory"
    assert "a batch of 32 images does not fit into the memory of 100 GB" in limit.sentence
    assert limit.command == "bench run demo --gpus-per-run 2"


def test_who_has_one_gpu_is_not_told_to_share_a_run_among_two() -> None:
    """A launch refuses that."""
    (limit,) = limits(replace(GPU, short_of_memory=True), replace(GRID, jobs=1))
    assert limit.sentence.endswith("runs compute it in parts, which takes longer")
    assert limit.command == "bench run demo"


def test_a_gpu_with_room_is_shared_where_the_launcher_can() -> None:
    small = replace(GPU, memory=10_000_000_000)
    assert named(small, many_a_gpu=True)["compute"].command == "bench run demo --runs-per-gpu 8"
    assert named(small)["compute"].command == "bench run demo --jobs 2"
    full = replace(small, precision="fp32")
    assert named(full)["compute"].command == "bench run demo --set precision=bf16"


def test_evaluations_that_take_much_of_a_run() -> None:
    assert run_time(CPU, GRID).evaluation == pytest.approx(0.4 / (1500 * 0.021 + 0.4))
    limit = named(CPU, images=400_000)["evaluation"]
    assert "4 points of the curve are 72 % of a run" in limit.sentence
    assert limit.command == "bench run demo --set evaluations=2"


def test_a_disk_that_is_slower_than_what_runs_take() -> None:
    slow = replace(CPU, disk=20e6, image_bytes=400_000.0)
    assert "image files are read at 20 MB a second, and 2 runs take 1.22 GB" in named(slow)["disk"].sentence
    assert "disk" not in named(replace(slow, disk=5e9))


def test_deterministic_kernels_that_cost_much_are_told() -> None:
    assert "1.25 times as long" in named(replace(CPU, plain=alike(0.016)))["kernels"].sentence


def test_one_core_has_runs_go_one_after_the_other() -> None:
    assert "one core" in named(CPU, cores=1, jobs=1)
    assert "one core" not in named(GPU, cores=1, jobs=1)


@pytest.mark.parametrize(
    "limit",
    [
        *limits(replace(CPU, loop=alike(0.030), disk=1.0, image_bytes=1.0), replace(GRID, runs=4, steps=1, jobs=16)),
        *limits(GPU, replace(GRID, slurm=True, images=10**6)),
        *limits(replace(GPU, loop=alike(0.9), feed=alike(0.9)), replace(GRID, slurm=True)),
    ],
    ids=lambda limit: limit.what,
)
def test_what_is_to_be_typed_can_be(limit: Limit) -> None:
    words = shlex.split(limit.command)[1:]
    if words:
        assert build_parser(words[0]).parse_args(words).target == ["demo"]


@pytest.mark.slow
def test_a_machine_is_measured_for_real(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.cost.probe.SECONDS", 0.0)  # the fewest steps
    (spec, *_) = read_plan("digits", bench.Registry(), Overrides(methods="ce", rates="15", seeds="1")).unique.values()
    lines: list[str] = []
    measured = probe(spec, bench.Registry(), 0.0, lines.append)
    assert lines[-1] == "timing the feed and the evaluation"
    assert not measured.gpu
    assert 0 < measured.feed.cpu < measured.compute.cpu
    assert 0 < measured.image.cpu < measured.loop.cpu
    assert 0.2 < measured.share <= 1.0
    assert measured.plain is not None
    assert measured.memory > 100_000_000
    assert usable_cores() >= measured.feeders == 1
