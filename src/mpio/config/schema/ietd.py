"""ietd.conf of the iSCSI Enterprise Target: a target's file, in which initiator's timers do nothing.

Source: iscsitarget ietd.conf(5), usr/plain.c.
"""

from mpio.config.files import Kind
from mpio.config.schema.key import Key, Schema, Type

_MAN = "ietd.conf(5)"
_YES_NO = ("Yes", "No")
_TARGET = ("", "Target")


def _number(name: str, meaning: str, low: int, high: int, default: str, unit: str = "") -> Key:
    return Key(name, meaning, unit=unit, low=low, high=high, default=default, sections=_TARGET, source=_MAN)


def _bytes(name: str, meaning: str, default: str) -> Key:
    return _number(name, meaning, 512, 2**24 - 1, default, "bytes")


IETD = Schema(
    kind=Kind.IETD, title="ietd.conf", places=("/etc/iet/ietd.conf", "/etc/ietd.conf"), program="ietd",
    package="iscsitarget", about="Settings of a target. How long an initiator waits is set in its own iscsid.conf.",
    keys=(
        Key("Target", "Begins a target; its name.", Type.TEXT, sections=_TARGET, repeats=True, source=_MAN),
        Key("Lun", "Number and parameters of a logical unit.", Type.TEXT, sections=_TARGET, repeats=True, source=_MAN),
        Key("Alias", "Alias of the target.", Type.TEXT, sections=_TARGET, source=_MAN),
        _number("NOPInterval", "Silence before the target pings the initiator.", 0, 90, "0", "s"),
        _number("NOPTimeout", "How long the initiator may take to answer; at most NOPInterval.", 0, 90, "0", "s"),
        _number("Wthreads", "Threads that do I/O.", 1, 128, "8"),
        _number("QueuedCommands", "Commands per session.", 1, 128, "32"),
        _number("MaxSessions", "Sessions per target; 0 for without bound.", 0, 65535, "0"),
        _number("MaxConnections", "Connections per session.", 1, 1, "1"),
        _number("DefaultTime2Wait", "Least wait before an initiator reconnects.", 0, 3600, "2", "s"),
        _number("DefaultTime2Retain", "How long tasks of a lost connection are kept.", 0, 3600, "0", "s"),
        _number("MaxOutstandingR2T", "R2Ts under way per task.", 1, 65535, "1"),
        _number("ErrorRecoveryLevel", "Error recovery level.", 0, 0, "0"),
        _bytes("MaxRecvDataSegmentLength", "Most data bytes of one PDU that is received.", "8192"),
        _bytes("MaxXmitDataSegmentLength", "Most data bytes of one PDU that is sent.", "8192"),
        _bytes("MaxBurstLength", "Most bytes of one R2T, or of a read's sequence.", "262144"),
        _bytes("FirstBurstLength", "Most bytes that a write sends unasked.", "65536"),
        *(
            Key(name, meaning, Type.BOOLEAN, choices=_YES_NO, default=default, sections=_TARGET, source=_MAN)
            for name, meaning, default in (
                ("InitialR2T", "Whether every write waits for an R2T.", "Yes"),
                ("ImmediateData", "Whether a write command may carry data.", "No"),
                ("DataPDUInOrder", "Whether data PDUs come in order.", "Yes"),
                ("DataSequenceInOrder", "Whether data sequences come in order.", "Yes"),
            )
        ),
        *(
            Key(name, f"Whether {part} of PDUs carry a CRC32C.", Type.TEXT, default="None", sections=_TARGET,
                source=_MAN)
            for name, part in (("HeaderDigest", "the headers"), ("DataDigest", "the data"))
        ),
        Key("Type", "Kind of the target.", Type.TEXT, sections=_TARGET, source=_MAN),
        *(
            Key(name, meaning, Type.TEXT, sections=_TARGET, repeats=True, secret=True, source=_MAN)
            for name, meaning in (
                ("IncomingUser", "CHAP name and secret that an initiator must prove."),
                ("OutgoingUser", "CHAP name and secret that the target proves."),
            )
        ),
        Key("iSNSServer", "Address of an iSNS server.", Type.TEXT, source=_MAN),
        Key("iSNSAccessControl", "Whether iSNS decides who may log in.", Type.BOOLEAN, choices=_YES_NO, default="No",
            source=_MAN),
    ),
    unknown="ietd ignores it", fold_keys=True, fold_values=True, leading_digits=True, invalid="ietd ignores the line",
)
