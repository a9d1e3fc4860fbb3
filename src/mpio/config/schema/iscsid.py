"""iscsid.conf and open-iscsi's node records.

A record is a copy of iscsid.conf made at discovery, and is what iscsid obeys; `default` is what is compiled in, which
a record without the key gets, and the shipped iscsid.conf often says something else.
Sources: open-iscsi usr/idbm.c (names, types), usr/iscsi_settings.h (compiled defaults), etc/iscsid.conf, README.
"""

from dataclasses import replace

from mpio.config.files import Kind
from mpio.config.schema.key import Default, Key, Schema, Type

_YES_NO = ("Yes", "No")
_CONF = "open-iscsi etc/iscsid.conf"
_IDBM = "open-iscsi usr/idbm.c"
_INITIATOR = "open-iscsi usr/initiator.c"
_SETTINGS = "open-iscsi usr/iscsi_settings.h"
_INT_MAX = 2**31 - 1
_BURST_MAX = 2**24 - 1
_DIGESTS = ("None", "CRC32C", "CRC32C,None", "None,CRC32C")


def _text(name: str, meaning: str, *, source: str = _IDBM, secret: bool = False, default: str | None = None) -> Key:
    return Key(name, meaning, Type.TEXT, source=source, secret=secret, default=default)


_TIMERS = (
    Key(
        "node.session.timeo.replacement_timeout",
        "How long I/O waits for a lost session to come back before it fails.",
        unit="s", low=-_INT_MAX, high=_INT_MAX, default="120", feeds="replacement_timeout",
        words=(("0", "I/O fails as soon as the session is lost"), ("-1", "waits for ever, as any negative value")),
        note="While multipathd manages the LUN its fast_io_fail_tmo (5) takes the place of this value.",
        source="open-iscsi usr/initiator_common.c:iscsi_session_set_params",
    ),
    Key(
        "node.conn[0].timeo.noop_out_interval",
        "How long nothing may be received before a ping (NOP-Out) is sent.",
        unit="s", low=0, high=_INT_MAX, default="5", feeds="noop_out_interval",
        words=(("0", "no pings, if noop_out_timeout is 0 too; if only one is 0, both become 5"),),
        others=(Default("10", before=(2, 0, 868), note="until 2007; RHEL 5 and 6 manuals still say so"),),
        source="open-iscsi usr/initiator.c:__session_conn_create, linux drivers/scsi/libiscsi.c",
    ),
    Key(
        "node.conn[0].timeo.noop_out_timeout",
        "How long after a ping without any answer the connection is given up.",
        unit="s", low=0, high=_INT_MAX, default="5", feeds="noop_out_timeout",
        words=(("0", "no pings, if noop_out_interval is 0 too; if only one is 0, both become 5"),),
        others=(Default("15", before=(2, 0, 868), note="until 2007; the RHEL 6 manual says 10"),),
        source="open-iscsi usr/initiator.c:__session_conn_create, linux drivers/scsi/libiscsi.c",
    ),
    Key(
        "node.conn[0].timeo.login_timeout",
        "Bound of one attempt to connect and log in; after a silent loss also the pace of attempts, so more is slower.",
        unit="s", low=0, high=_INT_MAX, default="30", others=(Default("15", shipped=True),), feeds="login_timeout",
        words=(("0", "the compiled default, 30"),), source=f"{_SETTINGS}, {_INITIATOR}",
    ),
    Key(
        "node.conn[0].timeo.logout_timeout",
        "How long a logout waits for its answer.",
        unit="s", low=0, high=_INT_MAX, default="15", feeds="logout_timeout",
        words=(("0", "the compiled default, 15"),), source=_SETTINGS,
    ),
    Key(
        "node.conn[0].timeo.auth_timeout", "How long the authentication of a login may take.",
        unit="s", low=0, high=_INT_MAX, default="45", source=f"{_IDBM}:idbm_node_setup_defaults",
    ),
    Key(
        "node.session.err_timeo.abort_timeout",
        "How long ABORT TASK waits for its answer before the session is dropped.",
        unit="s", low=0, high=_INT_MAX, default="15", others=(Default("10", before=(2, 0, 865)),),
        feeds="abort_timeout", source="linux drivers/scsi/libiscsi.c:iscsi_eh_abort",
    ),
    Key(
        "node.session.err_timeo.lu_reset_timeout",
        "How long LOGICAL UNIT RESET waits for its answer before the next step of error handling.",
        unit="s", low=0, high=_INT_MAX, default="30",
        others=(Default("20", before=(2, 0, 872), note="from October 2007 to November 2009"),),
        feeds="lu_reset_timeout", source="linux drivers/scsi/libiscsi.c:iscsi_eh_device_reset",
    ),
    Key(
        "node.session.err_timeo.tgt_reset_timeout",
        "How long TARGET WARM RESET waits for its answer before the session is dropped.",
        unit="s", low=0, high=_INT_MAX, default="30", since=(2, 0, 872), feeds="tgt_reset_timeout",
        source="linux drivers/scsi/libiscsi.c:iscsi_eh_target_reset",
    ),
    Key(
        "node.session.err_timeo.host_reset_timeout", "How long a host reset may take.",
        unit="s", low=0, high=_INT_MAX, default="60", ignored="iscsi_tcp has no host reset", source=_SETTINGS,
    ),
    Key(
        "node.session.initial_login_retry_max",
        "How often the first login is tried; it gives up after this many times login_timeout.",
        unit="tries", low=-1, high=_INT_MAX, default="4", others=(Default("8", shipped=True),), source=_SETTINGS,
    ),
    Key(
        "node.session.reopen_max",
        "How many attempts to log a lost session in again are made before it is torn down.",
        unit="tries", low=0, high=_INT_MAX, default="0", words=(("0", "for ever"),), source=_INITIATOR,
    ),
    Key(
        "node.session.sess_reopen_log_freq", "Of how many failed attempts to reconnect one is logged.",
        unit="tries", low=0, high=_INT_MAX, default="1", since=(2, 1, 11), source=_INITIATOR,
    ),
    Key(
        "node.session.login_redirect_max", "How many times in a row a login may be redirected.",
        unit="redirections", low=0, high=_INT_MAX, default="8", since=(2, 1, 13), source=_INITIATOR,
    ),
    Key(
        "node.session.iscsi.DefaultTime2Wait",
        "Least wait before the first reconnect; the larger of this and the target's value counts.",
        unit="s", low=0, high=3600, default="2", feeds="default_time2wait", source="RFC 7143 §13.15, " + _INITIATOR,
    ),
    Key(
        "node.session.iscsi.DefaultTime2Retain",
        "How long the target is asked to keep the tasks of a lost connection.",
        unit="s", low=0, high=3600, default="0", source="RFC 7143 §13.16",
    ),
)

