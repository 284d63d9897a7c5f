"""Which measurements are believed, and what a measure of somebody's own may do wrong."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bench.errors import InputError
from bench.measure import CannotMeasure
from bench.measures.embedding import require_spread
from bench.measures.head_similarity import similarity_of
from bench.measures.landscape import half_widths
from bench.measures.uniformity import alignment_uniformity
from bench.models.measuring import Asked, measure_run
from bench.plan.overrides import find_at
from bench.records.kept import kept_models
from bench.records.measured import Measurement, NotMeasured, believed, read_arrays, read_measurement
from bench.records.record import Record, Stored
from bench.records.scores import Scores
from bench.records.seal import sealed
from bench.records.store import Store
from bench.registry import Registry
from tests.models.trained import planned, train

MINE = """
import numpy as np
from bench.measure import Measure, Measured
from bench.metrics import Metric
MEASURE = Measure("mine", gives=(Metric("mine", "mine", "", decimals=1, measure="mine"),), images=5)
def measure(subject):
    BODY
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run whose last model was kept."""
    folder = tmp_path_factory.mktemp("trust")
    train(planned("ce", "steps=4"), folder, keep="last")
    return folder


@pytest.fixture
def results(trained: Path, tmp_path: Path) -> Path:
    """The same, for one test alone."""
    shutil.copytree(trained, tmp_path / "results")
    return tmp_path / "results"


def plugin(folder: Path, body: str) -> Registry:
    """A registry with a measure ``mine`` that does this."""
    (folder / "measures").mkdir(exist_ok=True)
    (folder / "measures" / "mine.py").write_text(MINE.replace("BODY", body), encoding="utf-8")
    return Registry([folder])


def stored_in(results: Path) -> Stored:
    store = Store(results)
    return store.record(next(iter(store.finished())))


def measured(results: Path, registry: Registry) -> tuple[Measurement, Path]:
    stored = stored_in(results)
    assert isinstance(stored.record, Record)
    return measure_run(Asked("mine", stored.record.curve[-1].step), stored, registry, results)[:2]


@pytest.mark.slow
class TestBelief:
    def test_what_was_measured_is_read_again(self, results: Path, tmp_path: Path) -> None:
        registry = plugin(tmp_path, 'return Measured({"mine": 1.0})')
        first, path = measured(results, registry)
        written = path.stat().st_mtime_ns
        assert measured(results, registry) == (first, path)
        assert path.stat().st_mtime_ns == written

    def test_what_was_measured_otherwise_is_shown_by_its_name(self, results: Path, tmp_path: Path) -> None:
        registry = plugin(tmp_path, 'return Measured({"mine": float(len(subject.split))})')
        stored = stored_in(results)
        assert isinstance(stored.record, Record)
        _, path, is_new = measure_run(Asked("mine", stored.record.curve[-1].step, images=7), stored, registry, results)
        assert is_new
        (run,), scores = Store(results).finished().values(), Scores(results)
        usual = find_at("mine", registry.metrics, "--metric")
        for file in path.parent.glob("mine-*"):
            if file != path:
                file.unlink()
        assert math.isnan(scores.of(run, usual, "last"))
        assert "it was measured otherwise: --metric 'mine(images=7)' shows that" in scores.why_not(run, usual)
        asked = find_at("mine(images=7)", registry.metrics, "--metric")
        assert (asked.heading, scores.of(run, asked, "last")) == ("mine (images=7)", 7.0)
        lacking = find_at("mine(images=8)", registry.metrics, "--metric")
        assert math.isnan(scores.of(run, lacking, "last"))
        assert "mine --images 8' measures the kept model" in scores.why_not(run, lacking)
        assert find_at("mine(images=5)", registry.metrics, "--metric").name == "mine"

    @pytest.mark.parametrize(
        ("written", "says"),
        [
            ("mine(imgs=7)", "no option is called 'imgs'"),
            ("mine(images=few)", "images: it is a whole number"),
            ("mine(images=7", "write NAME(OPTION=VALUE)"),
            ("top1(images=7)", "top-1 is not measured with options"),
        ],
    )
    def test_options_that_a_metric_has_not(self, tmp_path: Path, written: str, says: str) -> None:
        registry = plugin(tmp_path, 'return Measured({"mine": 1.0})')
        with pytest.raises(InputError, match=re.escape(says)):
            find_at(written, registry.metrics, "--metric")

    def test_by_other_code_it_is_measured_anew_and_is_not_believed(self, results: Path, tmp_path: Path) -> None:
        _, path = measured(results, plugin(tmp_path, 'return Measured({"mine": 1.0})'))
        registry = plugin(tmp_path, 'return Measured({"mine": 2.0})')
        top1 = read_measurement(path).top1
        with pytest.raises(NotMeasured, match="by another version of the measure"):
            believed(path, top1, registry.metrics["mine"].code)
        assert measured(results, registry)[0].numbers == {"mine": 2.0}
        assert believed(path, top1, registry.metrics["mine"].code).numbers == {"mine": 2.0}

    def test_of_another_model_it_is_measured_anew(self, results: Path, tmp_path: Path) -> None:
        registry = plugin(tmp_path, 'return Measured({"mine": float(subject.model.head.bias.sum())})')
        first, path = measured(results, registry)
        with pytest.raises(NotMeasured, match="of another model"):
            believed(path, 12.0, first.code)
        (weights,) = kept_models(stored_in(results).folder).values()
        content = bytearray(weights.read_bytes())
        weights.write_bytes(content + b"")
        assert measured(results, registry)[0] == first
        sealed_again = msgspec.json.encode(msgspec.structs.replace(first, model="sha256:another"))
        path.write_bytes(sealed(sealed_again))
        assert measured(results, registry)[0].model == first.model

    @pytest.mark.parametrize("damage", ["cut", "changed", "unsealed", "moved"])
    def test_what_was_not_written_so_is_not_believed(self, results: Path, tmp_path: Path, damage: str) -> None:
        registry = plugin(tmp_path, 'return Measured({"mine": 1.0})')
        first, path = measured(results, registry)
        text = path.read_text(encoding="utf-8")
        if damage == "cut":
            path.write_text(text[: len(text) // 2], encoding="utf-8")
        elif damage == "changed":
            path.write_text(text.replace('"mine": 1.0', '"mine": 7.0'), encoding="utf-8")
        elif damage == "unsealed":
            path.write_bytes(msgspec.json.encode(msgspec.structs.replace(first, numbers={"mine": 7.0})))
        else:
            path.write_bytes(sealed(msgspec.json.encode(msgspec.structs.replace(first, run="0123456789ab"))))
        with pytest.raises(NotMeasured, match=r"\.json: .*; delete it and measure again"):
            believed(path, first.top1, first.code)
        assert measured(results, registry)[0].numbers == {"mine": 1.0}  # and it is made anew

    def test_lost_arrays_are_measured_anew(self, results: Path, tmp_path: Path) -> None:
        registry = plugin(tmp_path, 'return Measured({"mine": 1.0}, {"line": np.arange(3)})')
        _, path = measured(results, registry)
        path.with_suffix(".npz").unlink()
        with pytest.raises(InputError, match=r"delete mine-.*\.json and measure again"):
            read_arrays(path)
        measured(results, registry)
        assert read_arrays(path)["line"].tolist() == [0, 1, 2]

    def test_a_damaged_one_costs_its_cell_alone(self, results: Path, tmp_path: Path) -> None:
        registry = plugin(tmp_path, 'return Measured({"mine": 1.0})')
        _, path = measured(results, registry)
        (run,) = Store(results).finished().values()
        metric = registry.metrics["mine"]
        assert Scores(results).of(run, metric, "last") == 1.0
        path.write_text("{", encoding="utf-8")
        scores = Scores(results)
        assert math.isnan(scores.of(run, metric, "last"))
        assert "the measurement cannot be read" in scores.why_not(run, metric)
        assert scores.of(run, registry.metrics["top1"], "last") >= 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise SystemExit(0)", "mine of .*: it failed: SystemExit: 0"),
        ("return 1 / 0", "mine of .*: it failed: ZeroDivisionError"),
        ("return None", "it must return Measured"),
        ('return Measured({"mien": 1.0})', "it gives mien, and 'gives' of its MEASURE has no such metric"),
        ('return Measured({"mine": "much"})', "what it gives of a metric must be a number"),
        ('return Measured({"mine": 1.0}, {"x": np.array([None])})', "its arrays must hold numbers or words"),
    ],
)
def test_a_measure_that_fails_is_told_in_a_line(results: Path, tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        measured(results, plugin(tmp_path, body))
    assert not list((results / "measures").rglob("*.json"))


@pytest.mark.slow
def test_a_model_that_was_cut_is_told_with_what_to_do(results: Path, tmp_path: Path) -> None:
    (weights,) = kept_models(stored_in(results).folder).values()
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="delete the file, and --train trains the run again"):
        measured(results, plugin(tmp_path, 'return Measured({"mine": 1.0})'))


class TestEdges:
    def test_of_no_accuracy_no_share_can_be_left(self) -> None:
        widths = half_widths(np.array([-1.0, 0.0, 1.0]), np.array([20.0, 0.0, 20.0]))
        assert all(np.isnan(width) for width, _ in widths)

    def test_features_on_one_point_lie_on_no_plane(self) -> None:
        with pytest.raises(CannotMeasure, match="on one point"):
            require_spread(np.full((10, 4), 1.7, np.float32))

    def test_features_without_length_have_no_place_on_the_sphere(self) -> None:
        features = np.array([[0.0, 0], [1, 0], [0, 1]], np.float32)
        assert all(map(np.isnan, alignment_uniformity(features, np.array([0, 0, 1]))))

    def test_tiny_features_are_as_others(self) -> None:
        features = np.random.RandomState(0).randn(8, 3).astype(np.float32)
        labels = np.arange(8) % 2
        assert alignment_uniformity(features * 1e-22, labels) == pytest.approx(
            alignment_uniformity(features, labels), rel=1e-4
        )

    def test_columns_that_one_head_leaves_empty_are_counted_as_pairs(self) -> None:
        import torch

        maps = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(0))
        maps[0, 1, :, 2] = 0
        cosines = []
        for column in range(5):
            there = [head for head in range(3) if maps[0, head, :, column].norm() > 0]
            cosines += [
                torch.cosine_similarity(maps[0, a, :, column], maps[0, b, :, column], dim=0)
                for a in there
                for b in there
                if a != b
            ]
        assert similarity_of(maps)[0].item() == pytest.approx(float(torch.stack(cosines).mean()), abs=1e-6)
