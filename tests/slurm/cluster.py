"""A two-node SLURM cluster on one machine: real daemons, everything in one folder.

Tests call ``start`` and ``stop``; on the command line they are

    python tests/slurm/cluster.py start FOLDER [MaxArraySize=100 ...]
    python tests/slurm/cluster.py stop FOLDER

It needs root and Debian's packages slurm-wlm, munge, slurmdbd and mariadb-server. None of their services has to run,
and one that runs is left alone: the cluster has its own key, sockets, database and logs, and takes free ports. Several
clusters may run side by side; ``ps`` shows the folder of each in its munged's command.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGES = "slurm-wlm munge slurmdbd mariadb-server"
PROGRAMS = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd", "mariadb-install-db", "sbatch", "sacctmgr")
NODES = ("n1", "n2")
DAEMONS = ("munged", "mariadbd", "slurmdbd", "slurmctld", *NODES)

# What lies in the folder of a cluster that runs, beside its logs.
OWN = ("database", "key", "run", "spool", "state", "slurm.conf", "gres.conf", "slurmdbd.conf", "gpu0", "gpu1")
# A variable by which processes are known, and a file in a folder whose content may be deleted.
MARK = "SLURM_TEST_CLUSTER"
LONGEST_SOCKET = 107
# The database lives as long as the cluster, so nothing has to reach the disk: a start takes half the time. Without
# native I/O it needs nothing of the kernel that a container may deny it later.
NO_SYNC = ("--debug-no-sync", "--innodb-flush-method=nosync", "--innodb-flush-log-at-trx-commit=0")
INNODB = ("--innodb-log-file-size=16M", "--innodb-use-native-aio=0", *NO_SYNC)


class ClusterError(Exception):
    """The cluster could not do what it was asked; the message says what, and where its log is."""


@dataclass(frozen=True)
class Cluster:
    """A cluster, known by the folder that holds all of it.

    Args:
        folder: absolute path.
    """

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs in its environment so that ``sbatch`` and the rest speak to this cluster."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}


def start(folder: Path, **settings: int | str) -> Cluster:
    """Start munged, MariaDB, slurmdbd, slurmctld and two slurmd; return when both nodes are idle.

    Each node has 2 CPUs, 6000 MB and 2 GPUs (not real ones). Partition ``low`` is the default; jobs in ``high`` preempt
    its jobs, which are requeued.

    Args:
        folder: where everything goes; made if need be.
        settings: lines of slurm.conf, such as ``MaxArraySize=100``, in the place of those in conf/slurm.conf.

    Raises:
        ClusterError: a program is missing, the folder has a cluster that runs, or a daemon does not come up. Nothing
            is left running.
    """
    cluster = Cluster(folder.resolve())
    _check(cluster)
    try:
        _start_accounting(cluster, settings)
        for daemon in DAEMONS[3:]:
            launch(cluster, daemon)
        wait_until_idle(cluster)
    except BaseException:
        stop(cluster)
        raise
    return cluster


def _start_accounting(cluster: Cluster, settings: Mapping[str, int | str]) -> None:
    """Lay everything out and start munged, MariaDB and slurmdbd, with the cluster in its tables.

    While slurmdbd makes these, one of its threads now and then loses its connection to the database ("server has gone
    away", "we should have gotten a result"). That is no fault of what is tested: it is begun anew, twice at most.
    """
    for attempts_left in (2, 1, 0):
        try:
            _lay_out(cluster, settings)
            for daemon in DAEMONS[:3]:
                launch(cluster, daemon)
            run(cluster, "sacctmgr", "--immediate", "add", "cluster", "test")
            return
        except ClusterError as error:
            stop(cluster)
            if not attempts_left:
                raise
            print(f"accounting is started anew: {error}", file=sys.stderr)


def stop(cluster: Cluster) -> None:
    """End every process of the cluster, its jobs too, and remove its files except the logs.

    It needs the folder only: it works for a cluster whose start failed or whose starter was killed, and does nothing
    where no cluster is.

    Raises:
        ClusterError: a process does not end.
    """

    def gone() -> bool:
        for pid in processes(cluster):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not processes(cluster)

    wait_for(gone, "all processes ended", seconds=20)
    for name in OWN if (cluster.folder / MARK).exists() else ():
        path = cluster.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def missing() -> list[str]:
    """Return why a cluster cannot be started here, a reason each: no root, or a program that is not installed."""
    absent = [f"{name} not found; apt-get install {PACKAGES}" for name in PROGRAMS if not shutil.which(name)]
    return absent if os.geteuid() == 0 else ["root is needed to start slurmd", *absent]


def run(cluster: Cluster, *command: str) -> str:
    """Run one of SLURM's commands against the cluster and return what it prints.

    Raises:
        ClusterError: it fails.
    """
    done = subprocess.run(command, env=_environment(cluster), capture_output=True, text=True)
    if done.returncode:
        raise ClusterError(f"{' '.join(command)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout


def wait_for(condition: Callable[[], object], what: str, seconds: float = 30, pause: float = 0.05) -> None:
    """Return as soon as the condition is true, which is looked at after each pause.

    Raises:
        ClusterError: it is not within that time; ``what`` says in the message what was waited for.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise ClusterError(f"waited {seconds:g} s in vain for: {what}")
        time.sleep(pause)


def wait_until_idle(cluster: Cluster, seconds: float = 30) -> None:
    """Return when no job is left and both nodes are idle.

    Raises:
        ClusterError: that is not so within that time.
    """

    def idle() -> bool:
        return not run(cluster, "squeue", "--noheader") and set(node_states(cluster).values()) == {"idle"}

    wait_for(idle, f"an idle cluster (logs: {cluster.folder / 'log'})", seconds)


def node_states(cluster: Cluster) -> dict[str, str]:
    """Return each node's state in ``sinfo``'s words: ``idle``, ``mixed``, ``down``, ..., with ``*`` if it is silent."""
    lines = run(cluster, "sinfo", "--noheader", "--Node", "--partition=low", "--format=%N %T").splitlines()
    return {node: state for node, state in map(str.split, lines)}


def set_node(cluster: Cluster, node: str, state: str) -> None:
    """Set a node's state as an administrator does: ``down``, ``drain`` or ``resume``.

    Raises:
        ClusterError: SLURM refuses.
    """
    run(cluster, "scontrol", "update", f"NodeName={node}", f"State={state}", "Reason=test")


def reconfigure(cluster: Cluster, **settings: int | str) -> None:
    """Change lines of slurm.conf, such as ``MaxArraySize=100``: slurmctld is started anew, jobs live on.

    Raises:
        ClusterError: slurmctld does not come up with them; it runs with the former ones again.
    """
    path = cluster.folder / "slurm.conf"
    former = path.read_text()
    kill(cluster, "slurmctld")
    _write(path, _with_settings(former, settings))
    try:
        launch(cluster, "slurmctld")
    except BaseException:
        _write(path, former)
        launch(cluster, "slurmctld")
        raise
    finally:
        run(cluster, "scontrol", "reconfigure")


def launch(cluster: Cluster, daemon: str) -> None:
    """Start one of ``DAEMONS`` and return when it answers.

    Raises:
        ClusterError: it ends or does not answer; the message has the end of its log.
    """
    run_folder, log = cluster.folder / "run", cluster.folder / "log" / f"{daemon}.log"
    if _pid(cluster, daemon) is not None:
        raise ClusterError(f"{daemon} runs already")
    (run_folder / daemon).unlink(missing_ok=True)
    begin = 'echo $$ > "$0.new"; mv "$0.new" "$0"; log=$1; shift; exec "$@" < /dev/null >> "$log" 2>&1'
    detached = ("setsid", "--fork", "sh", "-c", begin, run_folder / daemon, log)
    subprocess.run((*detached, *_command(cluster, daemon)), cwd=cluster.folder, env=_environment(cluster), check=True)
    wait_for((run_folder / daemon).exists, f"{daemon} to start")

    def answers() -> bool:
        if _pid(cluster, daemon) is None:
            raise ClusterError("\n".join(_ended(cluster, DAEMONS[: DAEMONS.index(daemon) + 1])))
        return _answers(cluster, daemon)

    wait_for(answers, f"{daemon} to answer (log: {log})")


def _ended(cluster: Cluster, daemons: Sequence[str]) -> list[str]:
    """Say of each of these daemons that does not run how its log ends: one may have ended because another had."""
    silent = [daemon for daemon in daemons if _pid(cluster, daemon) is None]
    logs = {daemon: cluster.folder / "log" / f"{daemon}.log" for daemon in silent}
    return [f"{daemon} ended: {''.join(log.read_text().splitlines(True)[-8:])}" for daemon, log in logs.items()]


def kill(cluster: Cluster, daemon: str, by: signal.Signals = signal.SIGTERM) -> None:
    """End one of ``DAEMONS``, and return when it has ended; ``launch`` starts it again.

    With ``SIGKILL`` it crashes; slurmctld then forgets what happened to jobs in its last few seconds.

    Raises:
        ClusterError: it does not run, or does not end.
    """
    pid = _pid(cluster, daemon)
    if pid is None:
        raise ClusterError(f"{daemon} does not run")
    os.kill(pid, by)
    wait_for(lambda: _pid(cluster, daemon) is None, f"{daemon} to end")


def processes(cluster: Cluster) -> set[int]:
    """Return the process ids of the cluster's daemons and of its jobs, with all that these have started."""
    mark = f"{MARK}={cluster.folder}".encode()
    conf = f"SLURM_CONF={cluster.folder / 'slurm.conf'}".encode()
    found, children = set(), dict[int, list[int]]()
    for pid, parent, variables in _all_processes():
        children.setdefault(parent, []).append(pid)
        in_job = conf in variables and any(variable.startswith(b"SLURM_JOB_ID=") for variable in variables)
        if mark in variables or in_job:
            found.add(pid)
    todo = list(found)
    while todo:
        new = set(children.get(todo.pop(), ())) - found
        found |= new
        todo += new
    return found - {os.getpid()}


def _all_processes() -> Iterator[tuple[int, int, list[bytes]]]:
    """Yield each process's id, its parent's and its environment; those that have ended are left out."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_bytes().rsplit(b")", 1)[1].split()[:2]
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if state != b"Z":
            yield int(folder.name), int(parent), variables


def _pid(cluster: Cluster, daemon: str) -> int | None:
    try:
        pid = int((cluster.folder / "run" / daemon).read_text())
    except (OSError, ValueError):
        return None
    return pid if pid in processes(cluster) else None


def _environment(cluster: Cluster) -> dict[str, str]:
    own = {MARK: cluster.folder, "MYSQL_UNIX_PORT": cluster.folder / "run" / "mariadb"}
    return os.environ | cluster.environment | {name: str(path) for name, path in own.items()}


def _check(cluster: Cluster) -> None:
    if reasons := missing():
        raise ClusterError(reasons[0])
    if processes(cluster):
        raise ClusterError(f"{cluster.folder} has a cluster that runs; stop it first, or take another folder")
    if cluster.folder.exists() and not (cluster.folder / MARK).exists() and any(cluster.folder.iterdir()):
        raise ClusterError(f"{cluster.folder} has files that are no cluster's; name a new or an empty folder")
    if not re.fullmatch(r"[\w./-]+", str(cluster.folder), re.ASCII):
        raise ClusterError(f"{cluster.folder}: SLURM takes letters, digits, '_', '.' and '-' in a folder's name only")
    if len(str(cluster.folder / "run" / "mariadb")) > LONGEST_SOCKET:
        raise ClusterError(f"{cluster.folder}: too long for a socket's path (at most {LONGEST_SOCKET} characters)")


def _lay_out(cluster: Cluster, settings: Mapping[str, int | str]) -> None:
    """Write configuration, key and an empty database."""
    folder = cluster.folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).touch()
    stop(cluster)
    shutil.rmtree(folder / "log", ignore_errors=True)
    for name in ("run", "log", "state", "spool"):
        (folder / name).mkdir(mode=0o700)
    _write(folder / "key", os.urandom(128))
    for gpu, device in (("gpu0", "null"), ("gpu1", "zero")):  # SLURM wants character devices, and opens none of them
        (folder / gpu).symlink_to(f"/dev/{device}")
    ports = dict(zip(("slurmctld_port", "slurmdbd_port", "n1_port", "n2_port"), _free_ports(4), strict=True))
    for name in ("slurm.conf", "slurmdbd.conf", "gres.conf"):
        text = (Path(__file__).parent / "conf" / name).read_text().format(folder=folder, **ports)
        _write(folder / name, _with_settings(text, settings) if name == "slurm.conf" else text)
    install = ("mariadb-install-db", "--no-defaults", f"--datadir={folder / 'database'}", "--user=root")
    run(cluster, *install, "--auth-root-authentication-method=normal", "--skip-test-db", *INNODB)


def _with_settings(text: str, settings: Mapping[str, int | str]) -> str:
    """The text of a slurm.conf with these settings, at its start, in the place of its own."""
    for name, value in settings.items():
        pattern = re.compile(rf"^{name}=.*\n", re.IGNORECASE | re.MULTILINE)
        text = f"{name}={value}\n" + pattern.sub("", text)
    return text


def _command(cluster: Cluster, daemon: str) -> list[str]:
    folder = cluster.folder
    if daemon == "munged":
        files = {"socket": "run/munge", "key-file": "key", "pid-file": "run/munged.pid", "seed-file": "run/munge.seed"}
        return ["munged", "--foreground", "--force", *(f"--{name}={folder / file}" for name, file in files.items())]
    if daemon == "mariadbd":
        files = {"datadir": "database", "socket": "run/mariadb", "pid-file": "run/mariadbd.pid"}
        paths = [f"--{name}={folder / file}" for name, file in files.items()]
        alone = ["--no-defaults", "--user=root", "--skip-networking"]
        return ["mariadbd", *alone, *paths, "--innodb-buffer-pool-size=32M", *INNODB]
    if daemon in NODES:
        return ["slurmd", "-D", "-N", daemon]
    return [daemon, "-D"]


def _answers(cluster: Cluster, daemon: str) -> bool:
    if daemon == "munged":
        return _succeeds(cluster, "munge", "--no-input", f"--socket={cluster.folder / 'run' / 'munge'}")
    if daemon == "mariadbd":
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(cluster.folder / "run" / "mariadb")) == 0
    if daemon == "slurmdbd":
        return _succeeds(cluster, "sacctmgr", "--noheader", "show", "cluster")
    if daemon == "slurmctld":
        return _succeeds(cluster, "scontrol", "ping")
    return not node_states(cluster)[daemon].endswith("*")


def _succeeds(cluster: Cluster, *command: str) -> bool:
    with contextlib.suppress(ClusterError):
        run(cluster, *command)
        return True
    return False


def _free_ports(count: int) -> list[int]:
    """Ports nobody listens on, below those that the kernel hands out, so that they stay free while a daemon is down."""
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        while len(found) < count:
            port = random.SystemRandom().randrange(10000, 32000)
            listener = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                listener.bind(("", port))
                found.append(port)
        return found


def _write(path: Path, content: str | bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def main(arguments: list[str]) -> int:
    """Start or stop a cluster as the command line says; return the exit code."""
    match arguments:
        case ["start", folder, *settings] if all(re.fullmatch(r"\w+=.+", setting) for setting in settings):
            cluster = start(Path(folder), **dict(setting.split("=", 1) for setting in settings))
            print(f"export SLURM_CONF={cluster.environment['SLURM_CONF']}")
        case ["stop", folder]:
            stop(Cluster(Path(folder).resolve()))
        case _:
            print("cluster.py start FOLDER [MaxArraySize=100 ...] | stop FOLDER", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
