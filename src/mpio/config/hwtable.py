"""What multipathd knows of arrays that speak iSCSI, as far as it bears on timing: the built-in hardware table.

These settings beat the `defaults` section of multipath.conf and yield to its `devices`, `overrides` and `multipaths`.
Facts from multipath-tools libmultipath/hwtable.c, releases 0.7.8 to 0.14.3, and their stable branches. Left out: arrays
without iSCSI ports, NVMe, and settings that have no part in timing.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from mpio.model.stack import Version

FIRST_VERSION: Version = (0, 7, 8)  # older ones took all settings from one entry, and other ones
DEV_LOSS_TMO_MAX = "infinity"

_PG_INIT_50 = "2 pg_init_retries 50"
_GROUP_BY_PRIO = {"path_grouping_policy": "group_by_prio"}
_BY_SERIAL = {"path_grouping_policy": "group_by_serial"}
_MULTIBUS = {"path_grouping_policy": "multibus"}
_IMMEDIATE = _GROUP_BY_PRIO | {"failback": "immediate"}
_RDAC = _IMMEDIATE | {"path_checker": "rdac", "features": _PG_INIT_50, "no_path_retry": "30"}
_DIRECTIO = {"path_checker": "directio", "detect_checker": "no"}


def _retry(value: str, others: dict[str, str] = _IMMEDIATE) -> dict[str, str]:
    return {"no_path_retry": value, **others}


@dataclass(frozen=True, slots=True)
class Array:
    """One entry: which devices it is for, the releases it begins with, and its settings as multipath.conf has them.

    Attributes:
        vendor, product: extended regular expressions, found anywhere in the device's own.
        since: the first release that has it, one for each stable branch that took it over.
        settings: "" takes back what an earlier entry of the array says.
    """

    vendor: str
    product: str
    since: tuple[Version, ...]
    settings: dict[str, str]

    def known_to(self, version: Version) -> bool:
        """Whether a release has the entry."""
        in_branch = [first for first in self.since if first[:2] == version[:2]]
        return version >= in_branch[0] if in_branch else version > max(self.since)


def _array(vendor: str, product: str, settings: dict[str, str], *since: Version) -> Array:
    return Array(vendor, product, since or (FIRST_VERSION,), settings)


ARRAYS = (
    _array("3PARdata", "VV", _retry("18") | {"fast_io_fail_tmo": "10", "dev_loss_tmo": DEV_LOSS_TMO_MAX}),
    _array("(COMPAQ|HP)", "(MSA|HSV)1[01]0", _retry("12", {"path_checker": "hp_sw"} | _GROUP_BY_PRIO)),
    _array("(COMPAQ|HP)", "MSA VOLUME", _retry("12")),
    _array("(COMPAQ|HP)", "(HSV1[01]1|HSV2[01]0|HSV3[046]0|HSV4[05]0)", _retry("12")),
    _array("HP", "(MSA2[02]12fc|MSA2012i)", _retry("18", _MULTIBUS)),
    _array("HP", "(MSA2012sa|MSA23(12|24)(fc|i|sa)|MSA2000s VOLUME)", _retry("18")),
    _array("HP", "MSA [12]0[45]0 SA[NS]", _retry("18")),
    _array("HP", "MSA [12]0[456]0 SA[NS]", _retry("18"), (0, 8, 5)),
    _array("(HP|HPE)", "MSA [12]0[456]0 (SAN|SAS|FC|iSCSI)", _retry("18"), (0, 9, 0)),
    _array("(HP|HPE)", "MSA [12]0[4567]0 (SAN|SAS|FC|iSCSI)", _retry("18"), (0, 10, 3)),
    _array("HP", "(P2000 G3 FC|P2000G3 FC/iSCSI|P2000 G3 SAS|P2000 G3 iSCSI)", _retry("18")),
    _array("LEFTHAND", "(P4000|iSCSIDisk|FCDISK)", _retry("18")),
    _array("Nimble", "Server", _retry("queue")),
    *(_array("SGI", product, _RDAC) for product in ("TP9[3457]00", "IS")),
    _array("SGI", "^DD[46]A-", _retry("30")),
    _array("DDN", "^EF3010", _retry("30", _MULTIBUS)),
    _array("DDN", "^(EF3015|S2A|SFA)", _retry("30")),
    _array("NEXENTA", "COMSTAR", _retry("30", _BY_SERIAL)),
    _array("TEGILE", "(ZEBI-(FC|ISCSI)|INTELLIFLASH)", _retry("10")),
    _array("EMC", "SYMMETRIX", _retry("6", _MULTIBUS)),
    _array("^DGC", "^(RAID|DISK|VRAID)", _retry("60") | {"path_checker": "emc_clariion"}),
    _array("^DGC", "^(RAID|DISK|VRAID)", {"detect_checker": "no"}, (0, 9, 1)),
    _array("XtremIO", "XtremApp", _MULTIBUS),
    _array("COMPELNT", "Compellent Vol", _retry("queue", _MULTIBUS)),
    _array("COMPELNT", "Compellent Vol", _IMMEDIATE, (0, 8, 8)),
    _array("DELL", "^MD3", _RDAC),
    _array("DellEMC", "PowerStore", _retry("3") | {"fast_io_fail_tmo": "15"}, (0, 8, 6)),
    _array("DellEMC", "ME4", _IMMEDIATE, (0, 8, 8)),
    _array("DellEMC", "^ME", _IMMEDIATE, (0, 9, 0)),
    _array("EQLOGIC", "100E-00", _retry("30", _MULTIBUS), (0, 10, 5), (0, 11, 3), (0, 12, 1)),
    *(_array("FUJITSU", product, _retry("10")) for product in ("ETERNUS_DX(H|L|M|400|8000)", "E[234]000")),
    _array("FUJITSU", "E[68]000", _retry("10", _MULTIBUS)),
    _array("FUJITSU", "ETERNUS_AHB", _RDAC, (0, 8, 5)),
    _array("(HITACHI|HP)", "^OPEN-", _MULTIBUS),
    _array("(HITACHI|HP|HPE)", "^OPEN-", _MULTIBUS, (0, 9, 0)),
    _array("(HITACHI|HP|HPE)", "^OPEN-", _retry("10"), (0, 9, 6)),
    _array("HITACHI", "^DF", _retry("queue")),
    _array("HITACHI", "^DF600F", _MULTIBUS),
    _array("HITACHI", "Hi-SDS", _retry("6") | _DIRECTIO, (0, 10, 4), (0, 11, 2)),
    *(_array("IBM", product, _RDAC) for product in (
        "^1722-600", "^1724", "^1726", "^1742", "^1746", "^1813", "^1814", "^1815", "^1818", "^3526",
        "^(3542|3552)",
    )),
    _array("IBM", "^2145", _retry("queue")),
    _array("IBM", "1820N00", _retry("queue")),
    _array("(XIV|IBM)", "(NEXTRA|2810XIV)", _retry("queue", _MULTIBUS)),
    _array("(XIV|IBM)", "(NEXTRA|2810XIV)", _GROUP_BY_PRIO | {"failback": "15"}, (0, 8, 8)),
    _array("(TMS|IBM)", "(RamSan|FlashSystem)", _MULTIBUS),
    _array("IBM", "^(DCS9900|2851)", _retry("30")),
    _array("LENOVO", "DE_Series", _RDAC, (0, 8, 1)),
    _array("NETAPP", "LUN", _retry("queue") | {"features": _PG_INIT_50, "dev_loss_tmo": DEV_LOSS_TMO_MAX}),
    _array("(NETAPP|LSI|ENGENIO)", "INF-01-00", _RDAC),
    _array("SolidFir", "SSD SAN", _retry("24", _MULTIBUS)),
    _array("NEC", "DISK ARRAY", _IMMEDIATE),
    _array("^Pillar", "^Axiom", _IMMEDIATE),
    _array("^Oracle", "^Oracle FS", _IMMEDIATE),
    *(_array("STK", product, _RDAC) for product in ("BladeCtlr", "OPENstorage", "FLEXLINE 380")),
    *(_array("SUN", product, _RDAC) for product in (
        "STK6580_6780", "CSM[12]00_R", "LCSM100_[IEFS]", "SUN_6180", "ArrayStorage",
    )),
    _array("SUN", "(Sun Storage|ZFS Storage|COMSTAR)", _retry("30")),
    _array("PIVOT3", "RAIGE VOLUME", _retry("queue", _MULTIBUS)),
    _array("(NexGen|Pivot3)", "(TierStore|vSTAC)", _retry("queue")),
    _array("(Intel|INTEL)", "Multi-Flex", _retry("queue")),
    _array("(LIO-ORG|SUSE)", "RBD", _retry("12")),
    _array("(LIO-ORG|SUSE)", ".", _retry("12"), (0, 8, 9)),
    _array("(LIO-ORG|SUSE)", ".*", _retry("12"), (0, 9, 4)),
    _array("(LIO-ORG|SUSE)", ".*", _DIRECTIO, (0, 9, 5)),
    _array("^SCST_", ".*", _retry("12"), (0, 10, 4)),
    *(_array("DataCore", product, _retry("queue")) for product in ("SANmelody", "Virtual Disk")),
    _array("PURE", "FlashArray", _MULTIBUS),
    _array("PURE", "FlashArray", _IMMEDIATE | {"fast_io_fail_tmo": "10"}, (0, 8, 4)),
    _array("HUAWEI", "XSG1", _GROUP_BY_PRIO),
    _array("HUAWEI", "XSG1", _retry("15"), (0, 8, 7)),
    _array("^(HUAWEI|AnyStor|Marstor|NETPOSA|SanM|SUGON|UDsafe)", "XSG1", _retry("15"), (0, 10, 0)),
    _array("^(HUAWEI|HUASY|HS)", "^(Dorado|HVS8|S[23568]|V1[568]|VIS6000)", _retry("15"), (0, 10, 0)),
    _array("NFINIDAT", "InfiniBox", _retry("fail", _GROUP_BY_PRIO) | {
        "failback": "30", "path_selector": "round-robin 0", "fast_io_fail_tmo": "15", "dev_loss_tmo": "15",
    }),
    _array("NFINIDAT", "InfiniBox", {"dev_loss_tmo": ""}, (0, 9, 8)),
    _array(
        "NFINIDAT", "InfiniBox",
        _retry("queue") | {"path_selector": "", "dev_loss_tmo": DEV_LOSS_TMO_MAX}, (0, 10, 4), (0, 11, 2),
    ),
    _array("KMNRIO", "K2", _MULTIBUS),
    *(_array("NEXSAN", product, _retry("15")) for product in ("NXS-B0", "SATAB")),
    _array("Nexsan", "(NestOS|NST5000)", _retry("30")),
    _array("VIOLIN", "SAN ARRAY$", _retry("30", _BY_SERIAL)),
    _array("VIOLIN", "SAN ARRAY ALUA", _retry("30")),
    _array("VIOLIN", "CONCERTO ARRAY", _retry("30", _MULTIBUS)),
    _array("(XIOTECH|XIOtech)", "ISE", _retry("12", _MULTIBUS)),
    *(_array("(XIOTECH|XIOtech)", product, _retry("30", _MULTIBUS)) for product in ("IGLU DISK", "Magnitude")),
    _array("Vexata", "VX", _retry("30", _MULTIBUS), (0, 8, 6)),
    *(_array("Promise", product, _retry("30")) for product in ("VTrak", "Vess")),
    _array("^IFT", ".*", _retry("30")),
    _array("DotHill", "SANnet", _retry("30", _MULTIBUS)),
    *(_array("DotHill", product, _retry("30")) for product in ("R/Evo", "^DH")),
    _array("SEAGATE", "STJX", _retry("30"), (0, 10, 4), (0, 11, 2)),
    _array("SEAGATE", "^[456]", _retry("30"), (0, 10, 6), (0, 11, 4), (0, 12, 2), (0, 13, 1)),
    _array("AStor", "NeoSapphire", _retry("30", _MULTIBUS)),
    _array("AStor", "NeoSapphire", _IMMEDIATE, (0, 10, 4), (0, 11, 2)),
    _array("INSPUR", "MCS", _IMMEDIATE),
    _array("MacroSAN", "LU", _retry("30"), (0, 8, 5)),
    _array("Quantum", "(StorNext QX|QXS)", _retry("18"), (0, 10, 4), (0, 11, 2)),
    _array("QUANTUM", "^(F|P|H)[24]", _retry("30"), (0, 10, 4), (0, 11, 2)),
    _array("QUANTUM", "^F1", _retry("30", _BY_SERIAL), (0, 10, 4), (0, 11, 2)),
    _array(
        "VSTORAGE", "VSTOR-DISK",
        _retry("queue") | {"path_grouping_policy": "group_by_node_name", "features": _PG_INIT_50},
        (0, 10, 5), (0, 11, 3), (0, 12, 1),
    ),
    _array("^Qsan", ".*", _retry("30"), (0, 10, 5), (0, 11, 3), (0, 12, 1)),
)
"""The table; of two entries that match a device the later one wins, setting by setting."""


def entry(vendor: str, product: str, version: Version) -> dict[str, str]:
    """What a release's entry with exactly these patterns says, in the words of multipath.conf; {} if it has none."""
    return _joined(
        array for array in ARRAYS
        if array.known_to(version) and (array.vendor, array.product) == (vendor, product)
    )


def lookup(
    vendor: str, product: str, version: Version, without: Collection[tuple[str, str]] = ()
) -> dict[str, str]:
    """What a release says of a device (its INQUIRY strings), in the words of multipath.conf.

    `without` leaves out entries by their patterns.
    """
    return _joined(
        array for array in ARRAYS
        if array.known_to(version) and re.search(array.vendor, vendor) and re.search(array.product, product)
        and (array.vendor, array.product) not in without
    )


def _joined(arrays: Iterable[Array]) -> dict[str, str]:
    found: dict[str, str] = {}
    for array in arrays:
        found |= array.settings
    return {key: value for key, value in found.items() if value}
