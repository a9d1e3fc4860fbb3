"""The command line as a stranger would use it: whatever is wrong, one clear line, the right exit code, and an end."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.command import Done, mpio
from tests.peers import MpioTarget

OK, FAILED, USAGE, UNKNOWN = 0, 1, 2, 3
LIMIT_S = 15.0
NAME = "iqn.2026-01.dev.mpio.peer:mpio"
USER, SECRET = "joe", "a-secret-of-16-b"
QUIET = ("--seconds", "0.1")

Serve = Callable[[socket.socket], None]


def complaint(done: Done, code: int) -> str:
    """The one line that was said."""
    assert done.code == code, done.out + done.err
    assert done.err.startswith("mpio: "), done.err
    assert done.err.count("\n") == 1, done.err
    assert "Traceback" not in done.out
    assert len(done.err) < 500
    assert done.left == []
    return done.err


def run(*arguments: object, code: int = USAGE, **options: str) -> str:
    """Run a command that must fail soon, and leave no process behind. Returns what it says."""
    return complaint(mpio(*arguments, timeout_s=LIMIT_S, environment=options), code)


# --- portals that are none


@contextlib.contextmanager
def server(serve: Serve) -> Iterator[int]:
    """A listening port; each connection is handed to `serve`, and kept open until the end."""
    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connections.append(connection)
                    with contextlib.suppress(OSError):
                        serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()


def say_nothing(connection: socket.socket) -> None:
    """A portal that accepts and never answers."""


def close_in_mid_login(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.close()


def close_at_once(connection: socket.socket) -> None:
    connection.close()


def speak_http(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nContent-Length: 4\r\n\r\nbad\n")


def speak_first(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n" * 4)


def send_zeros(connection: socket.socket) -> None:
    for _ in range(64):
        connection.sendall(bytes(65536))


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


SERVERS = [
    (say_nothing, "did not answer the login within 2 s"),
    (close_in_mid_login, "closed by the peer"),
    (close_at_once, ""),  # closed or reset, as it happens
    (speak_http, "does not answer as an iSCSI target does"),
    (speak_first, "does not answer as an iSCSI target does"),
    (send_zeros, "does not answer as an iSCSI target does"),
]


@pytest.fixture(scope="module")
def one_step(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scenario for one path."""
    path = tmp_path_factory.mktemp("scenario") / "wait.toml"
    path.write_text('[[step]]\naction = "wait"\nduration = "0.1s"\n')
    return path


@pytest.mark.parametrize(("serve", "words"), SERVERS, ids=lambda value: getattr(value, "__name__", ""))
def test_portals_that_do_not_speak_iscsi(serve: Serve, words: str, one_step: Path, tmp_path: Path) -> None:
    with server(serve) as port:
        for arguments in (
            ("bench", f"iscsi://127.0.0.1:{port}/{NAME}/1", *QUIET),
            ("discover", f"127.0.0.1:{port}"),
            ("drill", one_step, f"iscsi://127.0.0.1:{port}/{NAME}/1", "--quiet", "--out", tmp_path),
        ):
            said = run(*arguments, code=UNKNOWN)
            assert words in said
            assert f"127.0.0.1:{port}" in said


def test_a_portal_that_nobody_listens_on(one_step: Path, tmp_path: Path) -> None:
    port = closed_port()
    url = f"iscsi://127.0.0.1:{port}/{NAME}/1"
    for arguments in (("bench", url, *QUIET), ("discover", f"127.0.0.1:{port}")):
        said = run(*arguments, code=UNKNOWN)
        assert f"127.0.0.1:{port}: connection refused" in said
    said = run("drill", one_step, url, "--quiet", "--out", tmp_path, code=UNKNOWN)
    assert f"127.0.0.1:{port}" in said
    said = run("bench", "iscsi://no-such-host.invalid/iqn.2026-01.x:y/1", code=UNKNOWN)
    assert "no-such-host.invalid" in said


# --- a target that is one, and things about it that are wrong


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MpioTarget]:
    with MpioTarget(tmp_path_factory.mktemp("target"), "1=ram:64MiB", "2=ram:64MiB") as running:
        yield running


