"""S_Dbw: by hand in two dimensions, and each form of the package against the package itself."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from s_dbw import S_Dbw

from bench.measures import s_dbw
from bench.measures.s_dbw import Score, package, published, remarks, split_by_class

Features = tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]


def two(first: list[tuple[float, float]], shift: tuple[float, float]) -> Features:
    """Two classes of which the second is the first one moved."""
    points = np.array(first)
    return np.concatenate([points, points + shift]), np.repeat([0, 1], len(points))


def clusters(images: int, width: int, classes: int, apart: float, seed: int = 0) -> Features:
    """Normal clouds of spread 0.5, with classes of unlike sizes."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(classes, size=images - classes) // 2])
    centres = rng.normal(size=(classes, width)) * apart
    return centres[labels] + rng.normal(size=(images, width)) / 2, labels


class TestTheDefinition:
    def test_two_crosses_by_hand(self) -> None:
        """Each has the variances (0.4, 0.4), all images (1.4, 0.4); near is √(2 · 0.4 √2) / 2 = 0.53.

        Near a centre lies the centre alone; half way between, at (1, 0), lies a point of each: 2 / 1.
        """
        score = published(split_by_class(*two([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)], (2, 0))))
        assert score.scat == pytest.approx(0.4 * math.sqrt(2) / math.sqrt(1.4**2 + 0.4**2))
        assert score.dens_bw == 2
        assert score.s_dbw == pytest.approx(2.3885160)

    def test_images_of_both_classes_count_around_a_centre_and_those_at_the_very_distance(self) -> None:
        """Variances (2, 0) and (4.25, 0); near is √(2 · 2) / 2 = 1, at which points lie.

        Around 0 lie −1, 0, 1 of its class and 1 of the other one, around 3 as many; around 1.5 lie 1, 2 of both.
        """
        score = published(split_by_class(*two([(x, 0) for x in (-2, -1, 0, 1, 2)], (3, 0))))
        assert score.scat == pytest.approx(2 / 4.25)
        assert (score.dens_bw, score.lonely) == (1, 0)

    def test_classes_far_apart_are_scat_alone(self) -> None:
        score = published(split_by_class(*two([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)], (100, 0))))
        assert score.s_dbw == score.scat

    def test_the_order_of_images_and_the_names_of_classes_do_not_matter(self) -> None:
        features, labels = clusters(200, 3, 4, 1.0)
        order = np.random.default_rng(1).permutation(len(labels))
        again = published(split_by_class(features[order], 7 - labels[order]))
        assert again.s_dbw == pytest.approx(published(split_by_class(features, labels)).s_dbw)

    def test_images_between_centres_that_have_none_near_make_no_number(self) -> None:
        """Two rings of radius 2 that touch: near is 1.19, no image lies near a centre, and two lie between."""
        ring = [(2.0, 0.0), (-2.0, 0.0), (0.0, 2.0), (0.0, -2.0)]
        score = published(split_by_class(*two(ring, (4, 0))))
        assert (score.dens_bw, score.lonely) == (math.inf, 2)


METHODS = ("halkidi", "kim", "tong")


@pytest.mark.parametrize("method", METHODS)
class TestThePackage:
    @pytest.mark.parametrize(
        ("images", "width", "classes", "apart"),
        [(60, 2, 3, 1.0), (300, 2, 5, 0.2), (250, 3, 4, 0.5), (120, 30, 6, 1.0)],
    )
    def test_every_form_is_that_of_the_package(
        self, method: str, images: int, width: int, classes: int, apart: float
    ) -> None:
        for seed in range(3):
            features, labels = clusters(images, width, classes, apart, seed)
            ours = package(split_by_class(features, labels), method)
            assert ours.s_dbw == pytest.approx(S_Dbw(features, labels, method=method.title()), abs=1e-9)

    def test_on_a_grid_on_which_the_point_between_is_a_point_too(self, method: str) -> None:
        features, labels = two([(x, y) for x in range(5) for y in range(5)], (2, 2))
        ours = package(split_by_class(features, labels), method)
        assert ours.dens_bw > 0
        assert ours.s_dbw == pytest.approx(S_Dbw(features, labels, method=method.title()), abs=1e-9)

    def test_classes_of_one_image(self, method: str) -> None:
        features, labels = clusters(40, 2, 3, 1.0)
        features, labels = np.append(features, [[9.0, 9.0]], axis=0), np.append(labels, 9)
        ours = package(split_by_class(features, labels), method)
        assert ours.s_dbw == pytest.approx(S_Dbw(features, labels, method=method.title()), abs=1e-9)

    def test_what_is_looked_at_in_parts_is_the_same(self, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
        classes = split_by_class(*clusters(300, 40, 5, 0.05))
        whole = package(classes, method)
        monkeypatch.setattr(s_dbw, "PAIRS", 12)
        monkeypatch.setattr(s_dbw, "NUMBERS", 40)
        assert package(classes, method) == whole


def test_a_box_looks_at_few_of_the_numbers_that_the_package_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package looks at each image of both classes on every axis, for every pair of classes in both orders."""
    images, width, classes = 1000, 1024, 20
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), images // classes)
    features = np.maximum(rng.normal(size=(classes, width))[labels] / 2 + rng.normal(size=(images, width)), 0)
    looked_at, absolute = 0, np.abs

    def counting(numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        nonlocal looked_at
        looked_at += numbers.size
        return np.asarray(absolute(numbers))

    split = split_by_class(features, labels)
    monkeypatch.setattr(np, "abs", counting)
    assert package(split, "tong").dens_bw == 0
    assert 0 < 50 * looked_at < 2 * images * (classes - 1) * width


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_features_of_many_dimensions_are_as_the_package_has_them(method: str) -> None:
    features, labels = clusters(600, 256, 8, 0.3)
    features = np.maximum(features, 0)
    ours = package(split_by_class(features, labels), method)
    assert ours.s_dbw == pytest.approx(S_Dbw(features, labels, method=method.title()), abs=1e-6)


def test_single_precision_is_computed_in_double() -> None:
    features, labels = clusters(200, 20, 4, 1.0)
    narrow = features.astype(np.float32)
    assert published(split_by_class(narrow, labels)) == published(split_by_class(narrow.astype(np.float64), labels))


class TestRemarks:
    def test_a_score_that_is_scat_alone_is_called_so(self) -> None:
        (line,) = remarks({"s_dbw": Score(0.5, 0.0, 3), "s_dbw_tong": Score(0.7, 0.0, 3)}, 3, 2048)
        assert line.startswith("s_dbw and s_dbw_tong: no image lies between two classes, so Dens_bw is 0")
        assert "2,048" in line

    def test_few_images_near_the_centres(self) -> None:
        (line,) = remarks({"s_dbw_kim": Score(0.5, 0.1, 2)}, 4, 64)
        assert line.startswith("s_dbw_kim: no other image lies near the centre of 2 of 4 classes")

    def test_no_number(self) -> None:
        (line,) = remarks({"s_dbw": Score(0.5, math.inf, 4)}, 4, 2)
        assert line.endswith("none near their centres, so it has no value")

    def test_nothing_where_it_means_something(self) -> None:
        assert remarks({"s_dbw": Score(0.5, 0.1, 1)}, 4, 2) == ()
