"""The control socket of a target that runs, and the configuration file, as a person uses them."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.command import Done, mpio
from tests.peers import MpioTarget


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control"


@pytest.fixture
def target(tmp_path: Path, path: Path) -> Iterator[MpioTarget]:
    with MpioTarget(tmp_path, options=["--control", str(path)]) as running:
        yield running


def ctl(path: Path, *words: object) -> Done:
    return mpio("target", "ctl", "--socket", path, *words)


def ask(path: Path, *lines: bytes) -> list[dict[str, object]]:
    """Send lines as they are; returns as many answers as come."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(path))
        sock.sendall(b"".join(lines))
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as answers:
            return [json.loads(line) for line in answers]


def test_orders_on_the_command_line(target: MpioTarget, path: Path) -> None:
    assert ctl(path, "add", "delay", "time=1ms", "opcode=write").out == "delay-1\n"
    assert "id=delay-1  name=delay  on=yes  time=1ms" in ctl(path, "filters").out
    assert ctl(path, "alua", 1, "non-optimized", "--preferred").code == 0
    (group,) = json.loads(ctl(path, "--json", "groups").out)["result"]
    assert (group["state"], group["preferred"], len(group["portals"])) == ("non-optimized", True, 2)
    assert ctl(path, "grow", 1, "128MiB").code == 0
    assert "size=128MiB" in ctl(path, "luns").out
    assert ctl(path, "offline", target.portals[0]).code == 0
    assert [line.rpartition("=")[2] for line in ctl(path, "portals").out.splitlines()] == ["no", "yes"]
    assert ctl(path, "remove", "delay-1").code == 0
    refused = ctl(path, "remove", "delay-1")
    assert (refused.code, refused.err) == (2, "mpio: there is no filter 'delay-1'\n")
    assert ctl(path, "tasks").out == ctl(path, "sessions").out == ctl(path, "log").out == ""
    assert ctl(path, "kick", 1).err == ctl(path, "logout", 1).err == "mpio: there is no session 1\n"
    assert ctl(path, "online", target.portals[0]).code == 0
    assert ctl(path, "redirect", target.portals[0], target.portals[1]).code == 0
    assert f"online=yes  redirect={target.portals[1]}  permanently=no" in ctl(path, "portals").out
    assert ctl(path, "redirect", target.portals[0]).code == 0
    assert "redirect" not in ctl(path, "portals").out
    assert "Target" not in mpio("discover", f"iscsi://{target.portals[0]}").err


def test_only_the_owner_can_open_it_and_it_goes_with_the_target(target: MpioTarget, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    target.signal(signal.SIGTERM)
    end = time.monotonic() + 10
    while path.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not path.exists()


def test_a_socket_in_use_is_left_alone_and_a_dead_one_is_replaced(
    target: MpioTarget, path: Path, tmp_path: Path
) -> None:
    command = ("target", "--portal", "127.0.0.1:0", "--lun", "1=ram:1MiB", "--control", path)
    assert "another target uses it" in mpio(*command).err
    assert ctl(path, "luns").code == 0
    target.signal(signal.SIGKILL)
    (tmp_path / "second").mkdir()
    with MpioTarget(tmp_path / "second", options=["--control", str(path)]):
        assert ctl(path, "luns").code == 0


def test_many_lines_get_as_many_answers_and_rubbish_harms_nobody(target: MpioTarget, path: Path) -> None:
    answers = ask(path, b'{"do": "luns"}\n', b"rubbish\n", b"[" * 100_000 + b"\n", b"\xff\n", b'{"do": "groups"}\n')
    assert [answer["ok"] for answer in answers] == [True, False, False, False, True]
    with pytest.raises(OSError, match=r"Broken pipe|reset"):  # a line without end
        ask(path, b"x" * (16 << 20))
    assert ctl(path, "luns").code == 0


def test_too_many_conversations_are_refused(target: MpioTarget, path: Path) -> None:
    held = []
    for _ in range(40):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(str(path))
        held.append(sock)
    assert held[39].recv(1) == b""
    for sock in held:
        sock.close()
    end = time.monotonic() + 10
    while ctl(path, "luns").code and time.monotonic() < end:
        time.sleep(0.05)
    assert ctl(path, "luns").code == 0


def test_a_target_from_a_file(tmp_path: Path, path: Path) -> None:
    config = tmp_path / "disk.toml"
    config.write_text(f"""
        [target]
        name = "iqn.2026-01.example:file"
        control = "{path}"
        [[portal]]
        address = "127.0.0.1:0"
        [[portal]]
        address = "127.0.0.1:0"
        group = 2
        [[group]]
        tag = 2
        state = "standby"
        [[lun]]
        number = 3
        store = "ram:8MiB"
        bs = 4096
        [[filter]]
        name = "error"
        id = "broken"
        after = "1h"
    """)
    command = [sys.executable, "-m", "mpio.cli.main", "target", "--config", str(config), "--lun", "4=ram:1MiB"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline().partition(" ")[2])
            assert (ready["target"], ready["luns"]) == ("iqn.2026-01.example:file", [3, 4])
            assert [portal["tpgt"] for portal in ready["portals"]] == [1, 2]
            groups = json.loads(ctl(path, "--json", "groups").out)["result"]
            assert [row["state"] for row in groups] == ["optimized", "standby"]
            (filter_,) = json.loads(ctl(path, "--json", "filters").out)["result"]
            assert (filter_["id"], filter_["on"]) == ("broken", False)
        finally:
            os.kill(process.pid, signal.SIGTERM)


def test_initiators_of_a_file_each_with_a_secret_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "a.secret").write_text("joe a-secret-of-16-b\n")
    config = tmp_path / "disk.toml"
    config.write_text(f"""
[[initiator]]
name = "iqn.2026-01.example:a"
chap = "{tmp_path}/a.secret"

[[initiator]]
name = "iqn.2026-01.example:b"
""")

    with MpioTarget(tmp_path, options=["--config", str(config)]) as guarded:
        def code(name: str, user: str = "") -> int:
            url = guarded.url(user=user)
            return mpio("bench", url, "--seconds", "0.1", "--set", f"initiator_name={name}").code

        assert code("iqn.2026-01.example:a", "joe%a-secret-of-16-b") == 0
        assert code("iqn.2026-01.example:a") != 0
        assert code("iqn.2026-01.example:a", "joe%another-secret-2") != 0
        assert code("iqn.2026-01.example:b") == 0
        assert code("iqn.2026-01.example:c") != 0


def test_a_log_that_can_t_be_written_stops_no_command(tmp_path: Path) -> None:
    options = ["--filter", "log", "--log", "/dev/full"]
    with MpioTarget(tmp_path, options=options) as target:
        assert mpio("bench", target.url(), "--seconds", "0.2", "--json").code == 0
        assert "the log ends here" in target.words()


def test_a_mistake_in_the_file_is_shown_where_it_is(tmp_path: Path) -> None:
    config = tmp_path / "disk.toml"
    config.write_text("[[lun]]\nnumber = 1\nstore = 'ram:1MiB'\n\n[[filter]]\nname = 'delay'\ntime = 'soon'\n")
    done = mpio("target", "--config", config)
    assert done.code == 2
    assert done.err.startswith(f"mpio: {config}:7: [[filter]] 1 time: expected a duration")