def test_luns_and_targets_that_are_not_there(target: MpioTarget, one_step: Path, tmp_path: Path) -> None:
    assert "LUN 7 does not exist" in run("bench", target.url(lun=7))
    assert "LUN 7 does not exist" in run("drill", one_step, target.url(lun=7), "--quiet", "--out", tmp_path)
    assert "no such target" in run("bench", target.url(target=f"{target.target}.not"))


def test_two_portals_with_different_luns(target: MpioTarget, tmp_path: Path) -> None:
    for arguments in (("bench", *QUIET), ("drill", "--quiet", "--out", tmp_path)):
        said = run(*arguments, target.url(1, lun=1), target.url(2, lun=2))
        assert f"iscsi://{target.portals[0]}" in said or f"iscsi://{target.portals[1]}" in said
        assert "it leads to the LU 36" in said
        assert "the map is 36" in said


def test_wrong_chap_secrets(tmp_path: Path) -> None:
    secrets = tmp_path / "chap"
    secrets.write_text(f"{USER} {SECRET}\n")
    with MpioTarget(tmp_path, options=["--chap", str(secrets)]) as guarded:
        bench = ("bench", guarded.url(), *QUIET)
        right = mpio(*bench, "--user", USER, environment={"MPIO_CHAP_SECRET": SECRET})
        assert right.code == OK, right.err
        discover = ("discover", guarded.portals[0])
        for said in (
            run(*bench),
            run("bench", guarded.url(user=f"{USER}%not-the-secret"), *QUIET),
            run("bench", guarded.url(user=f"bob%{SECRET}"), *QUIET),
            run(*bench, "--user", USER, MPIO_CHAP_SECRET="not-the-secret"),
            run(*discover),
            run(*discover, "--user", USER, MPIO_CHAP_SECRET="not-the-secret"),
        ):
            assert "authentication failed" in said
            assert "not-the-secret" not in said
            assert SECRET not in said


def test_secrets_do_not_get_into_the_run_directory(tmp_path: Path, one_step: Path) -> None:
    secrets = tmp_path / "chap"
    secrets.write_text(f"{USER} {SECRET}\nthe-target the-other-secret-1\n")
    out = tmp_path / "out"
    with MpioTarget(tmp_path, options=["--chap", str(secrets)]) as guarded:
        url = guarded.url(user=f"{USER}%{SECRET}")
        mutual = ("--set", "username_in=the-target", "--set", "password_in=the-other-secret-1")
        done = mpio("drill", one_step, url, *mutual, "--quiet", "--out", out, "--duration", "0.1s")
    assert done.code == OK, done.out + done.err
    for path in out.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert SECRET.encode() not in content, path
        assert b"the-other-secret-1" not in content, path


def test_a_path_that_is_not_there_is_said(target: MpioTarget) -> None:
    done = mpio("bench", target.url(), "--portal", f"127.0.0.1:{(port := closed_port())}", *QUIET)
    assert f"without path 2, iscsi://127.0.0.1:{port}/" in complaint(done, OK)
    assert "1 path(s)" in done.out


