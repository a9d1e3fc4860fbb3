"""corosync.conf: totem's timers, quorum, the quorum device, nodes, logging.

Sources: corosync.conf(5), votequorum(5), corosync-qdevice(8); corosync exec/coroparse.c (names, types),
exec/totemconfig.c (defaults, least values at 100 Hz).
"""

from mpio.config.files import Kind
from mpio.config.schema.key import Default, Key, Schema, Type

_MAN = "corosync.conf(5)"
_TOTEM = "corosync exec/totemconfig.c"
_VOTE = "votequorum(5)"
_QDEVICE = "corosync-qdevice(8)"
_UINT_MAX = 2**32 - 1
_ON_OFF = ("yes", "no", "on", "off")
_ONE_ZERO = ("1", "0")
_OLD = "of corosync 1 or 2; corosync 3 ignores it"


def _totem(
    name: str, meaning: str, default: str | None, *, unit: str = "ms", low: int = 30, high: int = _UINT_MAX,
    feeds: str = "", others: tuple[Default, ...] = (), words: tuple[tuple[str, str], ...] = (), ignored: str = "",
    note: str = "",
) -> Key:
    return Key(
        name, meaning, unit=unit, low=low, high=high, default=default, others=others, words=words, feeds=feeds,
        ignored=ignored, note=note, sections=("totem",), source=f"{_MAN}, {_TOTEM}",
    )


def _text(section: str, names: str, meaning: str, *, source: str = _MAN, secret: bool = False) -> tuple[Key, ...]:
    return tuple(
        Key(name, meaning, Type.TEXT, sections=(section,), source=source, secret=secret) for name in names.split()
    )


def _flag(section: str, name: str, meaning: str, default: str, choices: tuple[str, ...] = _ON_OFF) -> Key:
    source = _VOTE if section == "quorum" else _MAN
    return Key(name, meaning, Type.BOOLEAN, choices=choices, default=default, sections=(section,), source=source)


_TIMERS = (
    _totem(
        "token", "How long the token may stay away before it counts as lost; base of the effective token.", "3000",
        feeds="corosync.token_ms",
        others=(Default("1000", before=(3, 1), note="until October 2020"),), note="SUSE's guides set 5000.",
    ),
    _totem(
        "token_coefficient",
        "Added to token for each node past the second, from three nodes in the nodelist on.", "650", low=0,
        feeds="corosync.token_coefficient_ms",
    ),
    _totem(
        "consensus", "How long agreement on a new membership may take; at least 1.2 times the effective token.", None,
        feeds="corosync.consensus_ms", others=(Default(None, note="which is 1.2 times the effective token"),),
    ),
    _totem(
        "token_retransmits_before_loss_const", "How many retransmissions of the token are tried before it is lost.",
        "4", unit="retransmissions", low=0,
    ),
    _totem("token_retransmit", "When an unseen token is sent again.", None,
           others=(Default(None, note="which is token / (retransmits + 0.2)"),)),
    _totem("token_warning", "Part of the token after which its absence is logged.", "75", unit="percent", low=0,
           high=100, words=(("0", "never"),)),
    _totem("hold", "How long an idle token is held.", None, low=14,
           others=(Default(None, note="which is 0.8 times token_retransmit, less a tick"),)),
    _totem("join", "How long to wait for join messages.", "50"),
    _totem("send_join", "Bound of a random wait before a join message.", "0", low=0),
    _totem("merge", "Pause before looking for another partition when no traffic flows.", "200"),
    _totem("downcheck", "Pause before looking whether an interface is up again.", "1000"),
    _totem("max_network_delay", "What a packet takes, for heartbeat_failures_allowed.", "50"),
    _totem("heartbeat_failures_allowed", "Missed heartbeats before a node counts as failed; 0 turns that off.", "0",
           unit="heartbeats", low=0),
    _totem("fail_recv_const", "Rotations without an expected message before a new membership.", "2500",
           unit="rotations", low=0),
    _totem("seqno_unchanged_const", "Rotations without traffic before the token is held.", "30", unit="rotations",
           low=0),
    _totem("window_size", "Messages per rotation.", "50", unit="messages", low=0),
    _totem("max_messages", "Messages of one node per rotation.", "17", unit="messages", low=0),
    _totem("miss_count_const", "Rotations before a missed message is asked for.", "5", unit="rotations", low=0),
    _totem("knet_pmtud_interval", "Pause between two measurements of the path MTU.", "30", unit="s", low=0),
    _totem("knet_mtu", "MTU; 0 measures it.", "0", unit="bytes", low=0),
    _totem("netmtu", "Longest packet.", None, unit="bytes", low=0),
    _totem("knet_compression_threshold", "From which size on packets are compressed.", "100", unit="bytes", low=0),
    _totem("knet_compression_level", "How well.", None, unit="", low=-(2**31), high=2**31 - 1),
    _totem("version", "Version of the file.", "2", unit="", low=2, high=2),
    _totem("config_version", "Count of changes to the file.", "0", unit="", low=0, high=2**64 - 1),
    _totem("nodeid", "Identity of this node, where there is no nodelist.", None, unit="", low=1),
    _totem("threads", "Threads for encryption.", "0", unit="", low=0, ignored=_OLD),
)