_SESSION = (
    Key(
        "node.startup", "Whether the session is logged in at boot.", Type.CHOICE,
        choices=("manual", "automatic", "onboot"), default="manual",
        others=(Default("automatic", shipped=True, distribution="rhel"),), source=_CONF,
    ),
    Key(
        "node.leading_login",
        "Whether login stops after the first interface that works, which leaves one path only.",
        Type.BOOLEAN, choices=_YES_NO, default="No", source=_CONF,
    ),
    Key(
        "node.session.scan", "Whether new LUNs are looked for by themselves.", Type.CHOICE,
        choices=("auto", "manual"), default="auto", source=_CONF,
    ),
    Key(
        "node.session.nr_sessions", "How many sessions are opened to the same portal.",
        unit="sessions", low=1, high=_INT_MAX, default="1", source=_CONF,
    ),
    Key(
        "node.session.cmds_max", "How many commands a session holds; a power of two.",
        unit="commands", low=2, high=4096, default="128", source=f"{_CONF}, linux include/scsi/libiscsi.h",
    ),
    Key(
        "node.session.queue_depth", "How many commands each LUN of a session holds.",
        unit="commands", low=1, high=1024, default="32", source=_CONF,
    ),
    Key(
        "node.session.xmit_thread_priority", "Nice value of the thread that sends.",
        low=-20, high=20, default="0", words=(("0", "left alone"),),
        others=(Default("-20", before=(2, 1, 10)),),
        ignored="Linux 6 sends from a work queue, whose priority it doesn't change", source=_CONF,
    ),
    Key("node.session.initial_cmdsn", "The first CmdSN.", low=0, high=_INT_MAX, default="0", source=_IDBM),
    Key(
        "node.session.iscsi.FastAbort",
        "Whether R2Ts are left unanswered after a task management function; EqualLogic wants No.",
        Type.BOOLEAN, choices=_YES_NO, default="Yes", source=_CONF,
    ),
    Key(
        "node.session.iscsi.InitialR2T", "Whether every write waits for an R2T.", Type.BOOLEAN, choices=_YES_NO,
        default="No", source="RFC 7143 §13.10",
    ),
    Key(
        "node.session.iscsi.ImmediateData", "Whether a write command may carry data.", Type.BOOLEAN, choices=_YES_NO,
        default="Yes", source="RFC 7143 §13.11",
    ),
    Key(
        "node.session.iscsi.FirstBurstLength", "Most bytes that a write sends unasked.",
        unit="bytes", low=512, high=_BURST_MAX, default="262144", source="RFC 7143 §13.14",
    ),
    Key(
        "node.session.iscsi.MaxBurstLength", "Most bytes of one R2T, or of a read's sequence.",
        unit="bytes", low=512, high=_BURST_MAX, default="16776192", source="RFC 7143 §13.13",
    ),
    Key(
        "node.session.iscsi.MaxConnections", "Connections per session.", unit="connections", low=1, high=65535,
        default="1", ignored="open-iscsi opens one connection per session", source=_IDBM,
    ),
    Key(
        "node.session.iscsi.MaxOutstandingR2T", "R2Ts under way per task.", low=1, high=65535, default="1",
        source="RFC 7143 §13.17",
    ),
    Key(
        "node.session.iscsi.ERL", "Error recovery level.", low=0, high=2, default="0",
        ignored="open-iscsi supports level 0 only", source=_IDBM,
    ),
    Key(
        "node.conn[0].iscsi.MaxRecvDataSegmentLength", "Most data bytes of one PDU that is received.",
        unit="bytes", low=512, high=_BURST_MAX, default="262144", source="RFC 7143 §13.12",
    ),
    Key(
        "node.conn[0].iscsi.MaxXmitDataSegmentLength", "Most data bytes of one PDU that is sent.",
        unit="bytes", low=0, high=_BURST_MAX, default="0", words=(("0", "as many as the target receives"),),
        source=_CONF,
    ),
    *(
        Key(
            f"node.conn[0].iscsi.{name}", f"Whether {part} of PDUs carry a CRC32C, in the order of preference.",
            Type.CHOICE, choices=_DIGESTS, default="None", source="RFC 7143 §13.1",
        )
        for name, part in (("HeaderDigest", "the headers"), ("DataDigest", "the data"))
    ),
    *(
        Key(
            f"node.conn[0].iscsi.{name}", "Markers in the stream.", Type.BOOLEAN, choices=_YES_NO, default="No",
            ignored="markers were dropped from the standard (RFC 7143 §2.2)", source=_IDBM,
        )
        for name in ("IFMarker", "OFMarker")
    ),
    Key(
        "node.conn[0].tcp.window_size", "Socket buffers, where the transport sets them.", unit="bytes", low=0,
        high=_INT_MAX, default="524288", ignored="iscsi_tcp leaves the buffers to the kernel", source=_SETTINGS,
    ),
    Key(
        "node.conn[0].tcp.type_of_service", "IP type of service.", low=0, high=255, default="0", source=_IDBM,
    ),
    Key(
        "node.conn[0].tcp.congestion_control", "TCP congestion control of the connection.", Type.TEXT,
        since=(2, 1, 12), source=_CONF,
    ),
    Key(
        "node.conn[0].startup", "Whether the connection is opened at boot.", Type.CHOICE,
        choices=("manual", "automatic", "onboot"), default="manual",
        ignored="node.startup decides", source=_IDBM,
    ),
)


