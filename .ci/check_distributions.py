"""Check that a wheel and an sdist hold every source file once, as a real file.

python .ci/check_distributions.py dist/*.whl dist/*.tar.gz
"""

import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

PACKAGE = "prefect_datasets"
# The folders of the checkout that are linked into the package.
LINKED = ("blocks", "examples", "flows", "tasks")


def wanted() -> set[str]:
    """Return the package's files as they stand in the checkout, links followed."""
    own = Path("src") / PACKAGE
    roots = {own: PACKAGE, **{Path(name): f"{PACKAGE}/{name}" for name in LINKED}}
    found = set[str]()
    for root, target in roots.items():
        for path in root.rglob("*"):  # follows no link below `root`
            if path.suffix == ".py" or path.name == "py.typed":
                found.add(f"{target}/{path.relative_to(root).as_posix()}")
    return found


def wheel_files(path: Path) -> list[str]:
    """Return the names in a wheel, without its metadata; a link would be a file of its text."""
    with zipfile.ZipFile(path) as wheel:
        links = [
            i.filename for i in wheel.infolist() if (i.external_attr >> 16) & 0o170000 == 0o120000
        ]
        if links:
            sys.exit(f"{path.name}: links instead of files: {links}")
        return [name for name in wheel.namelist() if ".dist-info/" not in name]


def sdist_files(path: Path) -> list[str]:
    """Return the names below `src` in an sdist, without its metadata."""
    with tarfile.open(path) as sdist:
        links = [member.name for member in sdist if member.issym() or member.islnk()]
        if links:
            sys.exit(f"{path.name}: links instead of files: {links}")
        names = [member.name.partition("/")[2] for member in sdist if member.isfile()]
    inside = [name.removeprefix("src/") for name in names if name.startswith("src/")]
    return [name for name in inside if ".egg-info/" not in name]


def check(path: Path) -> None:
    """Exit with what is wrong, if anything is."""
    names = wheel_files(path) if path.suffix == ".whl" else sdist_files(path)
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    faults = {
        "missing": sorted(wanted() - set(names)),
        "not from the checkout": sorted(set(names) - wanted()),
        "more than once": twice,
    }
    if any(faults.values()):
        sys.exit(
            "\n".join(f"{path.name}: {fault}: {what}" for fault, what in faults.items() if what)
        )
    print(f"{path.name}: {len(names)} files, each once")


if __name__ == "__main__":
    for each in sys.argv[1:]:
        check(Path(each))
