"""The wheel and the source distribution, built and installed as users get them."""

import os
import shutil
import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("uv") is None, reason="needs uv")


def do(*command, folder):
    """Run a command to its end, without the environment that the tests run in."""
    unset = ("VIRTUAL_ENV", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of the source distribution, and of the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    do("uv", "build", "--out-dir", folder, ROOT, folder=folder)
    return folder


def test_the_wheel_has_all_that_the_package_reads(built):
    (wheel,) = built.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    source = ROOT / "src"
    own = {
        path.relative_to(source).as_posix()
        for path in (source / "torchbake").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert own <= names
    assert all(name.startswith("torchbake") for name in names)


def test_the_source_distribution_can_be_tested(built):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    for path in ("pyproject.toml", "LICENSE", "CITATION.cff", "tests/test_packaging.py", "docs"):
        assert any(name == path or name.startswith(f"{path}/") for name in names), path


def test_the_wheel_alone_trains_the_digits(built, tmp_path):
    (wheel,) = built.glob("*.whl")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pins = tmp_path / "pins.txt"
    pins.write_text("\n".join(project["tool"]["uv"]["constraint-dependencies"]))
    python = tmp_path / "clean" / "bin" / "python"
    do("uv", "venv", "--quiet", tmp_path / "clean", folder=tmp_path)
    install = ("uv", "pip", "install", "--quiet", "--python", python, "--constraint", pins)
    do(*install, f"{wheel}[train]", folder=tmp_path)
    command = python.with_name("torchbake")
    short = ("--training.max_steps", "4", "--training.batch_size", "32")
    do(command, "train", "digits/bake", "--out", "run", *short, folder=tmp_path)
    assert (tmp_path / "run" / "report.html").is_file()
    bare = "import sys, torchbake; assert 'torch' not in sys.modules; print(torchbake.__file__)"
    assert "/clean/" in do(python, "-c", bare, folder=tmp_path)