def _auth(prefix: str, who: str) -> tuple[Key, ...]:
    return (
        Key(
            f"{prefix}.authmethod", f"How {who} proves who it is.", Type.CHOICE, choices=("None", "CHAP"),
            default="None", source=_CONF,
        ),
        _text(f"{prefix}.username", f"CHAP name of {who}.", source=_CONF),
        _text(f"{prefix}.password", f"CHAP secret of {who}.", source=_CONF, secret=True),
        Key(f"{prefix}.password_length", "Its length; iscsid works it out.", low=0, high=255, source=_IDBM),
        _text(f"{prefix}.username_in", "CHAP name that the target must prove.", source=_CONF),
        _text(f"{prefix}.password_in", "CHAP secret that the target must prove.", source=_CONF, secret=True),
        Key(f"{prefix}.password_in_length", "Its length; iscsid works it out.", low=0, high=255, source=_IDBM),
        Key(
            f"{prefix}.chap_algs", "CHAP algorithms in the order of preference: MD5, SHA1, SHA256, SHA3-256.",
            Type.TEXT, default="MD5", since=(2, 1, 1), source=_CONF,
        ),
    )


_OLD = (
    Key(
        "node.session.err_timeo.reset_timeout", "How long a reset waits for its answer.", unit="s", low=0,
        high=_INT_MAX, deprecated="split into lu_reset_timeout and tgt_reset_timeout (2007); ignored since",
        source="open-iscsi git history",
    ),
    *(
        Key(
            f"node.conn[0].timeo.{name}", "A timer of early releases.", unit="s", low=0, high=_INT_MAX,
            deprecated="ignored since 2.0-865 (2007)", source="open-iscsi git history",
        )
        for name in ("active_timeout", "idle_timeout", "ping_timeout")
    ),
    Key(
        "node.active_cnx", "Connections per session.", low=1, high=1,
        deprecated="ignored since 2.0-865 (2007)", source="open-iscsi git history",
    ),
    Key(
        "node.transport_name", "The transport.", Type.TEXT, deprecated="now iface.transport_name",
        source="open-iscsi git history",
    ),
    Key(
        "node.session.reopen_log_freq", "Of how many failed attempts one is logged.", unit="tries", low=0,
        high=_INT_MAX, deprecated="now node.session.sess_reopen_log_freq", source="open-iscsi git history",
    ),
)

