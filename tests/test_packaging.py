"""The wheel holds everything, and never touches a package called ``datasets``."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), "."]
    subprocess.run(command, cwd=ROOT, check=True)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_has_one_top_level_package_with_everything_in_it(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"bench"}
    for needed in (
        "bench/methods/gta.py",
        "bench/datasets/cluttered_digits.yaml",
        "bench/backbones/micro_vit.safetensors",
        "bench/backbones/micro_vit.yaml",
        "bench/data/letters.npy",
        "bench/experiments/demo.yaml",
        "bench/report/assets/report.js",
        "bench/report/assets/report.css",
        "bench/report/assets/plot.umd.min.js",
        "bench/report/assets/plot.LICENSE",
        "bench/report/assets/d3.min.js",
        "bench/report/assets/d3.LICENSE",
        "bench/py.typed",
    ):
        assert needed in names


@pytest.mark.slow
def test_an_installed_wheel_finds_its_methods_and_datasets(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    script = (
        f"import sys; sys.path[:0] = {[str(site), *sys.path]}\n"
        "import bench; from pathlib import Path\n"
        "registry = bench.Registry()\n"
        "plan = bench.read_plan('demo', registry)\n"
        "print(len(plan.unique), Path(bench.__file__).parent.parent, *sorted(registry.method_files))"
    )
    # -S: without the site's .pth files, so that it is the wheel that is found and not an editable checkout
    runs, where, *methods = _python(tmp_path, "-S", "-c", script).split()
    assert (runs, where) == ("72", str(site))
    assert methods == sorted(path.stem for path in (ROOT / "methods").glob("*.py"))


def test_the_checkout_does_not_hide_hugging_faces_datasets(tmp_path: Path) -> None:
    """A regular package later on the path wins over our folder, also with the checkout as the current folder."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "__init__.py").write_text("")
    script = f"import sys; sys.path.append({str(tmp_path)!r}); import bench, datasets; print(datasets.__file__)"
    found = Path(_python(ROOT, "-c", script).strip())  # theirs, where it is installed, or else the one made here
    assert found.name == "__init__.py"
    assert ROOT / "datasets" not in found.parents


def _python(folder: Path, *arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout
