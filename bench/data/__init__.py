"""Reading, sampling and augmenting images."""

from bench.data.dataset import ArrayImages, Dataset, FileImages, Images, Split
from bench.data.read import read_data, read_masks
from bench.data.subset import hold_out, sample
from bench.data.training import TrainingImages
from bench.data.validation import Validation

__all__ = [
    "ArrayImages",
    "Dataset",
    "FileImages",
    "Images",
    "Split",
    "TrainingImages",
    "Validation",
    "hold_out",
    "read_data",
    "read_masks",
    "sample",
]
