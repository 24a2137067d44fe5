"""Which files of a checkout a step gets."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from prefect_datasets.valohai.running.repository import commit_of, copy_repository

FILES = {
    "train.py": "code",
    "pkg/__init__.py": "",
    "pkg/deep/data.txt": "data",
    ".gitignore": "*.log\nbuild/\n",
    "run.log": "ignored by git",
    "build/out": "ignored by git",
    "notes.md": "new, and not ignored",
    "big/model.bin": "ignored by .vhignore",
    ".vhignore": "big/\ntracked-but-not-wanted\n",
    "tracked-but-not-wanted": "tracked",
    "name with spaces é": "odd",
}
WANTED = {
    "train.py",
    "pkg/__init__.py",
    "pkg/deep/data.txt",
    ".gitignore",
    ".vhignore",
    "notes.md",
    "name with spaces é",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    for path, text in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / "train.py").chmod(0o755)
    (folder / "link").symlink_to("train.py")
    return folder


def git(folder: Path, *arguments: str) -> None:
    own = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *own, *arguments], cwd=folder, check=True, capture_output=True)


def copied(source: Path, tmp_path: Path) -> set[str]:
    target = tmp_path / "copy"
    target.mkdir()
    n_files = copy_repository(source, target)
    found = {str(path.relative_to(target)) for path in target.rglob("*") if not path.is_dir()}
    assert n_files == len(found)
    return found


def test_of_git(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "init")
    git(checkout, "add", "train.py", "pkg", ".gitignore", "tracked-but-not-wanted")
    git(checkout, "commit", "-m", "first")
    assert len(commit_of(checkout)) == 40
    assert copied(checkout, tmp_path) == WANTED | {"link"}
    assert os.access(tmp_path / "copy/train.py", os.X_OK)
    assert (tmp_path / "copy/link").is_symlink()


def test_a_deleted_file_is_none(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "init")
    git(checkout, "add", "train.py")
    git(checkout, "commit", "-m", "first")
    (checkout / "train.py").unlink()
    (checkout / "link").unlink()
    assert copied(checkout, tmp_path) == WANTED - {"train.py"}


def test_a_folder_in_a_checkout(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "init")
    git(checkout, "add", ".")
    git(checkout, "commit", "-m", "first")
    assert copied(checkout / "pkg", tmp_path) == {"__init__.py", "deep/data.txt"}


def test_a_checkout_in_a_checkout(checkout: Path, tmp_path: Path) -> None:
    git(checkout, "init")
    inner = checkout / "inner"
    inner.mkdir()
    (inner / "code.py").write_text("code")
    git(inner, "init")
    git(inner, "add", ".")
    git(inner, "commit", "-m", "first")
    assert copied(checkout, tmp_path) == WANTED | {"link", "inner/code.py"}


def test_without_a_checkout_the_ignore_files_count_too(checkout: Path, tmp_path: Path) -> None:
    assert commit_of(checkout) == ""
    assert copied(checkout, tmp_path) == WANTED | {"link"}


def test_without_git_everything_is_copied(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(checkout, "init")
    monkeypatch.setenv("PATH", "/nowhere")
    assert copied(checkout, tmp_path) == {*FILES, "link"}
