"""What a record says of where it was made: enough to repeat it, nothing that is secret."""

from __future__ import annotations

import json
import platform
import re
import shlex
import string
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch  # noqa: F401  (what it knows is told where it is imported)
from hypothesis import given
from hypothesis import strategies as st

from bench.records import environment
from bench.records.environment import code_state, describe, provenance, repeat_command, slurm_job
from bench.records.secrets import redacted

SECRET = "S3cr3t.Value_9x"


def git(folder: Path, *command: str) -> str:
    named = ("-c", "user.name=n", "-c", "user.email=n@example.org")
    done = subprocess.run(("git", "-C", str(folder), *named, *command), capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with two committed files."""
    folder = tmp_path / "a checkout é"
    (folder / "methods").mkdir(parents=True)
    for name in ("methods/mine.py", "other.py"):
        (folder / name).write_text("x = 1\n", encoding="utf-8")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


class TestDescribe:
    def test_versions_and_hardware_as_plain_data(self) -> None:
        told = describe()
        assert json.loads(json.dumps(told, allow_nan=False)) == told
        assert told["python"] == platform.python_version()
        assert re.match(r"\d+\.\d+", told["packages"]["torch"])
        assert told["cores"] >= 1
        assert told["memory_bytes"] > 10**8
        assert told["instructions"]
        assert told["launcher"] == "local"

    def test_the_machine_is_not_named(self) -> None:
        words = re.findall(r"[\w.-]+", json.dumps({**describe(), "packages": None}))
        assert platform.node() not in words

    def test_of_a_plugin_the_last_part_of_its_path_is_kept(self, checkout: Path) -> None:
        (plugin,) = describe((str(checkout / "methods" / "mine.py"),), "slurm")["plugins"]
        assert plugin["name"] == "mine.py"
        assert plugin["git"] == {"commit": git(checkout, "rev-parse", "HEAD"), "changed": False, "diff": None}
        assert str(checkout) not in json.dumps(plugin)

    def test_the_driver_is_read_from_the_kernel(self, tmp_path: Path) -> None:
        path = tmp_path / "version"
        path.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build (x@y)\n")
        assert environment._driver(path) == "580.65.06"


class TestCodeState:
    def test_a_change_has_a_digest_and_its_text_is_not_kept(self, checkout: Path) -> None:
        states = []
        for text in ("x = 1\n", "x = 'telling'\n", "x = 3\n"):
            (checkout / "other.py").write_text(text, encoding="utf-8")
            states.append(code_state(checkout))
        clean, first, second = states
        assert clean is not None
        assert first is not None
        assert second is not None
        assert (clean["changed"], clean["diff"]) == (False, None)
        assert first["changed"]
        assert re.fullmatch(r"[0-9a-f]{12}", first["diff"])
        assert first["diff"] != second["diff"]
        assert "telling" not in str(first)

    def test_a_file_is_judged_alone(self, checkout: Path) -> None:
        (checkout / "other.py").write_text("x = 2\n", encoding="utf-8")
        assert code_state(checkout / "methods" / "mine.py") == {
            "commit": git(checkout, "rev-parse", "HEAD"),
            "changed": False,
            "diff": None,
        }

    def test_a_file_that_git_does_not_know_counts_as_changed(self, checkout: Path) -> None:
        new = checkout / "new.py"
        found = []
        for text in ("a", "b"):
            new.write_text(text, encoding="utf-8")
            state = code_state(new)
            assert state is not None
            assert state["changed"]
            found.append(state["diff"])
        assert found[0] != found[1]

    def test_no_checkout_and_no_commit(self, tmp_path: Path) -> None:
        assert code_state(tmp_path) is None
        assert code_state(tmp_path / "missing.py") is None
        git(tmp_path, "init", "-q")
        assert code_state(tmp_path) is None


def test_a_slurm_job() -> None:
    variables = {
        "SLURM_JOB_ID": "12",
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURM_RESTART_COUNT": "1",
        "SLURM_JOB_NODELIST": "n",
    }
    assert slurm_job(variables) == {"job": "12", "array_task": "3", "restarts": "1"}
    assert slurm_job({"SLURM_JOB_PARTITION": "gpu"}) is None


def test_provenance_masks_the_command_and_says_how_to_repeat_the_run() -> None:
    told = provenance("0123456789ab", f"bench run demo --api-key {SECRET}", Path("my results"), ["/a/mine.py"])
    assert told["command"] == "bench run demo --api-key ***"
    assert told["repeat"] == "bench rerun 0123456789ab --check --results 'my results' --plugin /a/mine.py"
    assert told["environment"] == describe(("/a/mine.py",), "local")


def test_a_record_that_was_handed_over_is_repeated_by_its_path() -> None:
    assert repeat_command(Path("their/record.json")) == "bench rerun their/record.json --check"


@pytest.mark.parametrize(
    "text",
    [
        f"bench run demo --password {SECRET} --jobs 2",
        f"bench run demo --wandb-token={SECRET}",
        f"WANDB_API_KEY={SECRET} bench run demo",
        f"bench run demo --set 'api_key={SECRET} and more {SECRET}'",
        f"https://name:{SECRET}@example.org/data.zip",
        f"https://{SECRET}@example.org/data.zip",
        f"https://example.org/data.zip?size=1&access_token={SECRET}&x=1",
        f"Authorization: Bearer {SECRET}",
        f'{{"password": "{SECRET}", "name": "x"}}',
        f'{{"password":"{SECRET}"}}',
        f"RuntimeError: secret = '{SECRET}'\n  in line 3",
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
        f"fetched with hf_{SECRET.replace('.', 'a')}",
    ],
)
def test_what_looks_like_a_credential_is_masked(text: str) -> None:
    shown = redacted(text, {})
    assert SECRET.replace(".", "a") not in shown
    assert SECRET not in shown
    assert "***" in shown


@pytest.mark.parametrize("name", ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "wandb_api_key", "DB_PASSWORD", "X_PASS"])
def test_a_secret_of_the_environment_is_masked_wherever_it_stands(name: str) -> None:
    assert redacted(f"KeyError: {SECRET!r} in /a/{SECRET}/b", {name: SECRET}) == "KeyError: '***' in /a/***/b"


@pytest.mark.parametrize(
    "text",
    [
        "bench run demo --methods 'ce,gta(weight=0.3)+transmix' --rates 15,100 --seeds 5 --set steps=100 --set lr=2e-3",
        "bench run demo --plugin my_token.py --results '/a b/c' --backbones timm:vit_small_patch16_224.dino@none",
        "bench run demo --methods 'mine(class_token=true)' --methods 'mine(token=3)'",
        "KeyError: 'token'",
        "git@example.org:name/folder.git",
        "RuntimeError: it isn't there; the password was not asked for",
        "",
    ],
)
def test_what_is_no_credential_stays(text: str) -> None:
    assert redacted(text, {"PWD": "/a b/c", "HOME": "/a b", "SHORT_TOKEN": "mine"}) == text


@pytest.mark.slow
def test_a_long_text_takes_no_long_time() -> None:
    """Logs may hold anything: a line of a megabyte, or of quotes that nobody closed."""
    started = time.process_time()
    for text in ("a" * 10**6, "token" * 10**5, "'\"" * 10**5, "-" * 10**6, "x://" * 10**5, "-----BEGIN " * 10**4):
        redacted(text, {})
    assert time.process_time() - started < 5


@given(st.text(string.ascii_letters + string.digits + " '\"$&;,)=:", min_size=1).map(lambda text: f"S3{text}S3"))
def test_whatever_a_password_holds_nothing_of_it_is_left(secret: str) -> None:
    """Also where a shell has to quote it: not even a part between two of its quotes is shown."""
    for words in (["--password", secret, "--jobs", "2"], [f"--password={secret}"], [f"password={secret}", "x"]):
        shown = redacted(shlex.join(["bench", *words]), {})
        assert "S3" not in shown
        assert shown.startswith("bench ")


def test_torch_is_not_imported_for_it() -> None:
    """The process in front of the runs records the death of a worker, and would stand still meanwhile."""
    code = "import sys; from bench.records.environment import describe; describe(); print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
