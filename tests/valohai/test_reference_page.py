"""The platform's own page about packaging: its examples, with no line changed, through S3.

The page is not ours and not in this repository: name a copy in `PREFECT_DATASETS_REFERENCE_PAGE`.
What its scripts call and don't define is put where Python looks for built-in functions, and so is
a `range` that ends earlier, unless `PREFECT_DATASETS_REFERENCE_FILES` allows as many as they want.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path

import pytest

from prefect_datasets.core.cache.cache import Cache
from prefect_datasets.core.resolve.inputs import resolve_input
from prefect_datasets.core.store import open_store
from prefect_datasets.valohai.plan import Given, Outcome
from prefect_datasets.valohai.reading import config
from prefect_datasets.valohai.reading.step import plan_step
from prefect_datasets.valohai.running.execute import execute
from prefect_datasets.valohai.running.runner import Runner
from tests.servers.process import Served
from tests.valohai.steps import Heard

PAGE = os.environ.get("PREFECT_DATASETS_REFERENCE_PAGE", "")
MOST = int(os.environ.get("PREFECT_DATASETS_REFERENCE_FILES", "200"))

pytestmark = [
    pytest.mark.skipif(not PAGE, reason="PREFECT_DATASETS_REFERENCE_PAGE names no page"),
    pytest.mark.timeout(1800),
]

DEFINITIONS = """
import builtins

def process_image(*what):
    if len(what) == 1 and isinstance(what[0], str):
        with open(what[0], "rb") as file:
            return len(file.read())
    from PIL import Image
    return Image.new("RGB", (8, 8), tuple(hash(part) % 256 for part in (*what, 1, 2, 3))[:3])

def save_image(image, path):
    image.save(path)

def load_sensor_data(date):
    import pandas as pd
    return pd.DataFrame({"hour": list(range(24)), "value": [date.day + h for h in range(24)]})

for each in (process_image, save_image, load_sensor_data):
    setattr(builtins, each.__name__, each)
