"""What the README shows works: its Python is run, its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import clean_environment

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

# What the README leaves to the reader, and what the flows it declares are called with.
_BEFORE = """
import os
from pathlib import Path

def draw_images(out):
    for name in ("cats/1.jpg", "cats/2.jpg", "dogs/1.jpg"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(name.encode())

draw_images_into = Path("my-outputs")
draw_images_into.mkdir()
draw_images(draw_images_into)
"""
_AFTER = """
(published,) = prepare_images()
assert (published.uri, published.n_files) == ("dataset://my-images/train-v1", 3)
assert len(published.packages) == 1
train()
(cached,) = Path(os.environ["PREFECT_HOME"], "datasets/cache/versions/my-images").iterdir()
assert sorted(f.name for f in (cached / "files").rglob("*.jpg")) == ["1.jpg", "1.jpg", "2.jpg"]
"""


def python_blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def test_python_runs(prefect_api: str, tmp_path: Path) -> None:
    script = tmp_path / "readme.py"
    script.write_text("\n".join([_BEFORE, *python_blocks(README), _AFTER]), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:prefect_datasets", str(script)],
        cwd=tmp_path,
        env={**clean_environment(tmp_path), "PREFECT_API_URL": prefect_api},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "dataset://my-images/v2 3 ['outputs/" in done.stdout


def test_the_first_block_has_twelve_lines_of_use() -> None:
    lines = [line for line in python_blocks(README)[0].splitlines() if line.strip()]
    assert len(lines) <= 14


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_links_lead_somewhere(link: str) -> None:
    assert link.startswith("https://") or (ROOT / link).exists()


def test_every_variable_that_is_read_is_told() -> None:
    """Those of our own, wherever the code reads them."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "src").rglob("*.py")]
    read = set(re.findall(r'"(PREFECT_DATASETS_[A-Z_]+|VH_ENABLE_[A-Z_]+)"', "".join(sources)))
    assert read
    assert {name for name in read if f"`{name}`" not in README} == set()
