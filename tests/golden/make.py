"""Make the stores of format 1 beside this: `python -m tests.golden.make FOLDER`.

`v1` has every kind of object, `together` a version whose new files also lie together. Their files
are never made again: today's code must read them, and write the same. For a new
format, copy this script's output to a folder of its own beside `v1`.
"""

from __future__ import annotations

import hashlib
import sys
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa

from prefect_datasets.core.format import keys
from prefect_datasets.core.format.local_header import local_header
from prefect_datasets.core.format.package import directory, layout
from prefect_datasets.core.format.record import (
    AliasRecord,
    Package,
    PackagesRecord,
    Part,
    VersionRecord,
)
from prefect_datasets.core.format.rows import ROWS, datum_id, datum_ids, files_digest
from prefect_datasets.core.format.tables import write_table
from prefect_datasets.core.uri import DatasetUri

FIRST, SECOND, THIRD = (f"0197b2f0-7a51-7c52-9c1c-3f1a5d2e8b1{n}" for n in range(3))
V1, V2, V3 = (DatasetUri("digits", f"v{n}") for n in (1, 2, 3))
GONE = DatasetUri("digits", "v0")
CREATED = "2026-01-02T03:04:05.678901+00:00"

V1_FILES = {
    "README.md": b"# Digits\n",
    "empty": b"",
    "images/0/a.png": bytes(range(256)) * 8,
    "images/1/b.png": b"\0" * 1000,
    "names/h\u00e4user \u65e5\u672c\u8a9e/50%\\off.txt": "\u00fc".encode(),
}
# What v2 changes and adds; it leaves out `empty`.
V2_FILES = {"README.md": b"# Digits, again\n", "images/2/c.png": b"\xff" * 2000}
METADATA = {"images/2/c.png": '{"label": 2, "tags": ["new"]}'}


def write(root: Path, key: str, data: bytes) -> None:
    """Put an object into the store."""
    file = root / key
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


def rows_of(files: dict[str, bytes], execution: str) -> pa.Table:
    """Return the rows of files that `execution` stored one by one."""
    return pa.table(
        {
            "path": list(files),
            "size": [len(data) for data in files.values()],
            "sha256": [hashlib.sha256(data).digest() for data in files.values()],
            "crc32": [zlib.crc32(data) for data in files.values()],
            "datum": datum_ids(execution, files),
            "url": [keys.file_key(execution, path) for path in files],
            "package": [None] * len(files),
            "offset": [None] * len(files),
            "metadata": [METADATA.get(path) for path in files],
        },
        schema=ROWS,
    )


def package_of(rows: pa.Table, files: dict[str, bytes]) -> bytes:
    """Return the package of these rows."""
    plan = layout(rows["path"], rows["size"])
    members = bytearray()
    for row in rows.to_pylist():
        header = local_header(row["path"].encode(), row["size"], row["crc32"])
        members += header + files[row["path"]]
    ends = directory(rows["path"], rows["size"], rows["crc32"], plan.header_offsets)
    return bytes(members + ends)


def in_package(rows: pa.Table, key: str) -> pa.Table:
    """Return the rows with the package that holds their files."""
    places: dict[str, Any] = {
        "package": [key] * rows.num_rows,
        "offset": layout(rows["path"], rows["size"]).data_offsets,
    }
    for name, values in places.items():
        index = ROWS.get_field_index(name)
        rows = rows.set_column(index, ROWS.field(name), pa.array(values, ROWS.field(name).type))
    return rows


def store_package(root: Path, key: str, data: bytes) -> Package:
    """Put a package into the store."""
    write(root, key, data)
    execution = key.split("/")[1]
    return Package(key=key, n_bytes=len(data), datum=datum_id(execution, key))


def store_part(root: Path, key: str, rows: pa.Table, package: Package | None) -> Part:
    """Put a table into the store."""
    data = write_table(rows).to_pybytes()
    write(root, key, data)
    paths = rows["path"].to_pylist()
    return Part(
        table=key,
        table_bytes=len(data),
        table_sha256=hashlib.sha256(data).hexdigest(),
        n_files=rows.num_rows,
        n_bytes=sum(rows["size"].to_pylist()),
        first=paths[0],
        last=paths[-1],
        digest=files_digest([rows]),
        package=package,
    )


