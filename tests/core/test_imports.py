"""What is imported: pandas takes longer than planning a hundred thousand files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

_PLAN = """
import sys
from pathlib import Path
from prefect_datasets.core.publish.plan import plan_directory
from prefect_datasets.core.store import open_store
plan = plan_directory(Path(sys.argv[1]), store=open_store(sys.argv[2]))
(version,) = plan.versions
assert version.n_files == 40, version.n_files
assert "pandas" not in sys.modules, "imported"
"""


def test_a_plan_imports_no_pandas(tmp_path: Path) -> None:
    import pandas as pd  # pyright: ignore[reportMissingTypeStubs]  (it is there to be imported)

    assert pd.__version__
    root = tmp_path / "out"
    (root / "a").mkdir(parents=True)
    said = {"uri": "dataset://a/v1", "packaging": True}
    lines: list[str] = []
    for number in range(40):
        (root / "a" / str(number)).write_bytes(b"x")
        metadata = {"valohai.dataset-versions": [said], "number": number}
        lines.append(json.dumps({"file": f"a/{number}", "metadata": metadata}))
    (root / "valohai.metadata.jsonl").write_text("\n".join([*lines, lines[0]]))
    command = [sys.executable, "-c", _PLAN, str(root), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
