"""How fast batches are made on one core, beside a plain torchvision loader, measured side by side in one run.

    python benchmarks/input.py folder:PATH --batch 64

The loader decodes with Pillow, then crops, flips, applies RandAugment and makes tensors, one process. The others take
the decoded originals from the cache; `crop and flip` gives uint8, which is all that a CPU does where the policy runs on
a GPU. All take turns on the same images; printed are images per second of CPU time, and the ratios to the loader of
the same turn: median, least and most. Without a folder, JPEG files of 500 x 375 pixels are made from scikit-learn's
photographs.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from bench.data import FileImages, Images, read_data
from bench.data.augment import test_view, training_view
from bench.data.cache import CachedImages, cached
from bench.data.crop import cropped, draw_crops, draw_flips
from bench.data.dataset import Indices
from bench.registry import Registry

MADE = 64
"""JPEG files a split that are made where none are given."""

Way = Callable[[Indices, int], Tensor]
"""From the indices of a batch and a seed to its images."""


def main() -> None:
    """Measure the ways to make a batch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", metavar="folder:PATH", help="JPEG files of its own by default")
    parser.add_argument("--batch", type=int, default=64, metavar="N", help="images a batch (default: 64)")
    parser.add_argument("--size", type=int, default=224, metavar="S", help="pixels a side (default: 224)")
    parser.add_argument("--rounds", type=int, default=9, metavar="N", help="turns (default: 9)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        card = Registry().dataset(options.dataset or f"folder:{make_photographs(folder / 'made')}")
        plain = read_data(card)
        started = time.perf_counter()
        kept = cached(plain, card.means, folder / "cache").train.images
        seconds = time.perf_counter() - started
        if not isinstance(plain.train.images, FileImages) or not isinstance(kept, CachedImages):
            parser.error(f"{options.dataset} has no image files, or there is no room for their cache")
        size = sum(file.stat().st_size for file in (folder / "cache").iterdir())
        print(f"{card.title}: {len(kept):,} training images; cache of {size / 1e6:,.0f} MB made in {seconds:.1f} s")
        print(f"batch {options.batch}, {options.size} pixels, {options.rounds} turns, torch {torch.__version__}")
        report(*measure(ways(plain.train.images, kept, options.size), len(kept), options.batch, options.rounds))


def ways(files: FileImages, kept: Images, size: int) -> dict[str, Way]:
    """The ways to make a batch, the plain loader first."""

    def augmented(name: str) -> Way:
        return lambda indices, seed: training_view(kept.take(indices), size, name, seed)

    def crop_and_flip(indices: Indices, seed: int) -> Tensor:
        images, state = kept.take(indices), np.random.RandomState(seed)
        sizes = np.array([image.shape[-2:] for image in images])
        return cropped(
            images,
            draw_crops(len(images), state).boxes(sizes, np.arange(len(images))),
            draw_flips(len(images), state),
            size,
        )

    names = ("randaugment", "randaugment_batched", "deit", "autoaugment", "contrastive", "crop_flip")
    return {
        "plain loader": lambda indices, seed: load(files, indices, size),
        **{f"cached, {name}": augmented(name) for name in names},
        "cached, crop and flip, uint8": crop_and_flip,
        "files, test view": lambda indices, seed: test_view(files.take(indices), size, "crop_flip"),
        "cached, test view": lambda indices, seed: test_view(kept.take(indices), size, "crop_flip"),
    }


class Decoding(Dataset[Tensor]):
    """What is usually written: Pillow decodes, torchvision's transforms work on its images."""

    def __init__(self, paths: list[str | Path], size: int) -> None:
        self.paths = paths
        bicubic = transforms.InterpolationMode.BICUBIC
        self.transform = transforms.Compose(
            [
                transforms.RandomResizedCrop(size, interpolation=bicubic),
                transforms.RandomHorizontalFlip(),
                transforms.RandAugment(),
                transforms.ToTensor(),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        with Image.open(self.paths[index]) as image:
            found: Tensor = self.transform(image.convert("RGB"))
        return found


def load(files: FileImages, indices: Indices, size: int) -> Tensor:
    """One batch of the plain loader."""
    dataset = Decoding([files.paths[index] for index in indices], size)
    (images,) = DataLoader(dataset, batch_size=len(indices))
    assert isinstance(images, Tensor)
    return images


def measure(ways: dict[str, Way], images: int, batch: int, rounds: int) -> tuple[int, dict[str, list[float]]]:
    """CPU seconds of each way in each turn, and the size of the batch; the first turn warms up."""
    state = np.random.RandomState(0)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        indices = state.randint(images, size=batch)
        for name in list(ways) if turn % 2 else reversed(list(ways)):
            started = time.process_time()
            ways[name](indices, turn)
            seconds[name].append(time.process_time() - started)
    return batch, {name: measured[1:] for name, measured in seconds.items()}


def report(batch: int, seconds: dict[str, list[float]]) -> None:
    """One line a way."""
    base = next(iter(seconds.values()))
    print(f"{'':30}  images/s   median   least    most    of the plain loader's speed")
    for name, measured in seconds.items():
        ratios = [one / other for one, other in zip(base, measured, strict=True)]
        speed = batch / statistics.median(measured)
        told = f"{statistics.median(ratios):8.2f} {min(ratios):7.2f} {max(ratios):7.2f}"
        print(f"{name:30} {speed:9.0f} {told}", flush=True)


def make_photographs(folder: Path) -> Path:
    """Parts of scikit-learn's two photographs as JPEG files of 500 x 375 pixels."""
    from sklearn.datasets import load_sample_images

    state = np.random.RandomState(0)
    for split in ("train", "test"):
        for name, path in zip(("china", "flower"), parts(folder, split), strict=True):
            whole = Image.fromarray(load_sample_images().images[("china", "flower").index(name)])
            for number in range(MADE // 2):
                left, top = (int(state.randint(side)) for side in (141, 53))
                part = whole.resize((500, 375), Image.Resampling.BICUBIC, (left, top, left + 500, top + 375))
                part.save(path / f"{number}.jpg", quality=92)
    return folder


def parts(folder: Path, split: str) -> Iterator[Path]:
    """A folder for each of two classes."""
    for name in ("china", "flower"):
        (folder / split / name).mkdir(parents=True)
        yield folder / split / name


if __name__ == "__main__":
    main()
