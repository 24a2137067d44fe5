"""The wheel and the sdist hold every source file once, as a real file: links are followed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "prefect_datasets"
# The folders at the root that are linked into the package.
LINKED = ("blocks", "examples", "flows", "tasks")

pytestmark = pytest.mark.slow  # builds both in an environment of their own


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build from a copy: a build leaves folders behind that the next one would pick up."""
    copy, target = tmp_path_factory.mktemp("copy") / "it", tmp_path_factory.mktemp("dist")
    unwanted = shutil.ignore_patterns(".git", "build", "dist", "*.egg-info", "__pycache__", ".*")
    shutil.copytree(ROOT, copy, symlinks=True, ignore=unwanted)
    command = [sys.executable, "-m", "build", "--outdir", str(target), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return target


def source_files() -> set[str]:
    """The package's files as they stand in the checkout."""
    roots = {ROOT / "src" / PACKAGE: PACKAGE}
    roots |= {ROOT / name: f"{PACKAGE}/{name}" for name in LINKED}
    return {
        f"{target}/{path.relative_to(root).as_posix()}"
        for root, target in roots.items()
        for path in root.rglob("*")
        if path.suffix == ".py" or path.name == "py.typed"
    }


def wheel_files(built: Path) -> list[str]:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        modes = {info.external_attr >> 28 for info in wheel.infolist()}
        assert modes == {0o10}, "regular files only: a link would be a file of its text"
        return [name for name in wheel.namelist() if ".dist-info/" not in name]


def sdist_files(built: Path) -> list[str]:
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        members = sdist.getmembers()
    assert not [member.name for member in members if member.issym() or member.islnk()]
    names = [member.name.partition("/")[2] for member in members if member.isfile()]
    inside = [name.removeprefix("src/") for name in names if name.startswith("src/")]
    return [name for name in inside if ".egg-info/" not in name]


@pytest.mark.timeout(360)
@pytest.mark.parametrize("names_in", [wheel_files, sdist_files], ids=["wheel", "sdist"])
def test_every_file_is_there_once(built: Path, names_in: Callable[[Path], list[str]]) -> None:
    names = names_in(built)
    assert [name for name, times in Counter(names).items() if times > 1] == []
    assert set(names) == source_files()


def test_every_linked_folder_is_known() -> None:
    links = {path.name for path in (ROOT / "src" / PACKAGE).iterdir() if path.is_symlink()}
    assert links == set(LINKED)
