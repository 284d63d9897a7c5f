"""The cluster of these tests is a real one: it queues, accounts, preempts, loses nodes, and ends without a trace."""

from __future__ import annotations

import operator
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import submitit

from tests.slurm.cluster import (
    DAEMONS,
    NODES,
    Cluster,
    ClusterError,
    kill,
    launch,
    node_states,
    processes,
    reconfigure,
    run,
    set_node,
    start,
    stop,
    wait_for,
    wait_until_idle,
)

SCRIPT = Path(__file__).with_name("cluster.py")


def submit(cluster: Cluster, folder: Path, command: str, *options: str) -> str:
    """Submit a shell command as a job whose output goes to ``folder/JOB`` or ``folder/JOB_TASK``; return its id."""
    output = folder / ("%A_%a" if any(option.startswith("--array") for option in options) else "%j")
    flags = ("--parsable", "--mem=100", "--open-mode=append", f"--output={output}")
    return run(cluster, "sbatch", *flags, *options, f"--wrap={command}").strip()


def state(cluster: Cluster, job: str) -> str:
    """What accounting knows of a job: ``RUNNING``, ``COMPLETED``, ...; empty until it knows it."""
    return run(cluster, "sacct", "--noheader", "--parsable2", "--allocations", "--format=State", "-j", job).strip()


def wait_until_running(cluster: Cluster, job: str) -> None:
    wait_for(lambda: run(cluster, "squeue", "--noheader", "--format=%T", "-j", job).strip() == "RUNNING", "a start")


def setting(cluster: Cluster, name: str) -> str:
    found = re.search(rf"^{name} *= (.*)$", run(cluster, "scontrol", "show", "config"), re.MULTILINE)
    assert found
    return found[1].strip()


def script(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True)


def test_both_nodes_are_idle(cluster: Cluster) -> None:
    assert node_states(cluster) == dict.fromkeys(NODES, "idle")


def test_an_array_sees_one_gpu_a_task(cluster: Cluster, tmp_path: Path) -> None:
    command = "echo $SLURM_JOB_NODELIST $CUDA_VISIBLE_DEVICES; sleep 1"
    job = submit(cluster, tmp_path, command, "--array=0-3", "--gres=gpu:1")
    wait_until_idle(cluster)
    seen = sorted((tmp_path / f"{job}_{task}").read_text().split() for task in range(4))
    assert {gpu for _, gpu in seen} == {"0", "1"}
    assert {node for node, _ in seen} <= set(NODES)


def test_tasks_wait_for_free_gpus(cluster: Cluster, tmp_path: Path) -> None:
    submit(cluster, tmp_path, "sleep 60", "--array=0-2", "--gres=gpu:2")
    wait_for(lambda: run(cluster, "squeue", "-h", "-r", "-t", "R").count("\n") == 2, "two tasks to run")
    assert run(cluster, "squeue", "-h", "-r", "-t", "PD").count("\n") == 1


@pytest.mark.parametrize(("command", "expected"), [("true", "COMPLETED"), ("exit 3", "FAILED")])
def test_accounting_knows_how_a_job_ended(cluster: Cluster, tmp_path: Path, command: str, expected: str) -> None:
    job = submit(cluster, tmp_path, command)
    wait_until_idle(cluster)
    wait_for(lambda: state(cluster, job) == expected, f"sacct to say {expected}")


@pytest.mark.slow
def test_a_preempted_job_is_requeued_and_ends(cluster: Cluster, tmp_path: Path) -> None:
    both = ("--nodes=2", "--exclusive")
    low = submit(cluster, tmp_path, "echo start=$SLURM_RESTART_COUNT; test $SLURM_RESTART_COUNT || sleep 60", *both)
    wait_until_running(cluster, low)
    high = submit(cluster, tmp_path, "true", "--partition=high", *both)
    wait_for(lambda: state(cluster, high) == "COMPLETED", "the high job to end")
    wait_for(lambda: state(cluster, low) == "COMPLETED", "the low job to end")
    output = (tmp_path / low).read_text()
    assert re.findall("start=.*", output) == ["start=", "start=1"]
    assert "DUE TO PREEMPTION" in output


def test_submitit_returns_results(cluster: Cluster, tmp_path: Path) -> None:
    executor = submitit.AutoExecutor(tmp_path, cluster="slurm")
    executor.update_parameters(timeout_min=5, mem_gb=0.5, slurm_partition="low", slurm_array_parallelism=4)
    jobs = executor.map_array(operator.pow, [2, 3, 5], [3, 2, 1])
    wait_until_idle(cluster)
    assert [job.result() for job in jobs] == [8, 9, 5]
    wait_for(lambda: {job.watcher.get_state(job.job_id, mode="force") for job in jobs} == {"COMPLETED"}, "states")


@pytest.mark.slow
def test_a_node_goes_down_and_comes_back(cluster: Cluster, tmp_path: Path) -> None:
    job = submit(cluster, tmp_path, "test $SLURM_RESTART_COUNT || sleep 60", "--nodelist=n1")
    wait_until_running(cluster, job)
    set_node(cluster, "n1", "down")
    assert node_states(cluster) == {"n1": "down", "n2": "idle"}
    wait_for(lambda: "PENDING" in state(cluster, job), "the job to be requeued")
    set_node(cluster, "n1", "resume")
    wait_for(lambda: state(cluster, job) == "COMPLETED", "the job to end")