_INTERFACE = tuple(
    Key(name, meaning, unit=unit, low=low, high=high, default=default, sections=("totem/interface",), source=_MAN)
    for name, meaning, unit, low, high, default in (
        ("linknumber", "Which link this is about.", "", 0, 7, "0"),
        ("ringnumber", "Its name before corosync 3.", "", 0, 7, None),
        ("knet_link_priority", "Among passive links, the highest is used.", "", 0, 255, "1"),
        ("knet_ping_interval", "Pause between pings of a link; unset is a quarter of the token.", "ms", 0, _UINT_MAX,
         None),
        ("knet_ping_timeout", "After how long unanswered a link is down; unset is token / knet_pong_count.", "ms", 0,
         _UINT_MAX, None),
        ("knet_ping_precision", "Samples that a link's latency is averaged over.", "", 0, _UINT_MAX, "2048"),
        ("knet_pong_count", "Answers before a link is up.", "pings", 1, 255, "2"),
        ("mcastport", "UDP port; link n has this + n.", "", 1, 65535, "5405"),
        ("ttl", "Time to live of multicast.", "", 0, 255, "1"),
    )
)

_QUORUM = (
    *_text("quorum", "provider", "What decides quorum: corosync_votequorum.", source=_VOTE),
    _flag("quorum", "two_node", "Whether one of two nodes has quorum; turns wait_for_all on.", "0", _ONE_ZERO),
    _flag("quorum", "wait_for_all", "Whether all nodes must be seen once before there is quorum.", "0", _ONE_ZERO),
    _flag("quorum", "last_man_standing", "Whether expected votes shrink as nodes leave.", "0", _ONE_ZERO),
    _flag("quorum", "auto_tie_breaker", "Whether one half of an even split has quorum.", "0", _ONE_ZERO),
    _flag("quorum", "expected_votes_tracking", "Whether expected votes follow the greatest seen.", "0", _ONE_ZERO),
    _flag("quorum", "allow_downscale", "Whether expected votes shrink with a clean leave.", "0", _ONE_ZERO),
    *_text("quorum", "auto_tie_breaker_node", "Which half: lowest, highest, or node ids.", source=_VOTE),
    *(
        Key(name, meaning, unit=unit, low=0, high=_UINT_MAX, default=default, sections=("quorum",), source=_VOTE)
        for name, meaning, unit, default in (
            ("expected_votes", "All votes, where there is no nodelist.", "votes", None),
            ("votes", "This node's votes.", "votes", "1"),
            ("last_man_standing_window", "How long after a loss expected votes shrink.", "ms", "10000"),
            ("leaving_timeout", "How long a clean leave may take.", "ms", "10000"),
        )
    ),
    *_text("quorum/device", "model", "Kind of the quorum device: net.", source=_QDEVICE),
    Key("timeout", "How often the device must answer.", unit="ms", low=0, high=_UINT_MAX, default="10000",
        sections=("quorum/device",), source=_QDEVICE),
    Key("sync_timeout", "The same while the membership changes; SBD's watchdog must be longer.", unit="ms", low=0,
        high=_UINT_MAX, default="30000", sections=("quorum/device",), feeds="corosync.qdevice_sync_timeout_ms",
        source=_QDEVICE),
    Key("votes", "The device's votes.", unit="votes", low=0, high=_UINT_MAX, sections=("quorum/device",),
        source=_QDEVICE),
    Key("master_wins", "Whether the device's master decides.", low=0, high=1, default="0",
        sections=("quorum/device",), source=_VOTE),
    *_text("quorum/device/net", "host tls algorithm tie_breaker keep_active_partition_tie_breaker",
           "Where the qnetd server is, and how it decides.", source=_QDEVICE),
    Key("port", "TCP port of the server.", low=1, high=65535, default="5403", sections=("quorum/device/net",),
        source=_QDEVICE),
    Key("connect_timeout", "How long a connect to it may take; unset is 0.8 times the device's timeout.", unit="ms",
        low=0, high=_UINT_MAX, sections=("quorum/device/net",), source=_QDEVICE),
    Key("force_ip_version", "4, 6 or 0 for either.", low=0, high=6, default="0", sections=("quorum/device/net",),
        source=_QDEVICE),
    *(
        Key(name, meaning, unit="ms", low=0, high=_UINT_MAX, default=default,
            sections=("quorum/device/heuristics",), source=_QDEVICE)
        for name, meaning, default in (
            ("timeout", "How long commands may take.", "5000"),
            ("sync_timeout", "The same while the membership changes.", "15000"),
            ("interval", "Pause between two runs.", "30000"),
        )
    ),
    Key("mode", "When commands run.", Type.CHOICE, choices=("off", "on", "sync"), default="off",
        sections=("quorum/device/heuristics",), source=_QDEVICE),
    *_text("quorum/device/heuristics", "exec_*", "A command.", source=_QDEVICE),
)