def test_writing_needs_a_yes(target: MpioTarget, one_step: Path, tmp_path: Path) -> None:
    for mode in ("--write", "--mixed"):
        assert "--yes" in run("bench", target.url(), mode)
    drill = ("drill", one_step, target.url(), "--quiet", "--out", tmp_path)
    assert "will be overwritten" in run(*drill, "--scratch", "0+1MiB")
    assert "OFFSET+LENGTH" in run(*drill, "--scratch", "1MiB", "--yes")
    assert "64 MiB" in run(*drill, "--scratch", "1GiB+1MiB", "--yes").replace("67108864 bytes", "64 MiB")
    assert "whole blocks" in run(*drill, "--scratch", "1+1MiB", "--yes")
    assert "scratch" in run("drill", one_step, "--scratch", "0+1MiB", "--yes", "--quiet", "--out", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--profile", "fastest"), "'aggressive', 'fast', 'linux', 'sles10'"),
        (("--set", "noop_interval=5"), "noop_interval: there is no such setting"),
        (("--set", "noop_out_interval"), "expected NAME=VALUE"),
        (("--set", "noop_out_interval=soon"), "expected a duration such as '300ms' or '25s', found 'soon'"),
        (("--set", "noop_out_interval=-1"), "expected a number from 0, found -1"),
        (("--set", "path_selector=best"), "round-robin, queue-length, service-time; found 'best'"),
        (("--set", "queue_depth=many"), "queue_depth: expected a number, found 'many'"),
        (("--set", f"queue_depth={'9' * 50}"), "queue_depth: expected at most"),
        (("--set", "fence=preempt"), "needs reservation_key"),
        (("--set", "chap_algs=MD4"), "SHA3-256, SHA256, SHA1, MD5"),
        (("--block-size", "0"), "block size"),
        (("--block-size", "1000"), "multiple of 512"),
        (("--block-size", "1TiB"), "at most 67108864"),
        (("--block-size", "4 parsecs"), "the unit 'parsecs'"),
        (("--queue-depth", "0"), "--queue-depth"),
        (("--seconds", "-1"), "--seconds"),
        (("--portal", "127.0.0.1:x"), "expected a port from 1 to 65535, found 'x'"),
        (("--user", "joe"), "needs --secret-file or the environment variable MPIO_CHAP_SECRET"),
        (("--user", "joe", "--secret-file", "/nonexistent"), "/nonexistent: can't read the secret"),
        (("--user", "joe", "--secret-file", "/"), "/: can't read the secret"),
        (("--bind", "127.0.0.1", "--bind", "127.0.0.1"), "2 bindings for 1 path"),
        (("--frob",), "--frob"),
    ],
)
def test_options_of_bench(target: MpioTarget, arguments: tuple[str, ...], words: str) -> None:
    assert words in run("bench", target.url(), *arguments)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "expected iscsi://host[:port]/target-name/lun"),
        ("http://127.0.0.1/x/1", "expected iscsi://host[:port]/target-name/lun"),
        ("iscsi://", "expected host[:port]"),
        ("iscsi://127.0.0.1", "expected /target-name/lun"),
        ("iscsi://127.0.0.1/iqn.2026-01.x:y", "expected /target-name/lun"),
        ("iscsi://127.0.0.1/disk/1", "an iSCSI name starts with iqn., eui. or naa.; found 'disk'"),
        ("iscsi://127.0.0.1/iqn.2026-01.x:y/one", "expected a LUN from 0 to 16383, found 'one'"),
        ("iscsi://127.0.0.1/iqn.2026-01.x:y/99999", "expected a LUN from 0 to 16383, found '99999'"),
        ("iscsi://127.0.0.1:0/iqn.2026-01.x:y/1", "expected a port from 1 to 65535, found '0'"),
        ("iscsi://joe%the-secret@127.0.0.1:70000/iqn.2026-01.x:y/1", "expected a port from 1 to 65535"),
        ("iscsi://::1/iqn.2026-01.x:y/1", "an IPv6 address stands in brackets"),
    ],
)
def test_urls(url: str, words: str) -> None:
    said = run("bench", url)
    assert words in said
    assert "the-secret" not in said
    if url.startswith("iscsi:"):
        assert words in run("drill", url)


