"""How many test images a model is more than half sure of and gets wrong, in percent (an example)."""

from bench.metrics import Metric


def sure_and_wrong(predictions):
    """Share of images whose class is wrong at a confidence above 0.5, in percent."""
    return 100 * float((~predictions.right & (predictions.confidence > 0.5)).mean())


METRIC = Metric(
    "sure_and_wrong", "sure and wrong", "%", low=0, high=100, lower=True, compute=sure_and_wrong, per_image=True
)