_DISCOVERY_TIMES = (
    ("timeo.login_timeout", "Bound of a discovery login.", "15"),
    ("timeo.auth_timeout", "How long its authentication may take.", "45"),
    ("timeo.active_timeout", "How long a discovery may take.", "30"),
    ("timeo.idle_timeout", "A timer of early releases.", None),
    ("timeo.ping_timeout", "A timer of early releases.", None),
    ("discoveryd_poll_inval", "Pause between repeated discoveries.", "30"),
)
_DAEMON = (
    _text("iscsid.startup", "Command that starts iscsid when a tool needs it.", source=_CONF),
    Key(
        "iscsid.safe_logout", "Whether logout is refused while a disk of the session is mounted.", Type.BOOLEAN,
        choices=_YES_NO, default="No", since=(2, 0, 874), source=_CONF,
    ),
    Key(
        "iscsid.ipc_auth_uid", "Whether only the uid of who asks iscsid is checked.", Type.BOOLEAN, choices=_YES_NO,
        default="No", since=(2, 1, 5), source=_CONF,
    ),
    Key(
        "discovery.startup", "Whether discovery runs at boot.", Type.CHOICE, choices=("manual", "automatic"),
        default="manual", source=_IDBM,
    ),
    Key(
        "discovery.type", "Kind of a discovery record.", Type.CHOICE,
        choices=("sendtargets", "isns", "offload_send_targets", "static", "fw"), source=_IDBM,
    ),
    *(
        Key(
            f"discovery.{way}.use_discoveryd", "Whether iscsid repeats this discovery by itself.", Type.BOOLEAN,
            choices=_YES_NO, default="No", source=_IDBM,
        )
        for way in ("sendtargets", "isns")
    ),
    *(_text(f"{way}.address", "Where to discover.") for way in ("discovery.sendtargets", "discovery.isns", "isns")),
    *(
        Key(f"{way}.port", "Port of the discovery address.", low=1, high=65535, source=_IDBM)
        for way in ("discovery.sendtargets", "discovery.isns", "isns")
    ),
    *(
        Key(f"discovery.sendtargets.{name}", meaning, unit="s", low=0, high=_INT_MAX, default=value, source=_IDBM)
        for name, meaning, value in _DISCOVERY_TIMES
    ),
    Key(
        "discovery.isns.discoveryd_poll_inval", "Pause between repeated discoveries.", unit="s", low=-1,
        high=_INT_MAX, default="-1", words=(("-1", "only when the server says so"),), source=_IDBM,
    ),
    Key(
        "discovery.sendtargets.reopen_max", "How often a lost discovery session is opened again.", unit="tries",
        low=0, high=_INT_MAX, default="5", source=_IDBM,
    ),
    Key(
        "discovery.sendtargets.iscsi.MaxRecvDataSegmentLength", "Most data bytes of one PDU during discovery.",
        unit="bytes", low=512, high=_BURST_MAX, default="32768", source=_CONF,
    ),
    *_auth("discovery.sendtargets.auth", "the initiator during discovery"),
)