"""

# pandas needs the real one.
SHORTER_LOOPS = """
_range = builtins.range
builtins.range = lambda *a: _range(min(a[0], MOST)) if len(a) == 1 else _range(*a)
"""


@dataclass(frozen=True)
class Block:
    heading: str
    language: str
    text: str


def blocks() -> list[Block]:
    """Return the code blocks of the page with the headings above them."""
    text = Path(PAGE).read_text(encoding="utf-8")
    found: list[Block] = []
    heading = ""
    for match in re.finditer(
        r"^#+ ([^\n]+)$|^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL
    ):
        if match[1]:
            heading = match[1]
        else:
            found.append(Block(heading, match[2], match[3]))
    return found


def the_block(heading: str, language: str) -> str:
    (text, *_) = [
        b.text for b in blocks() if b.heading.startswith(heading) and b.language == language
    ]
    return text


class Page:
    """A checkout with what the page has, and an S3 store."""

    def __init__(self, root: Path, served: Served, prefix: str) -> None:
        self.root = root
        self.store = open_store(f"{served.url}/{prefix}", served.options)
        self.checkout = root / "checkout"
        self.checkout.mkdir()
        (self.checkout / "definitions").mkdir()
        self.write("definitions/sitecustomize.py", f"MOST = {MOST}\n{DEFINITIONS}{SHORTER_LOOPS}")

    def write(self, path: str, text: str) -> None:
        (self.checkout / path).write_text(text)

    def run(self, step: str, log: Heard) -> Outcome:
        given = Given(environment={"PYTHONPATH": "/valohai/repository/definitions"})
        plan = plan_step(config.load(self.checkout / "valohai.yaml"), step, given)
        runner = Runner(runs=self.root / "runs", environment=dict(os.environ))
        return execute(
            plan, store=self.store, cache=Cache(self.root / "cache"), runner=runner, log=log
        )

    def packed(self, step: str, uri: str, paths: Sequence[str]) -> Heard:
        """Run a step that publishes; its version is packaged, and resolves."""
        log = Heard()
        outcome = self.run(step, log)
        assert outcome.error is None, log.text[-3000:]
        (record,) = outcome.versions
        assert str(record.uri) == uri
        name = uri.removeprefix("dataset://").replace("/", ".")
        (package,) = record.packages
        said = [note for note in log.notes if note.startswith("(dataset version package")]
        assert re.fullmatch(
            rf"\(dataset version package 1/1\) uploading {name}\.vhpkgzip \([\d.]+ \w+\)", said[0]
        )
        bucket = self.store.bucket
        assert said[1] == f"(dataset version package 1/1) uploading to s3 bucket {bucket}"
        assert said[2] == f"(dataset version package 1/1) upload complete (datum {package.datum})"
        with zipfile.ZipFile(BytesIO(self.store.read(package.key))) as opened:
            assert opened.namelist() == sorted(paths)
        assert [output.path for output in outcome.outputs] == sorted(paths), "individual files too"
        self.resolves(uri, paths)
        return log

    def resolves(self, uri: str, paths: Sequence[str]) -> None:
        cache = Cache(self.root / "another-cache")
        found = resolve_input([uri], store=self.store, cache=cache)
        files = (path for path in found.path.rglob("*") if path.is_file())
        assert sorted(str(path.relative_to(found.path)) for path in files) == sorted(paths)


@pytest.fixture
def page(tmp_path: Path, seaweedfs: Served, fresh_prefix: str) -> Page:
    return Page(tmp_path, seaweedfs, fresh_prefix)


def test_step_by_step(page: Page) -> None:
    steps = [b.text for b in blocks() if b.language == "yaml"]
    page.write("valohai.yaml", f"{steps[0]}\n{steps[1]}")
    page.write("prepare_data.py", the_block("Step 2", "python"))
    page.write(
        "train.py", the_block("Step 3", "python") + "print('read', len(os.listdir(input_dir)))\n"
    )
    names = [f"image_{n:06d}.jpg" for n in range(min(100_000, MOST))]
    page.packed("create-packaged-dataset", "dataset://my-images/train-v1", names)
    log = Heard()
    outcome = page.run("train-model", log)
    assert outcome.error is None, log.text
    assert log.lines == [f"read {len(names)}"]


def test_time_series(page: Page) -> None:
    page.write("definitions/sitecustomize.py", DEFINITIONS)
    heading = "Complete Example: Time-Series"
    page.write("valohai.yaml", the_block(heading, "yaml"))
    page.write("prepare_data.py", the_block(heading, "python"))
    page.write("train.py", "import os\nprint(len(os.listdir('/valohai/inputs/sensor-data')))\n")
    uri = "dataset://sensor-data/year-2024"
    days = [date(2024, 1, 1) + timedelta(n) for n in range(366)]
    log = page.packed("prepare-sensor-data", uri, [f"sensor_{day:%Y%m%d}.csv" for day in days])
    assert log.lines == ["Created dataset with 366 files", "Packaging will happen automatically"]
    log = Heard()
    assert page.run("train-forecasting-model", log).error is None, log.text
    assert log.lines == ["366"]


def test_image_classification(page: Page) -> None:
    steps = [b.text for b in blocks() if b.language == "yaml"]
    page.write("valohai.yaml", f"{steps[0]}\n{steps[1].replace('my-images', 'imagenet-subset')}")
    page.write("prepare_data.py", the_block("Complete Example: Image", "python"))
    page.write(
        "train.py",
        "import glob\nprint([len(glob.glob(f'/valohai/inputs/training-images/{name}/*.jpg'))\n"
        "       for name in ('cats', 'dogs', 'birds')])\n",
    )
    n_files = min(10_000, MOST)
    paths = [
        f"{name}/{name}_{n:05d}.jpg" for name in ("cats", "dogs", "birds") for n in range(n_files)
    ]
    log = page.packed("create-packaged-dataset", "dataset://imagenet-subset/train-v1", paths)
    assert log.lines == [f"Packaged {3 * n_files} images across 3 classes"]
    log = Heard()
    assert page.run("train-model", log).error is None, log.text
    assert log.lines == [str([n_files] * 3)], "folders are preserved"
