"""What is rendered is what is then in force, whatever the person's own files had said."""

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mpio.config.document import Document
from mpio.config.effective import Device, Host, effective
from mpio.config.files import Kind, parse
from mpio.config.render import Rendered, render_files

VERSION = (0, 9, 7)
OWN = {
    "noop_out_interval": st.integers(1, 60), "noop_out_timeout": st.integers(1, 60),
    "login_timeout": st.integers(1, 60), "replacement_timeout": st.integers(1, 600),
    "abort_timeout": st.integers(1, 60),
    "fast_io_fail_tmo": st.integers(1, 20), "no_path_retry": st.integers(10, 100) | st.sampled_from(["fail", "queue"]),
    "polling_interval": st.integers(4, 9), "max_polling_interval": st.integers(20, 40),
    "failback": st.sampled_from(["immediate", "manual"]) | st.integers(1, 99),
    "path_selector": st.sampled_from(["queue-length 0", "round-robin 0"]),
    "o2cb.heartbeat_threshold": st.integers(7, 200), "o2cb.idle_timeout_ms": st.integers(5000, 99_999),
    "sbd.io_timeout": st.integers(4, 30), "sbd.pacemaker": st.booleans(), "sbd.delay_start": st.integers(2, 300),
    "corosync.token_ms": st.integers(1000, 60_000), "corosync.consensus_ms": st.integers(72_000, 99_000),
    "sanlock.io_timeout": st.integers(2, 60),
    "heartbeat.deadtime": st.integers(2, 200), "heartbeat.warntime": st.integers(1, 50),
}
MULTIPATH_LINES = (
    "polling_interval 10", "max_polling_interval 30", "no_path_retry queue", "no_path_retry 3", "fast_io_fail_tmo off",
    "fast_io_fail_tmo 9", "failback 7", 'path_selector "service-time 0"', "user_friendly_names yes", "# remark", "",
    'features "1 queue_if_no_path"',
)
PROTOCOL = '\tprotocol {\n\t\ttype "scsi:iscsi"\n\t\tfast_io_fail_tmo 33\n\t}'
LINES = {
    Kind.ISCSID: ("node.conn[0].timeo.noop_out_interval = 17", "node.conn[0].timeo.noop_out_interval=3", "# remark", "",
                  "node.session.timeo.replacement_timeout = 120", "node.startup = manual"),
    Kind.O2CB: ("O2CB_HEARTBEAT_THRESHOLD=31", "O2CB_IDLE_TIMEOUT_MS='30000'", "O2CB_ENABLED=true", "# remark"),
    Kind.SBD: ("SBD_PACEMAKER=no", 'SBD_OPTS="-W -I 7"', "SBD_OPTS=", 'SBD_DEVICE="/dev/a"', "# remark"),
    Kind.SANLOCK: ("io_timeout = 7", "use_watchdog = 1", "# remark"),
    Kind.HA_CF: ("deadtime 9", "deadtime 5000ms", "warntime 4", "node a", "# remark"),
}


def block(name: str, lines: list[str]) -> str:
    return "\n".join([f"{name} {{", *(f"\t{line}" for line in lines), "}\n"])


@st.composite
def multipath(draw: st.DrawFn) -> str:
    some = st.lists(st.sampled_from(MULTIPATH_LINES), max_size=6)
    overrides = draw(some) + draw(st.sampled_from([[], [PROTOCOL]]))
    device = block("\tdevice", ['vendor "LIO-ORG"', 'product ".*"', *draw(some)])
    parts = [block("defaults", draw(some)), block("overrides", overrides), block("devices", [device])]
    return "".join(draw(st.lists(st.sampled_from(parts), max_size=4)))


@st.composite
def files(draw: st.DrawFn) -> dict[Kind, list[Document]]:
    found: dict[Kind, list[Document]] = {}
    if draw(st.booleans()):
        names = ["etc/multipath.conf", "etc/multipath/conf.d/a.conf", "etc/multipath/conf.d/z.conf"]
        found[Kind.MULTIPATH] = [parse(name, draw(multipath()).encode(), Kind.MULTIPATH)
                                 for name in names[:draw(st.integers(1, 3))]]
    if draw(st.booleans()):
        token = draw(st.sampled_from(["", "\ttoken: 900\n", "\ttoken: 900\n\tconsensus: 5000\n"]))
        text = f"totem {{\n\tversion: 2\n{token}}}\n"
        found[Kind.COROSYNC] = [parse("etc/corosync/corosync.conf", text.encode(), Kind.COROSYNC)]
    for kind, lines in LINES.items():
        if draw(st.booleans()):
            text = "\n".join(draw(st.lists(st.sampled_from(lines), max_size=6))) + draw(st.sampled_from(["", "\n"]))
            found[kind] = [parse(f"etc/{kind}", text.encode(), kind)]
    return found


def after(
    documents: dict[Kind, list[Document]], rendered: tuple[Rendered, ...], *, edits_only: bool = False
) -> dict[Kind, list[Document]]:
    """The host's files once what was rendered is in its place."""
    edits = {item.before.file: item.data for item in rendered if item.before is not None}
    found = {kind: [parse(document.file, edits.get(document.file, document.render()), kind) for document in some]
             for kind, some in documents.items()}
    for item in rendered:
        if item.before is None and not edits_only:
            kind = next(kind for kind in Kind if str(kind) in item.path.replace("ha.cf", "ha_cf"))
            found[kind] = [parse(item.path.removesuffix(".lines"), item.data, kind)]
    return found


@hypothesis_settings(max_examples=100, deadline=None)
@given(documents=files(), settings=st.fixed_dictionaries({}, optional=OWN))
def test_what_is_rendered_is_in_force(documents: dict[Kind, list[Document]], settings: dict[str, object]) -> None:
    reasons = dict.fromkeys(settings, "because")
    then = after(documents, render_files(settings, reasons, {}, documents, VERSION))
    host = effective(Host(documents=then, device=Device("LIO-ORG", "disk"), multipath_tools=VERSION))
    assert {name: host.values[name].value for name in settings} == settings


@hypothesis_settings(max_examples=40, deadline=None)
@given(documents=files(), settings=st.fixed_dictionaries({}, optional=OWN))
def test_what_was_not_asked_for_stays(documents: dict[Kind, list[Document]], settings: dict[str, object]) -> None:
    def values(some: dict[Kind, list[Document]]) -> dict[str, object]:
        found = effective(Host(documents=some, device=Device("LIO-ORG", "disk"), multipath_tools=VERSION)).values
        return {name: item.value for name, item in found.items()}

    before = values(documents)
    rendered = render_files(settings, dict.fromkeys(settings, "because"), {}, documents, VERSION)
    then = values(after(documents, rendered, edits_only=True))  # a file of lines alone is not what a host has
    concerned = {*settings, "max_polling_interval", "polling_interval", "recovery_tmo"}  # or follows from the others
    assert {name: then[name] for name in before if name not in concerned} == {
        name: value for name, value in before.items() if name not in concerned
    }