def make_v1(root: Path) -> VersionRecord:
    """Make a packaged version of one part, an alias of it and one of a file."""
    rows = rows_of(V1_FILES, FIRST)
    for row in rows.to_pylist():
        write(root, row["url"], V1_FILES[row["path"]])
    key = keys.package_key(FIRST, V1, 0, 1)
    package = store_package(root, key, package_of(rows, V1_FILES))
    part = store_part(root, keys.table_key(FIRST, V1, 0), in_package(rows, key), package)
    record = VersionRecord(
        uri=V1,
        digest=part.digest,
        created=CREATED,
        execution=FIRST,
        attempt=FIRST,
        parts=(part,),
        tags=("small", "caf\u00e9"),
        properties={"source": "drawn", "seeds": [1, 2.5, None, True]},
    )
    write(root, keys.record_key(V1), record.to_json())
    alias = AliasRecord(target="v1", updated=CREATED)
    write(root, keys.alias_key(DatasetUri("digits", "stable")), alias.to_json())
    datum = AliasRecord(target=rows["datum"][0].as_py(), updated=CREATED)
    write(root, keys.datum_alias_key("readme"), datum.to_json())
    return record


def make_v2(root: Path) -> None:
    """Make a version of two parts from the first, and packages for it afterwards."""
    files = dict(sorted({**V1_FILES, **V2_FILES}.items(), key=lambda item: item[0].encode()))
    del files["empty"]
    for path, data in V2_FILES.items():
        write(root, keys.file_key(SECOND, path), data)
    rows = pa.concat_tables(
        rows_of({path: data}, SECOND if path in V2_FILES else FIRST) for path, data in files.items()
    )
    parts: list[Part] = []
    packages: list[Package] = []
    for index, cut in enumerate((rows[:2], rows[2:])):
        parts.append(store_part(root, keys.table_key(SECOND, V2, index), cut, None))
        key = keys.package_key(THIRD, V2, index, 2)
        packages.append(store_package(root, key, package_of(cut, files)))
    record = VersionRecord(
        uri=V2,
        digest=files_digest([rows]),
        created=CREATED,
        execution=SECOND,
        attempt=SECOND,
        parts=tuple(parts),
        parent=str(V1),
    )
    write(root, keys.record_key(V2), record.to_json())
    later = PackagesRecord(
        digest=record.digest,
        created=CREATED,
        execution=THIRD,
        attempt=THIRD,
        packages=tuple(packages),
    )
    write(root, keys.packages_key(V2), later.to_json())


def make_together(root: Path) -> None:
    """Make the store `together`: packaged, and what v2 brought beside it."""
    files = dict(sorted({**V1_FILES, **V2_FILES}.items(), key=lambda item: item[0].encode()))
    key = keys.package_key(SECOND, V3, 0, 1)
    rows = in_package(rows_of(files, SECOND), key)
    for row in rows.to_pylist():
        write(root, row["url"], files[row["path"]])
    package = store_package(root, key, package_of(rows, files))
    new = pa.table(rows_of(V2_FILES, SECOND))
    together = keys.together_key(key)
    write(root, together, package_of(new, V2_FILES))
    places = {row["path"]: row for row in in_package(new, together).to_pylist()}
    stored = pa.Table.from_pylist(
        [
            row | {name: places.get(row["path"], row)[name] for name in ("package", "offset")}
            for row in rows.to_pylist()
        ],
        schema=ROWS,
    )
    part = store_part(root, keys.table_key(SECOND, V3, 0), stored, package)
    record = VersionRecord(
        uri=V3,
        digest=part.digest,
        created=CREATED,
        execution=SECOND,
        attempt=SECOND,
        parts=(part,),
        parent=str(V1),
    )
    write(root, keys.record_key(V3), record.to_json())


def make_deleted(root: Path) -> None:
    """Make what a deleted version leaves: here one without files."""
    record = VersionRecord(
        uri=GONE,
        digest=files_digest([]),
        created=CREATED,
        execution=FIRST,
        attempt=FIRST,
        parts=(),
    )
    write(root, keys.tombstone_key(GONE), record.to_json())


def make(root: Path) -> None:
    """Make the store `v1`."""
    make_v1(root)
    make_v2(root)
    make_deleted(root)


if __name__ == "__main__":
    make(Path(sys.argv[1], "v1"))
    make_together(Path(sys.argv[1], "together"))
