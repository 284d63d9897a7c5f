"""A real SLURM cluster for the tests in this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster, missing, node_states, run, set_node, start, stop, wait_until_idle


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark every test in this folder, so that ``-m "not slurm"`` leaves them out."""
    item.add_marker("slurm")


@pytest.fixture(scope="session")
def slurm() -> None:
    """Skip where no cluster can be started; where CI is set that is a failure, so that it does not go unnoticed."""
    if reasons := missing():
        message = f"requires SLURM: {reasons[0]}"
        if os.environ.get("CI"):
            pytest.fail(message, pytrace=False)
        pytest.skip(message)


@pytest.fixture(scope="session")
def cluster(slurm: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One cluster for all tests of a session; a test that changes its settings restores them."""
    cluster = start(tmp_path_factory.mktemp("cluster"))
    yield cluster
    stop(cluster)


@pytest.fixture(autouse=True)
def _commands_speak_to_the_cluster(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cluster | None]:
    """``sbatch`` and the rest, called by a test or by what it tests, speak to the session's cluster.

    After the test no job of it is left, and both nodes are up.
    """
    if "cluster" not in request.fixturenames:
        yield None
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    yield cluster
    run(cluster, "scancel", "--user=root")
    for node, state in node_states(cluster).items():
        if state.startswith(("down", "drain")):
            set_node(cluster, node, "resume")
    wait_until_idle(cluster)
