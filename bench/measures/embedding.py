"""Where images lie by their features, on a plane: PCA and t-SNE of scikit-learn, UMAP where it is installed.

What is projected are pooled features as the classifier sees them, of at most so many classes, which are drawn by a seed
that never changes, so that all models of a dataset are seen with the same images. PCA is linear and says how much of
the variance it keeps; t-SNE and UMAP keep neighbours, and no distance between clusters means anything in them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.measure import CannotMeasure, Measure, Measured
from bench.notation import counted
from bench.spec import derive

if TYPE_CHECKING:
    from bench.models.subject import Subject

MEASURE = Measure(
    "embedding",
    gives=(),
    images=2000,
    options={"classes": 12, "perplexity": 30.0, "also": ""},
    source="PCA; t-SNE: van der Maaten and Hinton, JMLR 2008; UMAP: McInnes et al., 2018",
)

FEWEST = 5
"""Images below which there is nothing to see."""

COMPONENTS = 50
"""Of the PCA that t-SNE starts from, as its authors did."""

SEED = 0

Plane = npt.NDArray[np.float32]


def measure(subject: Subject) -> Measured:
    """Coordinates (N, 2) by each projection, with the labels (N,) of the images and the share of variance of PCA."""
    classes, perplexity, also = (subject.options[name] for name in ("classes", "perplexity", "also"))
    if not float(perplexity) > 0:
        raise CannotMeasure(f"the option 'perplexity' is above 0, not {perplexity}")
    if also not in ("", "umap"):
        raise CannotMeasure(f"the option 'also' is umap or nothing, not {also}")
    picked = drawn_classes(np.asarray(subject.split.labels), int(classes))
    chosen = np.flatnonzero(np.isin(subject.split.labels, picked))
    if len(chosen) < FEWEST:
        raise CannotMeasure(f"{counted(len(chosen), 'image')} are too few to be seen on a plane; it takes {FEWEST}")
    part = replace(subject, split=subject.split.part(chosen))
    features, labels = part.features()
    require_spread(features)
    plane, share = pca(features)
    arrays: dict[str, npt.NDArray[Any]] = {
        "labels": labels,
        "pca": plane,
        "pca_share": share,
        "tsne": tsne(features, float(perplexity)),
    }
    if also:
        arrays["umap"] = umap(features)
    everything = len(np.unique(subject.split.labels))
    remarks = (
        [] if len(picked) == everything else [f"{len(picked)} of {counted(everything, 'class', 'classes')}, drawn"]
    )
    return Measured({}, arrays, (*remarks, f"{counted(len(chosen), 'image')} on the plane"))


def require_spread(features: npt.NDArray[np.floating]) -> None:
    """Raise ``CannotMeasure`` where all features (N, D) are the same, as those of a model that collapsed."""
    if (features == features[:1]).all():
        raise CannotMeasure("its features are the same for all images, and lie on one point")


def drawn_classes(labels: npt.NDArray[Any], most: int) -> npt.NDArray[Any]:
    """The labels of at most so many classes, in their order, drawn by a seed that never changes; all where 0."""
    every = np.unique(labels)
    if not 0 < most < len(every):
        return every
    return np.sort(np.random.RandomState(derive("embedded classes")).permutation(every)[:most])


def pca(features: npt.NDArray[np.floating]) -> tuple[Plane, npt.NDArray[np.float64]]:
    """Features (N, D) on their first two principal components, (N, 2), and the share of the variance of each, (2,)."""
    from sklearn.decomposition import PCA

    components = PCA(min(2, *features.shape), svd_solver="full")
    plane = components.fit_transform(features.astype(np.float64))
    missing = ((0, 0), (0, 2 - plane.shape[1]))
    return np.pad(plane, missing).astype(np.float32), np.pad(components.explained_variance_ratio_, missing[1])


def tsne(features: npt.NDArray[np.floating], perplexity: float = 30.0) -> Plane:
    """Features (N, D) by t-SNE, (N, 2), from their first 50 principal components; seeded.

    Of few images the perplexity is made smaller: at most a third of the neighbours that there are.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    features = features.astype(np.float64)
    most = min(COMPONENTS, *features.shape)
    if features.shape[1] > most:
        features = PCA(most, svd_solver="full").fit_transform(features)
    perplexity = min(perplexity, (len(features) - 1) / 3)
    start = "pca" if min(features.shape) > 1 else "random"
    plane: Plane = TSNE(2, perplexity=perplexity, init=start, random_state=SEED).fit_transform(features)
    return plane


def umap(features: npt.NDArray[np.floating]) -> Plane:
    """Features (N, D) by UMAP, (N, 2); seeded. Raises ``CannotMeasure`` where it is not installed."""
    try:
        from umap import UMAP
    except ImportError:
        raise CannotMeasure("UMAP is not installed: pip install umap-learn") from None
    plane: Plane = UMAP(random_state=SEED, n_neighbors=min(15, len(features) - 1)).fit_transform(features)
    return plane
