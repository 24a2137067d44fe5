from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings

from prefect_datasets.core.errors import InvalidInputError
from prefect_datasets.core.format.rows import LISTING
from prefect_datasets.core.metadata.scan import Scan, scan
from tests import strategies


def write(root: Path, files: dict[str, bytes]) -> None:
    for path, content in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def paths_of(found: Scan) -> list[str]:
    return found.listing.column("path").to_pylist()


def test_a_row_per_file_with_size_and_time(tmp_path: Path) -> None:
    write(tmp_path, {"b.txt": b"12", "a/c.txt": b""})
    os.utime(tmp_path / "b.txt", ns=(5, 1_700_000_000_123_456_789))
    listing = scan(tmp_path).listing
    assert listing.schema == LISTING
    assert listing.column("path").to_pylist() == ["a/c.txt", "b.txt"]
    assert listing.column("size").to_pylist() == [0, 2]
    assert listing.column("modified").to_pylist()[1] == 1_700_000_000_123_456_789


def test_folders_sort_as_their_paths_do(tmp_path: Path) -> None:
    write(tmp_path, dict.fromkeys(["a/b", "a-b/c", "a.b", "a0", "a b", "ab/c", "A", "é", "z"], b""))
    assert paths_of(scan(tmp_path)) == sorted(paths_of(scan(tmp_path)), key=str.encode)


@given(files=strategies.files())
@settings(max_examples=60)
def test_every_file_is_found_in_path_order(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as root:
        write(Path(root), files)
        found = scan(Path(root))
    assert paths_of(found) == list(files)
    assert found.listing.column("size").to_pylist() == [len(content) for content in files.values()]


def test_an_empty_directory_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = scan(tmp_path)
    assert found.listing.schema == LISTING
    assert (len(found.listing), found.metadata_paths, found.warnings) == (0, (), ())


def test_a_root_that_is_a_link_is_followed(tmp_path: Path) -> None:
    write(tmp_path, {"here/a": b"1"})
    (tmp_path / "link").symlink_to("here")
    (tmp_path / "here" / "b").symlink_to("a")
    assert paths_of(scan(tmp_path / "link")) == ["a", "b"]


def test_a_missing_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"No such directory: .*/nothing\. Name the"):
        scan(tmp_path / "nothing")


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"a": b""})
    with pytest.raises(InvalidInputError, match=r"Not a directory: .*/a\. Name the"):
        scan(tmp_path / "a")


def test_a_link_inside_counts_as_the_file_it_names(tmp_path: Path) -> None:
    write(tmp_path, {"data/a": b"123"})
    (tmp_path / "link").symlink_to("data/a")
    (tmp_path / "link2").symlink_to(tmp_path / "link")
    found = scan(tmp_path)
    assert paths_of(found) == ["data/a", "link", "link2"]
    assert found.listing.column("size").to_pylist() == [3, 3, 3]