# --- scenarios


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[scenario\nname = 'x'\n", "x.toml:1: expected TOML"),
        ("\n[target]\nportal = 3\n", "x.toml:3: [target] portal: there is no such key (did you mean 'portals'?)"),
        ("[targets]\nportals = 3\n", "there is no section 'targets' (did you mean 'target'?)"),
        ("[[step]]\naction = 'wait'\nduration = '3 parsecs'\n", "x.toml:3: [[step]] 1 duration"),
        ("[[step]]\naction = 'wait'\nduration = '3 parsecs'\n", "the unit 'parsecs'"),
        ("[target]\nsize = '64MB/s'\n", "expected a size such as '4KiB' or '64MiB'"),
        ("[[step]]\naction = 'inject'\nfault = 'meteor'\n", "expected one of blackhole"),
        ("[settings]\nprofile = 'fastest'\n", "expected one of fast, linux"),
        ("[settings]\nnoop_out_interval = 'soon'\n", "expected a duration"),
        ("[settings]\nnoop_interval = 5\n", "noop_interval: there is no such setting"),
        ("[settings]\npassword = 'abc'\n", "a secret does not belong in a scenario file"),
        ("[target]\nprogram = 'tgtd'\n", "tgtd has only 'file', found 'ram'"),
        ("name = 'a\0b'", "expected TOML"),
    ],
)
def test_scenarios(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(content)
    assert words in run("drill", path, "--out", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("defualt",), "did you mean 'default'?"),
        (("nowhere.toml",), "nowhere.toml: the scenario can't be read: No such file or directory"),
        (("/",), "/: the scenario can't be read: Is a directory"),
        (("default", "quiet"), "expected one scenario"),
        (("quiet", "--portal", "127.0.0.1"), "needs the URL of a LUN"),
        (("quiet", "--set", "noop_out_interval=soon"), "expected a duration"),
        (("quiet", "--duration", "long"), "--duration"),
        (("quiet", "--cuts", "axe"), "'relay', 'netns', 'none'"),
        (("quiet", "--runs", "0"), "--runs"),
        (("quiet", "--out", "/dev/null/x"), "the run directory can't be made"),
        (("iscsi://127.0.0.1/iqn.2026-01.x:y/1",), "is about path 2, and there is 1 path"),
    ],
)
def test_arguments_of_drill(arguments: tuple[str, ...], words: str, tmp_path: Path,
                            monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert words in run("drill", *arguments)


# --- our target


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--lun"),
        (("--lun", "disk"), "expected N=ram:SIZE, file:PATH, nbd://HOST[:PORT]/EXPORT"),
        (("--lun", "1=tape:1MiB"), "expected ram:SIZE, file:PATH"),
        (("--lun", "1=file"), "expected ram:SIZE, file:PATH"),
        (("--lun", "-1=ram:1MiB"), "found '-1=ram:1MiB'"),
        (("--lun", "²=ram:1MiB"), "found '²=ram:1MiB'"),
        (("--lun", "1=ram:1MiB,direct"), "direct is for file:PATH, found 'ram:1MiB'"),
        (("--lun", "1=nbd://127.0.0.1:1/x"), "nbd://127.0.0.1:1/x: can't connect: Connection refused"),
        (("--lun", "1=nbds://127.0.0.1/x"), "NBD over TLS is not offered"),
        (("--lun", "1=cow:/nonexistent/disk"), "/nonexistent/disk: can't be opened: No such file or directory"),
        (("--lun", "1=ram:lots"), "expected a size such as '4KiB' or '64MiB', found 'lots'"),
        (("--lun", "1=ram:0"), "--lun 1=ram:0"),
        (("--lun", "1=ram:1000"), "not a whole number of blocks of 512"),
        (("--lun", "1=ram:1MiB,bs=777"), "expected a block size of 512 or 4096 bytes, found 777"),
        (("--lun", "1=ram:1MiB,bs=x"), "expected a block size of 512 or 4096 bytes, found 'x'"),
        (("--lun", "1=ram:1MiB,frob=1"), "'frob'"),
        (("--lun", "1=ram:1MiB,wwid=5"), "expected a WWID of 32 hexadecimal digits that begins with 6, found '5'"),
        (("--lun", "1=file:/nonexistent/disk"), "/nonexistent/disk: can't be opened: No such file or directory"),
        (("--lun", "1=file:/"), "Is a directory"),
        (("--lun", "99999=ram:1MiB"), "expected a LUN from 0 to 16383, found 99999"),
        (("--lun", "1=ram:1MiB", "--lun", "1=ram:1MiB"), "LUN 1 is there already"),
        (("--lun", "1=ram:1MiB", "--portal", "x:y"), "expected a port from 1 to 65535, found 'y'"),
        (("--lun", "1=ram:1MiB", "--portal", "127.0.0.1:0,0"), "expected a portal group from 1 to 65535"),
        (("--lun", "1=ram:1MiB", "--portal", "no-such-host.invalid:0"), "no-such-host.invalid"),
        (("--lun", "1=ram:1MiB", "--portal", "192.0.2.1:0"), "is not loopback"),
        (("--lun", "1=ram:1MiB", "--portal", "0.0.0.0:0"), "is not loopback"),
        (("--lun", "1=ram:1MiB", "--portal", "[::]:0"), "is not loopback"),
        (("--lun", "1=ram:1MiB", "--name", "disk"), "an iSCSI name starts with"),
        (("--lun", "1=ram:1MiB", "--chap", "/nonexistent"), "/nonexistent: can't read it"),
        (("--lun", "1=ram:1MiB", "--plant", "lost"), "--plant"),
        (("--lun", "1=ram:1MiB", "--plant", "gone:3"), "lost, stale, torn"),
        (("--lun", "1=ram:1MiB", "--filter", "delai"), "--filter: expected a filter: delay, hang"),
        (("--lun", "1=ram:1MiB", "--filter", "delay 1s"), "--filter: expected KEY=VALUE, found '1s'"),
        (("--lun", "1=ram:1MiB", "--filter", "delay 'x"), "--filter: No closing quotation"),
        (("--lun", "1=ram:1MiB", "--filter", ""), "--filter: expected the name of a filter"),
        (("--lun", "1=ram:1MiB", "--filter", "alua-flap target-group=3"), "there is no portal group 3"),
        (("--lun", "1=ram:1MiB", "--config", "/nonexistent"), "/nonexistent: can't read it: No such file"),
        (("--lun", "1=ram:1MiB", "--control", "/nonexistent/x"), "can't be a control socket: No such file"),
        (("--lun", "1=ram:1MiB", "--control", "/dev/null"), "can't be a control socket: a file of that name is there"),
        (("--lun", "1=ram:1MiB", "--control", "/tmp/" + "x" * 120), "expected a path of at most 107 bytes"),
        (("--lun", "1=ram:1MiB", "--log", "/nonexistent/x"), "/nonexistent/x: can't be written: No such file"),
        (("ctl", "luns"), "Missing option '--socket'"),
        (("ctl", "--socket", "/nonexistent", "luns"), "/nonexistent: no target listens there: No such file"),
        (("ctl", "--socket", "/nonexistent", "add", "delay", "1s"), "expected KEY=VALUE"),
    ],
)
def test_arguments_of_target(arguments: tuple[str, ...], words: str) -> None:
    assert words in run("target", *arguments)