@pytest.mark.slow
def test_a_setting_is_changed_while_a_job_runs(cluster: Cluster, tmp_path: Path) -> None:
    before = setting(cluster, "MaxArraySize")
    job = submit(cluster, tmp_path, "sleep 60")
    wait_until_running(cluster, job)
    reconfigure(cluster, MaxArraySize=5)
    try:
        assert setting(cluster, "MaxArraySize") == "5"
        assert run(cluster, "squeue", "--noheader", "--format=%i %T").split() == [job, "RUNNING"]
        with pytest.raises(ClusterError, match="Invalid job array specification"):
            submit(cluster, tmp_path, "true", "--array=0-5")
    finally:
        reconfigure(cluster, MaxArraySize=before)
    assert setting(cluster, "MaxArraySize") == before


def test_a_setting_that_slurm_refuses_leaves_the_former(cluster: Cluster) -> None:
    before = setting(cluster, "MaxArraySize")
    with pytest.raises(ClusterError, match="slurmctld ended"):
        reconfigure(cluster, MaxArraySize="many")
    assert setting(cluster, "MaxArraySize") == before


@pytest.mark.slow
def test_jobs_go_on_without_accounting(cluster: Cluster, tmp_path: Path) -> None:
    job = submit(cluster, tmp_path, "sleep 2; echo done")
    wait_until_running(cluster, job)
    kill(cluster, "slurmdbd", signal.SIGKILL)
    try:
        with pytest.raises(ClusterError, match="sacct"):
            state(cluster, job)
        wait_until_idle(cluster)
        assert (tmp_path / job).read_text() == "done\n"
    finally:
        launch(cluster, "slurmdbd")
    wait_for(lambda: state(cluster, job) == "COMPLETED", "accounting to hear of it", seconds=60)


@pytest.mark.slow
@pytest.mark.parametrize("daemon", DAEMONS)
def test_each_daemon_is_killed_and_started_again(cluster: Cluster, tmp_path: Path, daemon: str) -> None:
    kill(cluster, daemon)
    with pytest.raises(ClusterError, match="does not run"):
        kill(cluster, daemon)
    launch(cluster, daemon)
    with pytest.raises(ClusterError, match="runs already"):
        launch(cluster, daemon)
    wait_until_idle(cluster)
    job = submit(cluster, tmp_path, "echo done", f"--nodelist={daemon if daemon in NODES else 'n1'}")
    wait_until_idle(cluster)
    assert (tmp_path / job).read_text() == "done\n"


@pytest.mark.slow
def test_a_second_cluster_beside_the_first_from_the_command_line(cluster: Cluster, tmp_path: Path) -> None:
    first, folder = processes(cluster), tmp_path / "second"
    started = script("start", folder, "MaxArraySize=7", "MaxJobCount=50")
    second = Cluster(folder)
    try:
        assert started.stdout == f"export SLURM_CONF={folder}/slurm.conf\n"
        assert (setting(second, "MaxArraySize"), setting(second, "MaxJobCount")) == ("7", "50")
        again = script("start", folder)
        assert again.returncode == 2
        assert "has a cluster that runs" in again.stderr
        submit(second, tmp_path, "sleep 60 & srun sleep 60", "--nodes=2", "--ntasks=2")
        wait_for(lambda: "1.0" in run(second, "squeue", "--noheader", "--steps", "--format=%i"), "srun to start")
    finally:
        stopped = script("stop", folder)
    assert stopped.returncode == 0, stopped.stderr
    assert not processes(second)
    assert {path.name for path in folder.iterdir()} == {"SLURM_TEST_CLUSTER", "log"}
    assert first <= processes(cluster)


@pytest.mark.slow
def test_a_cluster_outlives_its_starter_and_is_stopped_by_its_folder(slurm: None, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import cluster;"
        "cluster.start(Path(sys.argv[2])); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, SCRIPT.parent, tmp_path])
    assert killed.returncode == -signal.SIGKILL
    assert len(processes(Cluster(tmp_path))) >= len(DAEMONS)
    assert script("stop", tmp_path).returncode == 0
    assert not processes(Cluster(tmp_path))


def test_a_start_that_fails_leaves_no_process(slurm: None, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="slurmctld ended"):
        start(tmp_path, SelectType="select/unheard_of")
    assert not processes(Cluster(tmp_path))
    assert (tmp_path / "log" / "slurmctld.log").exists()


def test_other_peoples_files_are_not_touched(slurm: None, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(ClusterError, match="no cluster's"):
        start(tmp_path)
    stop(Cluster(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("name", ["with space", "b[1-2]", "long" * 30])
def test_a_folder_that_slurm_cannot_name_is_refused(slurm: None, tmp_path: Path, name: str) -> None:
    with pytest.raises(ClusterError, match=r"SLURM takes|too long"):
        start(tmp_path / name)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("arguments", [(), ("start",), ("start", "folder", "MaxArraySize"), ("halt", "folder")])
def test_the_command_line_says_how_it_is_used(arguments: tuple[str, ...]) -> None:
    done = script(*arguments)
    assert done.returncode == 2
    assert "start FOLDER" in done.stderr


@pytest.mark.parametrize(("ci", "outcome"), [("", "1 skipped"), ("true", "1 error")])
def test_without_slurm_tests_are_skipped_but_fail_in_ci(tmp_path: Path, ci: str, outcome: str) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{__file__}::test_both_nodes_are_idle"]
    environment = os.environ | {"PATH": str(tmp_path), "CI": ci}
    done = subprocess.run(command, env=environment, cwd=SCRIPT.parents[2], capture_output=True, text=True)
    assert outcome in done.stdout
    assert "not found; apt-get install slurm-wlm munge slurmdbd mariadb-server" in done.stdout