def test_all_that_cannot_be_published_is_named_at_once(tmp_path: Path) -> None:
    root = tmp_path / "out"
    write(root, {"fine": b"", "ctl\n": b"", "c1\x85": b"", "dir/del\x7f": b"", "sub/x": b""})
    write(tmp_path, {"outside": b""})
    (root / "leaves").symlink_to("../outside")
    (root / "absolute").symlink_to("/etc/hostname" if Path("/etc/hostname").exists() else "/etc")
    (root / "broken").symlink_to("nothing")
    (root / "loop").symlink_to("loop")
    (root / "folder").symlink_to("sub")
    (root / "null").symlink_to("/dev/null")
    os.mkfifo(root / "pipe")
    (root / "to-pipe").symlink_to("pipe")
    (Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9"))).write_bytes(b"")
    (Path(os.fsdecode(os.fsencode(root) + b"/\xed\xa0\x80"))).write_bytes(b"")
    with pytest.raises(InvalidInputError) as caught:
        scan(root)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"Some names can't be published: {root}. Rename, replace or remove:"
    assert "fine" not in str(caught.value)
    told = dict(line.strip().split(": ", 1) for line in lines[1:])
    assert told == {
        "'ctl\\n'": "its name has a control character",
        "'c1\\x85'": "its name has a control character",
        "'dir/del\\x7f'": "its name has a control character",
        "'leaves'": f"a link out of the directory, to '{tmp_path}/outside'",
        "'absolute'": told["'absolute'"],
        "'broken'": "a link that leads nowhere (No such file or directory)",
        "'loop'": "a link that leads nowhere (Too many levels of symbolic links)",
        "'folder'": "a link to a folder; copy the folder, or link its files one by one",
        "'null'": "a link out of the directory, to '/dev/null'",
        "'pipe'": "a pipe, not a file",
        "'to-pipe'": "a pipe, not a file",
        "'caf\\\\xe9'": "its name is not UTF-8",
        "'\\\\xed\\\\xa0\\\\x80'": "its name is not UTF-8",
    }
    assert told["'absolute'"].startswith("a link out of the directory, to '/etc")


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket may have about 100 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        with pytest.raises(
            InvalidInputError, match=r"(?s)A name can't be published.*'s': a socket"
        ) as e:
            scan(tmp_path)
    assert e.value.subject == str(tmp_path)


def test_a_long_list_of_refused_names_is_cut(tmp_path: Path) -> None:
    write(tmp_path, {f"{at:02}\t": b"" for at in range(25)})
    with pytest.raises(InvalidInputError) as caught:
        scan(tmp_path)
    lines = str(caught.value).splitlines()
    assert len(lines) == 22
    assert lines[-1] == "  and 5 more"


def test_a_path_that_no_key_can_hold_is_refused(tmp_path: Path) -> None:
    folders = "/".join(["f" * 199] * 4)  # 799 bytes
    write(tmp_path, {f"{folders}/{'n' * 100}": b"", f"{folders}/{'n' * 101}": b""})
    with pytest.raises(InvalidInputError, match="its path has more than 900 bytes") as caught:
        scan(tmp_path)
    assert str(caught.value).count("900 bytes") == 1
    assert "n" * 101 in str(caught.value)


def test_a_deep_folder_is_refused_without_going_down(tmp_path: Path) -> None:
    write(tmp_path, {"/".join(["f" * 200] * 5) + "/a": b""})
    with pytest.raises(InvalidInputError, match="A name can't be published"):
        scan(tmp_path)


def test_what_cannot_be_read_is_refused() -> None:
    user = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:  # pytest's own let nobody else in
        root = Path(folder)
        root.chmod(0o755)
        write(root, {"closed/a": b"", "b": b"", "mine": b""})
        (root / "b").chmod(0)
        (root / "closed").chmod(0)
        (root / "mine").chmod(0o640)
        if user == 0:
            os.seteuid(65534)  # root reads everything
        try:
            with pytest.raises(InvalidInputError) as caught:
                scan(root)
        finally:
            os.seteuid(user)
            (root / "closed").chmod(0o700)
    assert str(caught.value).splitlines()[1:] == [
        "  'b': can't be read with the rights of this process",
        "  'closed': can't be listed (Permission denied)",
    ]


@pytest.mark.parametrize("twins", [("Cat.jpg", "cat.jpg"), ("é", "e\u0301"), ("straße", "STRASSE")])
def test_names_that_differ_in_case_or_encoding_alone_are_warned_of(
    tmp_path: Path, twins: tuple[str, str]
) -> None:
    write(tmp_path, {f"x/{name}": b"" for name in twins})
    found = scan(tmp_path)
    assert len(found.listing) == 2
    (warning,) = found.warnings
    assert all(repr(f"x/{name}") in warning for name in twins)
    assert "differ only in case or in how letters are encoded" in warning


def test_folders_can_be_twins_too(tmp_path: Path) -> None:
    write(tmp_path, {"Cats/1": b"", "cats/2": b""})
    assert "'Cats' and 'cats' differ only in case" in scan(tmp_path).warnings[0]


def test_metadata_files_are_told_apart(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "valohai.metadata.jsonl": b"",
            "a.txt": b"",
            "a.txt.metadata.json": b"{}",
            "sub/b.json": b"",
            "sub/b.json.metadata.json": b"no JSON at all",
            ".valohai.metadata.jsonl.3c1d": b"left by a killed write_metadata",
        },
    )
    found = scan(tmp_path)
    assert paths_of(found) == ["a.txt", "sub/b.json"]
    assert found.metadata_paths == (
        "a.txt.metadata.json", "sub/b.json.metadata.json", "valohai.metadata.jsonl",
    )  # fmt: skip
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("content", "is_data"),
    [
        (b'{"camera": "left"}', True),
        (b"no JSON", True),
        (b"[1]", True),
        (b'{"valohai.tags": []}', False),
        (b'{"valohai.dataset-versions": []}', False),
        (b'{"valohai.tags": "' + b"x" * (1 << 20) + b'"}', True),
    ],
)
def test_a_file_named_like_a_sidecar_is_data_unless_it_says_otherwise(
    tmp_path: Path, content: bytes, is_data: bool
) -> None:
    write(tmp_path, {"image.metadata.json": content, "image.jpg": b""})
    found = scan(tmp_path)
    assert ("image.metadata.json" in paths_of(found)) is is_data
    assert ("image.metadata.json" in found.metadata_paths) is not is_data


def test_metadata_below_the_root_is_a_file_and_warned_of(tmp_path: Path) -> None:
    write(tmp_path, {"sub/valohai.metadata.jsonl": b""})
    found = scan(tmp_path)
    assert paths_of(found) == ["sub/valohai.metadata.jsonl"]
    assert found.warnings == (
        (
            "'sub/valohai.metadata.jsonl' does not lie in the root: it counts as a file, and "
            "nothing in it is read as metadata"
        ),
    )


def test_a_metadata_file_that_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "valohai.metadata.jsonl")
    (tmp_path / "a.metadata.json").symlink_to("/etc/passwd")
    write(tmp_path, {"a": b""})
    with pytest.raises(InvalidInputError) as caught:
        scan(tmp_path)
    assert "'valohai.metadata.jsonl': a pipe, not a file" in str(caught.value)
    assert "'a.metadata.json': a link out of the directory" in str(caught.value)