def test_a_port_that_is_taken(target: MpioTarget) -> None:
    said = run("target", "--lun", "1=ram:1MiB", "--portal", target.portals[0])
    assert f"can't listen on {target.portals[0]}: address already in use" in said


@pytest.mark.parametrize(
    "content",
    ["", "joe", "joe the-secret-of-joe and-more", "a the-secret-a\nb the-secret-b\nc the-secret-c", "joe ünter\udcff"],
)
def test_chap_files(tmp_path: Path, content: str) -> None:
    path = tmp_path / "chap"
    path.write_bytes(content.encode(errors="surrogateescape"))
    said = run("target", "--lun", "1=ram:1MiB", "--portal", "127.0.0.1:0", "--chap", path)
    assert f"{path}: " in said
    assert "the-secret" not in said


# --- the rest


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("frobnicate",), "frobnicate"),
        (("bench",), "URL"),
        (("discover",), "HOST"),
        (("discover", "127.0.0.1:x"), "expected a port"),
        (("discover", "iscsi://127.0.0.1/"), "127.0.0.1"),
        (("report",), ""),
        (("report", "/nonexistent"), "/nonexistent"),
        (("report", "/dev"), "/dev"),
    ],
)
def test_verbs(arguments: tuple[str, ...], words: str) -> None:
    assert words in run(*arguments)
