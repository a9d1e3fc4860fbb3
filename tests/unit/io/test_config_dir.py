"""Configuration on disk: what is found, what is left alone, and that a directory appears whole or not at all."""

import os
from pathlib import Path

import pytest

from mpio.config.files import Kind
from mpio.errors import InputError
from mpio.io import config_dir
from mpio.io.config_dir import read_configuration, write_directory

FILES = {
    "etc/iscsi/iscsid.conf": "node.startup = automatic\n",
    "etc/iscsi/nodes/iqn.2024-01.example:a/192.0.2.1,3260,1/default": "# BEGIN RECORD 2.1\n# END RECORD\n",
    "etc/multipath.conf": "defaults {\n}\n",
    "etc/multipath/conf.d/b.conf": "overrides {\n}\n",
    "etc/multipath/conf.d/a.conf": "overrides {\n}\n",
    "etc/passwd": "root:x:0:0\n",
    "var/lib/iscsi/nodes/iqn.2024-01.example:b/192.0.2.2,3260,1/default": "# BEGIN RECORD 2.0\n# END RECORD\n",
    "home/someone/multipath.conf": "defaults {\n}\n",
}


def make(top: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return top


def names(top: Path, *places: Path) -> dict[Kind, list[str]]:
    found = read_configuration(places or [top])
    assert not found.problems
    return {kind: [os.path.relpath(document.file, top) for document in documents]
            for kind, documents in found.documents.items()}


def test_a_root_directory_is_read_where_configuration_lies(tmp_path: Path) -> None:
    found = names(make(tmp_path, FILES))
    assert set(found) == {Kind.ISCSID, Kind.MULTIPATH, Kind.NODE_RECORD}
    assert found[Kind.MULTIPATH] == ["etc/multipath.conf", "etc/multipath/conf.d/a.conf", "etc/multipath/conf.d/b.conf"]
    assert len(found[Kind.NODE_RECORD]) == 2


def test_an_etc_directory_and_single_files_work_too(tmp_path: Path) -> None:
    make(tmp_path, FILES)
    assert Kind.ISCSID in names(tmp_path, tmp_path / "etc")
    assert names(tmp_path, tmp_path / "etc/multipath.conf") == {Kind.MULTIPATH: ["etc/multipath.conf"]}


def test_what_only_looks_like_a_file_counts_where_there_is_none(tmp_path: Path) -> None:
    make(tmp_path, {"show-config.txt": "defaults {\n}\n", "iscsiadm-node.txt": "# BEGIN RECORD 2.1.8\n# END RECORD\n"})
    assert names(tmp_path) == {Kind.NODE_RECORD: ["iscsiadm-node.txt"], Kind.MULTIPATH: ["show-config.txt"]}
    make(tmp_path, {"x-multipath.conf.txt": "defaults {\n}\n"})
    assert names(tmp_path)[Kind.MULTIPATH] == ["x-multipath.conf.txt"]


def test_files_come_in_the_order_in_which_they_are_read(tmp_path: Path) -> None:
    make(tmp_path, {"etc/sysctl.conf": "", "etc/sysctl.d/9.conf": "", "etc/sysctl.d/1.conf": "", "a/multipath.conf": "",
                    "A/etc/multipath/conf.d/x.conf": ""})
    found = names(tmp_path, tmp_path / "etc", tmp_path / "A", tmp_path / "a")
    assert found[Kind.SYSCTL] == ["etc/sysctl.d/1.conf", "etc/sysctl.d/9.conf", "etc/sysctl.conf"]
    assert found[Kind.MULTIPATH] == ["a/multipath.conf", "A/etc/multipath/conf.d/x.conf"]


def test_a_file_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    make(tmp_path, FILES)
    found = names(tmp_path, tmp_path, tmp_path / "etc/multipath.conf", tmp_path / "etc")
    assert found[Kind.MULTIPATH].count("etc/multipath.conf") == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing", "can't be read: No such file or directory"),
        ("etc/passwd", "expected one of the configuration files"),
        ("empty", "no configuration file was found below it"),
        ("fifo", "expected a file or a directory, found something else"),
        ("nul\0", "can't be read"),
    ],
)
def test_what_cannot_be_read_is_bad_input(name: str, words: str, tmp_path: Path) -> None:
    make(tmp_path, FILES)
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError) as caught:
        read_configuration([tmp_path / name])
    assert words in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_special_files_and_links_out_of_the_tree_are_left_alone(tmp_path: Path) -> None:
    top, outside = tmp_path / "copy", tmp_path / "outside"
    make(top, {"etc/multipath.conf": "defaults {\n}\n", "etc/real/iscsid.conf": "node.startup = manual\n"})
    make(outside, {"iscsid.conf": "node.startup = automatic\n", "multipath/conf.d/x.conf": "defaults {\n}\n"})
    (top / "etc/iscsi").mkdir()
    (top / "etc/iscsi/iscsid.conf").symlink_to(outside / "iscsid.conf")
    (top / "etc/multipath").symlink_to(outside / "multipath")
    (top / "etc/loop").symlink_to(top / "etc")
    (top / "etc/sysctl.conf").symlink_to("nowhere")
    os.mkfifo(top / "etc/corosync.conf")
    assert names(top) == {Kind.MULTIPATH: ["etc/multipath.conf"], Kind.ISCSID: ["etc/real/iscsid.conf"]}


def test_a_huge_file_is_a_problem_not_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_dir, "FILE_MAX_BYTES", 10)
    make(tmp_path, FILES)
    found = read_configuration([tmp_path / "etc"])
    assert found.count == 0
    assert {problem.message for problem in found.problems} == {"more than 0 MiB: not read"}


def test_a_huge_tree_ends_with_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_dir, "FILES_MAX", 3)
    found = read_configuration([make(tmp_path, FILES)])
    assert "the rest was left out" in found.problems[0].message


def test_a_directory_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "plan"
    write_directory(target, {"etc/a.conf": b"a", "run.sh": b"b"}, ["run.sh"])
    assert (target / "etc/a.conf").read_bytes() == b"a"
    assert (target / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (target / "etc/a.conf").stat().st_mode & 0o777 == 0o644
    assert [path.name for path in target.parent.iterdir()] == ["plan"]


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    target = tmp_path / "plan"
    target.mkdir()
    write_directory(target, {"a": b""})
    assert (target / "a").is_file()


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../x", "a/../../x", "a\0b"])
def test_nothing_is_written_outside(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not a name inside"):
        write_directory(tmp_path / "plan", {"fine": b"", name: b"x"})
    assert not list(tmp_path.iterdir())


def test_what_is_there_stays(tmp_path: Path) -> None:
    make(tmp_path, {"full/mine": "mine"})
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("full", "file", "link"):
        with pytest.raises(InputError, match="is there already"):
            write_directory(tmp_path / name, {"mine": b"yours"})
    with pytest.raises(InputError, match=r"can't be written: (Not a directory|File exists)"):
        write_directory(tmp_path / "file" / "x", {"mine": b"yours"})
    assert (tmp_path / "full/mine").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "full", "link"]


def test_a_name_that_is_also_a_directory_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be written"):
        write_directory(tmp_path / "plan", {"a": b"", "a/b": b""})
    assert not list(tmp_path.iterdir())