_SYSTEM = (
    Key("qb_ipc_type", "How clients talk to corosync.", Type.CHOICE, choices=("native", "shm", "socket"),
        default="native", sections=("system",), source=_MAN),
    _flag("system", "sched_rr", "Real-time scheduling.", "yes", ("yes", "no")),
    *_text("system", "priority state_dir", "Scheduling priority, and where state is kept."),
    Key("move_to_root_cgroup", "Whether corosync leaves a slice without real-time budget.", Type.CHOICE,
        choices=("yes", "no", "auto"), default="auto", sections=("system",), source=_MAN),
    _flag("system", "allow_knet_handle_fallback", "Whether knet may start without privileges.", "no", ("yes", "no")),
)

_REST = (
    *_INTERFACE,
    *_text("totem", "cluster_name keyfile crypto_model crypto_hash crypto_cipher transport link_mode ip_version "
           "ip_dscp knet_compression_model", "Name, encryption and transport."),
    *_text("totem", "key", "Shared key.", secret=True),
    _flag("totem", "secauth", "Whether traffic is encrypted.", "on"),
    _flag("totem", "clear_node_high_bit", "Whether generated node ids stay positive.", "no"),
    _flag("totem", "block_unlisted_ips", "Whether packets of unknown nodes are dropped.", "yes"),
    _flag("totem", "cancel_token_hold_on_retransmit", "Whether the token is not held while messages are missing.",
          "no"),
    *_text("totem/interface", "bindnetaddr mcastaddr broadcast knet_transport", "Network of the link."),
    *_text("totem/interface/member", "memberaddr", "A node's address, before the nodelist."),
    *(Key(name, meaning, Type.TEXT, sections=("totem",), deprecated=_OLD, source="corosync.conf(5) of 2.x")
      for name, meaning in (
          ("rrp_mode", "Use of redundant rings."), ("crypto_type", "Library for encryption."),
          ("vsftype", "Virtual synchrony filter."), ("rrp_problem_count_timeout", "Timer of redundant rings."),
          ("rrp_problem_count_threshold", "Faults before a ring is given up."),
          ("rrp_problem_count_mcast_threshold", "The same for multicast."),
          ("rrp_token_expired_timeout", "Timer of redundant rings."),
          ("rrp_autorecovery_check_timeout", "Pause before a ring is tried again."),
      )),
    *_QUORUM,
    *_text("nodelist/node", "name ring*_addr", "The node's name, and its address on each link."),
    Key("nodeid", "Identity of the node.", low=1, high=_UINT_MAX, sections=("nodelist/node",), source=_MAN),
    Key("quorum_votes", "Its votes.", unit="votes", low=0, high=_UINT_MAX, default="1",
        sections=("nodelist/node",), source=_VOTE),
    *_SYSTEM,
    *_text("nozzle", "name ipaddr ipprefix macaddr", "A network interface on top of the cluster's links."),
    *_text("resources", "watchdog_device", "A watchdog of corosync's own; not together with SBD."),
    Key("watchdog_timeout", "After how long unfed it fires.", unit="ms", low=500, high=120_000, default="6000",
        sections=("resources",), source="corosync exec/wd.c"),
    *(key for section in ("resources/system", "resources/process") for group in ("memory_used", "load_15min")
      for key in _text(f"{section}/{group}", "recovery max poll_period", "Limits that the watchdog sees to.")),
    *(key for section in ("logging", "logging/logger_subsys", "logging/logging_daemon")
      for key in _text(section, "timestamp fileline function_name blackbox to_stderr to_logfile to_syslog logfile "
                       "logfile_priority syslog_facility syslog_priority debug subsys name tags", "What is logged.")),
    *_text("uidgid", "uid gid", "Who may talk to corosync."),
    *_text("pload", "count size", "Load generator, for tests."),
    *(Key(name, "A plugin of corosync 1.", Type.TEXT, sections=("service",), deprecated=_OLD,
          source="corosync.conf(5) of 1.4") for name in ("name", "ver", "use_mgmtd", "use_logd")),
    *(Key(name, "Who openais ran as.", Type.TEXT, sections=("aisexec",), deprecated=_OLD,
          source="corosync.conf(5) of 1.4") for name in ("user", "group")),
    Key("mode", "Availability management of openais.", Type.TEXT, sections=("amf",), deprecated=_OLD,
        source="corosync.conf(5) of 1.4"),
    Key("compatibility", "Compatibility with openais 0.80.", Type.TEXT, deprecated=_OLD,
        source="corosync.conf(5) of 1.4"),
)

COROSYNC = Schema(
    kind=Kind.COROSYNC, title="corosync.conf", places=("/etc/corosync/corosync.conf",), program="corosync",
    package="corosync",
    about=(
        "The same on every node. The effective token, token + (nodes - 2) * token_coefficient, is "
        "`corosync-cmapctl runtime.config.totem.token`."
    ),
    keys=(*_TIMERS, *_REST), unknown="corosync keeps it in its map and makes nothing of it",
    invalid="corosync refuses the file", invalid_word="corosync refuses the file, or takes it for no",
    outside="corosync refuses the file",
)
