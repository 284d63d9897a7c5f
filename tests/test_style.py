"""The house rules that a tool can hold: formatting, types, layers, and what may lie where."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from bench.registry import Registry

ROOT = Path(__file__).parent.parent
SAY_NOTHING = {"found", "own", "told", "given", "there", "one", "other", "shown", "said", "known", "before", "after"}
METHOD_MAY_IMPORT = {"bench.method", "bench.backbones", "bench.data", "bench.protocol", "bench.losses", "bench.errors"}


def run(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_ruff() -> None:
    run("ruff", "check", ".")
    run("ruff", "format", "--check", ".")


@pytest.mark.slow
def test_types() -> None:
    run("mypy")


def test_imports_point_down() -> None:
    done = subprocess.run([Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("folder", ["methods", "datasets", "paper_tables", "results"])
def test_no_package_beside_the_engine(folder: str) -> None:
    """An __init__.py here would shadow or overwrite other people's packages (`datasets` is Hugging Face's)."""
    assert not list((ROOT / folder).rglob("__init__.py"))


@pytest.mark.parametrize("path", sorted((ROOT / "methods").glob("*.py")), ids=lambda path: str(path.stem))
def test_a_method_imports_only_its_interface(path: Path) -> None:
    """And the one method that it derives from, if it does."""
    modules = {
        node.module or ""
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bench")
    }
    parent = Registry().method(path.stem).parent
    assert modules <= METHOD_MAY_IMPORT | ({f"bench.methods.{parent}"} if parent else set())


def test_every_file_is_short_enough_to_have_one_subject() -> None:
    long = {path.name: count for path in (ROOT / "bench").rglob("*.py") if (count := _lines(path)) > 400}
    assert not long


@pytest.mark.slow
def test_a_class_name_means_one_thing() -> None:
    names = [node.name for node in _nodes() if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_values_are_called_what_they_hold() -> None:
    """In formulas of methods a rename would change the ids of their runs, so losses.py stays as it is."""
    stored = {node.id for node in _nodes() if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    arguments = {node.arg for node in _nodes() if isinstance(node, ast.arg)}
    functions = {node.name for node in _nodes() if isinstance(node, ast.FunctionDef)}
    assert (stored | arguments | functions) & SAY_NOTHING == set()


@cache
def _nodes() -> list[ast.AST]:
    """Every node of the engine's syntax trees."""
    paths = [path for path in (ROOT / "bench").rglob("*.py") if path.name != "losses.py"]
    return [node for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())
