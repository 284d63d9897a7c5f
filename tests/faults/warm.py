"""Imported by the fork server of the tests before its first child: a run, after which nothing is done a first time."""

import tempfile
from pathlib import Path

from bench.launch import worker
from bench.launch.executor import Job
from tests.faults.nursery import planned

worker.prepare()
with tempfile.TemporaryDirectory() as results:
    for run in planned("ce,feature_distillation", 4).unique.values():
        worker.work(run, Job(Path(results), checkpoint_every=1e-9))
