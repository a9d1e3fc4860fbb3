"""cluster.conf in the eyes of ocfs2-tools: what our codec reads and edits is what `o2cb` finds in the file."""

import subprocess
from pathlib import Path

import pytest
from tests.peers import Missing, find

from mpio.config.document import Document, Section
from mpio.config.ocfs2 import parse

pytestmark = pytest.mark.interop
GOLDEN = Path(__file__).parents[1] / "golden" / "config" / "ocfs2" / "global-cluster.conf"
Settings = dict[tuple[Section, str], str]


def settings(document: Document) -> Settings:
    return {(entry.section, entry.key): entry.value for entry in document.entries()}


def by_stanza(found: Settings) -> list[dict[str, str]]:
    """Without the order of stanzas and of their lines, which o2cb does not keep."""
    stanzas: dict[Section, dict[str, str]] = {}
    for (section, key), value in found.items():
        stanzas.setdefault(section, {})[key] = value
    return sorted(stanzas.values(), key=lambda stanza: sorted(stanza.items()))


def o2cb(file: Path, *command: str) -> str:
    try:
        program = find("o2cb")
    except Missing as missing:
        pytest.skip(str(missing))
    done = subprocess.run([program, f"--config-file={file}", *command], capture_output=True, text=True, check=False,
                          timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("edits", [
    [],
    [(("node[1]",), "ip_port", "7778")],
    [(("node[0]",), "ip_address", "198.51.100.7"), (("node[1]",), "name", "other")],
    [(("heartbeat[0]",), "region", "00112233445566778899AABBCCDDEEFF")],
    [(("node[2]",), "name", "node2"), (("node[2]",), "number", "2"), (("node[2]",), "cluster", "web"),
     (("node[2]",), "ip_address", "192.0.2.3"), (("node[2]",), "ip_port", "7777"),
     (("cluster[0]",), "node_count", "3")],
])  # fmt: skip
def test_o2cb_reads_what_we_wrote(edits: list[tuple[Section, str, str]], tmp_path: Path) -> None:
    document: Document = parse("cluster.conf", GOLDEN.read_bytes())
    for section, key, value in edits:
        document = document.set(section, key, value)
    file = tmp_path / "cluster.conf"
    file.write_bytes(document.render())
    assert o2cb(file, "list-clusters").split() == ["web"]
    theirs = parse("o2cb", o2cb(file, "list-cluster", "web").encode())
    assert not theirs.problems
    assert by_stanza(settings(theirs)) == by_stanza(settings(document))


def test_we_read_what_o2cb_wrote(tmp_path: Path) -> None:
    file = tmp_path / "cluster.conf"
    file.write_bytes(b"")
    o2cb(file, "add-cluster", "lab")
    o2cb(file, "add-node", "lab", "n0", "--ip", "192.0.2.1", "--number", "3")
    o2cb(file, "add-node", "lab", "n1", "--ip", "192.0.2.2", "--port", "7780")
    document = parse("cluster.conf", file.read_bytes())
    assert not document.problems
    assert by_stanza(settings(document)) == by_stanza({
        ((stanza,), key): value for stanza, text in (
            ("cluster", "name=lab node_count=2 heartbeat_mode=local"),
            ("n0", "cluster=lab name=n0 number=3 ip_address=192.0.2.1 ip_port=7777"),
            ("n1", "cluster=lab name=n1 number=0 ip_address=192.0.2.2 ip_port=7780"),
        ) for key, value in (word.split("=") for word in text.split())
    })  # fmt: skip