_IFACE_TEXTS = """
    state bootproto subnet_mask gateway primary_dns secondary_dns vlan_state ipv6_linklocal ipv6_router ipv6_autocfg
    linklocal_autocfg router_autocfg delayed_ack tcp_nagle tcp_wsf_state tcp_timestamp dhcp_dns dhcp_slp_da tos_state
    gratuitous_arp dhcp_alt_client_id_state dhcp_alt_client_id dhcp_req_vendor_id_state dhcp_vendor_id_state
    dhcp_vendor_id dhcp_learn_iqn fragmentation incoming_forwarding gratuitous_neighbor_adv redirect
    ignore_icmp_echo_request mld header_digest data_digest immediate_data initial_r2t data_seq_inorder data_pdu_inorder
    chap_auth bidi_chap strict_login_compliance discovery_auth discovery_logout isid
"""
_IFACE_NUMBERS = """
    prefix_len vlan_id vlan_priority iface_num mtu port tcp_wsf tcp_timer_scale tos ttl flow_label traffic_class
    hop_limit nd_reachable_tmo nd_rexmit_time nd_stale_tmo dup_addr_detect_cnt router_adv_link_mtu
    def_task_mgmt_timeout erl max_receive_data_len first_burst_len max_outstanding_r2t max_burst_len
"""
_RECORD = (
    _text("node.name", "The target's name."),
    Key("node.tpgt", "Target portal group tag.", low=-1, high=65535, source=_IDBM),
    _text("node.discovery_address", "Where the target was discovered."),
    Key("node.discovery_port", "Port of that address.", low=0, high=65535, source=_IDBM),
    Key(
        "node.discovery_type", "How the target was discovered.", Type.CHOICE,
        choices=("send_targets", "isns", "offload_send_targets", "static", "fw"), source=_IDBM,
    ),
    Key("node.boot_lun", "LUN to boot from.", Type.TEXT, source=_IDBM),
    _text("node.conn[0].address", "The portal's address."),
    Key("node.conn[0].port", "The portal's port.", low=1, high=65535, default="3260", source=_IDBM),
    _text("iface.iscsi_ifacename", "Name of the iface record that the session is bound by.", default="default"),
    _text(
        "iface.net_ifacename", "Network interface that the session is bound to (SO_BINDTODEVICE).",
        source="open-iscsi usr/io.c:bind_conn_to_iface",
    ),
    _text("iface.hwaddress", "MAC address of the interface that the session is bound to."),
    _text("iface.ipaddress", "Source address, for offload cards."),
    _text("iface.transport_name", "The transport: tcp for software iSCSI.", default="tcp"),
    _text("iface.initiatorname", "Initiator name, where it is not the host's own."),
    *(_text(f"iface.{name}", "For offload cards; software iSCSI doesn't use it.") for name in _IFACE_TEXTS.split()),
    *(
        Key(f"iface.{name}", "For offload cards; software iSCSI doesn't use it.", low=0, high=2**32 - 1, source=_IDBM)
        for name in _IFACE_NUMBERS.split()
    ),
)

_NODE = (*_TIMERS, *_SESSION, *_auth("node.session.auth", "the initiator"), *_OLD)

ISCSID = Schema(
    kind=Kind.ISCSID, title="iscsid.conf", places=("/etc/iscsi/iscsid.conf",), program="iscsid", package="open-iscsi",
    about=(
        "Template of node records. A change here reaches only records that are discovered afterwards; existing ones "
        "change with `iscsiadm -m node -o update -n KEY -v VALUE`, and a running session at its next login."
    ),
    keys=(*_NODE, *_DAEMON), unknown="iscsid ignores it without a word", leading_digits=True,
    invalid="iscsid ignores the line",
)
NODE_RECORD = Schema(
    kind=Kind.NODE_RECORD, title="node record", places=("/etc/iscsi/nodes/", "/var/lib/iscsi/nodes/"),
    program="iscsid", package="open-iscsi",
    about="What iscsid obeys when it logs in. A key that is missing has its compiled default, not that of iscsid.conf.",
    keys=tuple(replace(key, sections=("", "record")) for key in (*_NODE, *_RECORD)),
    unknown="iscsid ignores it without a word", leading_digits=True,
    invalid="iscsid ignores the line",
)
