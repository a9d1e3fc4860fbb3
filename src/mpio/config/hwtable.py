"""What multipathd knows of arrays that speak iSCSI, as far as it bears on timing: the built-in hardware table.

These settings beat the `defaults` section of multipath.conf and yield to its `devices`, `overrides` and `multipaths`.
Facts from multipath-tools libmultipath/hwtable.c, releases 0.7.8 to 0.14.3, and their stable branches. Left out: arrays
without iSCSI ports, NVMe, and settings that have no part in timing.
"""

import re
from collections.abc import Iterator
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


def _arrays() -> Iterator[Array]:
    """The table; of two entries that match a device the later one wins, setting by setting."""

    def array(vendor: str, product: str, settings: dict[str, str], *since: Version) -> Array:
        return Array(vendor, product, since or (FIRST_VERSION,), settings)

    yield array("3PARdata", "VV", _retry("18") | {"fast_io_fail_tmo": "10", "dev_loss_tmo": DEV_LOSS_TMO_MAX})
    yield array("(COMPAQ|HP)", "(MSA|HSV)1[01]0", _retry("12", {"path_checker": "hp_sw"} | _GROUP_BY_PRIO))
    yield array("(COMPAQ|HP)", "MSA VOLUME", _retry("12"))
    yield array("(COMPAQ|HP)", "(HSV1[01]1|HSV2[01]0|HSV3[046]0|HSV4[05]0)", _retry("12"))
    yield array("HP", "(MSA2[02]12fc|MSA2012i)", _retry("18", _MULTIBUS))
    yield array("HP", "(MSA2012sa|MSA23(12|24)(fc|i|sa)|MSA2000s VOLUME)", _retry("18"))
    yield array("HP", "MSA [12]0[45]0 SA[NS]", _retry("18"))
    yield array("HP", "MSA [12]0[456]0 SA[NS]", _retry("18"), (0, 8, 5))
    yield array("(HP|HPE)", "MSA [12]0[456]0 (SAN|SAS|FC|iSCSI)", _retry("18"), (0, 9, 0))
    yield array("(HP|HPE)", "MSA [12]0[4567]0 (SAN|SAS|FC|iSCSI)", _retry("18"), (0, 10, 3))
    yield array("HP", "(P2000 G3 FC|P2000G3 FC/iSCSI|P2000 G3 SAS|P2000 G3 iSCSI)", _retry("18"))
    yield array("LEFTHAND", "(P4000|iSCSIDisk|FCDISK)", _retry("18"))
    yield array("Nimble", "Server", _retry("queue"))
    yield array("SGI", "(TP9[3457]00|IS)", _RDAC)
    yield array("SGI", "^DD[46]A-", _retry("30"))
    yield array("DDN", "^EF3010", _retry("30", _MULTIBUS))
    yield array("DDN", "^(EF3015|S2A|SFA)", _retry("30"))
    yield array("NEXENTA", "COMSTAR", _retry("30", _BY_SERIAL))
    yield array("TEGILE", "(ZEBI-(FC|ISCSI)|INTELLIFLASH)", _retry("10"))
    yield array("EMC", "SYMMETRIX", _retry("6", _MULTIBUS))
    yield array("^DGC", "^(RAID|DISK|VRAID)", _retry("60") | {"path_checker": "emc_clariion"})
    yield array("^DGC", "^(RAID|DISK|VRAID)", {"detect_checker": "no"}, (0, 9, 1))
    yield array("XtremIO", "XtremApp", _MULTIBUS)
    yield array("COMPELNT", "Compellent Vol", _retry("queue", _MULTIBUS))
    yield array("COMPELNT", "Compellent Vol", _IMMEDIATE, (0, 8, 8))
    yield array("DELL", "^MD3", _RDAC)
    yield array("DellEMC", "PowerStore", _retry("3") | {"fast_io_fail_tmo": "15"}, (0, 8, 6))
    yield array("DellEMC", "ME4", _IMMEDIATE, (0, 8, 8))
    yield array("DellEMC", "^ME", _IMMEDIATE, (0, 9, 0))
    yield array("EQLOGIC", "100E-00", _retry("30", _MULTIBUS), (0, 10, 5), (0, 11, 3), (0, 12, 1))
    yield array("FUJITSU", "(ETERNUS_DX(H|L|M|400|8000)|E[234]000)", _retry("10"))
    yield array("FUJITSU", "E[68]000", _retry("10", _MULTIBUS))
    yield array("FUJITSU", "ETERNUS_AHB", _RDAC, (0, 8, 5))
    yield array("(HITACHI|HP)", "^OPEN-", _MULTIBUS)
    yield array("(HITACHI|HP|HPE)", "^OPEN-", _MULTIBUS, (0, 9, 0))
    yield array("(HITACHI|HP|HPE)", "^OPEN-", _retry("10"), (0, 9, 6))
    yield array("HITACHI", "^DF", _retry("queue"))
    yield array("HITACHI", "^DF600F", _MULTIBUS)
    yield array("HITACHI", "Hi-SDS", _retry("6") | _DIRECTIO, (0, 10, 4), (0, 11, 2))
    yield array("IBM", "^(1722-600|1724|1726|1742|1746|1813|1814|1815|1818|3526|3542|3552)", _RDAC)
    yield array("IBM", "^2145", _retry("queue"))
    yield array("IBM", "1820N00", _retry("queue"))
    yield array("(XIV|IBM)", "(NEXTRA|2810XIV)", _retry("queue", _MULTIBUS))
    yield array("(XIV|IBM)", "(NEXTRA|2810XIV)", _GROUP_BY_PRIO | {"failback": "15"}, (0, 8, 8))
    yield array("(TMS|IBM)", "(RamSan|FlashSystem)", _MULTIBUS)
    yield array("IBM", "^(DCS9900|2851)", _retry("30"))
    yield array("LENOVO", "DE_Series", _RDAC, (0, 8, 1))
    yield array("NETAPP", "LUN", _retry("queue") | {"features": _PG_INIT_50, "dev_loss_tmo": DEV_LOSS_TMO_MAX})
    yield array("(NETAPP|LSI|ENGENIO)", "INF-01-00", _RDAC)
    yield array("SolidFir", "SSD SAN", _retry("24", _MULTIBUS))
    yield array("NEC", "DISK ARRAY", _IMMEDIATE)
    yield array("^Pillar", "^Axiom", _IMMEDIATE)
    yield array("^Oracle", "^Oracle FS", _IMMEDIATE)
    yield array("STK", "(BladeCtlr|OPENstorage|FLEXLINE 380)", _RDAC)
    yield array("SUN", "(STK6580_6780|CSM[12]00_R|LCSM100_[IEFS]|SUN_6180|ArrayStorage)", _RDAC)
    yield array("SUN", "(Sun Storage|ZFS Storage|COMSTAR)", _retry("30"))
    yield array("PIVOT3", "RAIGE VOLUME", _retry("queue", _MULTIBUS))
    yield array("(NexGen|Pivot3)", "(TierStore|vSTAC)", _retry("queue"))
    yield array("(Intel|INTEL)", "Multi-Flex", _retry("queue"))
    yield array("(LIO-ORG|SUSE)", "RBD", _retry("12"))
    yield array("(LIO-ORG|SUSE)", ".", _retry("12"), (0, 8, 9))
    yield array("(LIO-ORG|SUSE)", ".*", _retry("12"), (0, 9, 4))
    yield array("(LIO-ORG|SUSE)", ".*", _DIRECTIO, (0, 9, 5))
    yield array("^SCST_", ".*", _retry("12"), (0, 10, 4))
    yield array("DataCore", "(SANmelody|Virtual Disk)", _retry("queue"))
    yield array("PURE", "FlashArray", _MULTIBUS)
    yield array("PURE", "FlashArray", _IMMEDIATE | {"fast_io_fail_tmo": "10"}, (0, 8, 4))
    yield array("HUAWEI", "XSG1", _GROUP_BY_PRIO)
    yield array("HUAWEI", "XSG1", _retry("15"), (0, 8, 7))
    yield array("^(HUAWEI|AnyStor|Marstor|NETPOSA|SanM|SUGON|UDsafe)", "XSG1", _retry("15"), (0, 10, 0))
    yield array("^(HUAWEI|HUASY|HS)", "^(Dorado|HVS8|S[23568]|V1[568]|VIS6000)", _retry("15"), (0, 10, 0))
    yield array("NFINIDAT", "InfiniBox", _retry("fail", _GROUP_BY_PRIO) | {
        "failback": "30", "path_selector": "round-robin 0", "fast_io_fail_tmo": "15", "dev_loss_tmo": "15",
    })
    yield array("NFINIDAT", "InfiniBox", {"dev_loss_tmo": ""}, (0, 9, 8))
    yield array(
        "NFINIDAT", "InfiniBox",
        _retry("queue") | {"path_selector": "", "dev_loss_tmo": DEV_LOSS_TMO_MAX}, (0, 10, 4), (0, 11, 2),
    )
    yield array("KMNRIO", "K2", _MULTIBUS)
    yield array("NEXSAN", "(NXS-B0|SATAB)", _retry("15"))
    yield array("Nexsan", "(NestOS|NST5000)", _retry("30"))
    yield array("VIOLIN", "SAN ARRAY$", _retry("30", _BY_SERIAL))
    yield array("VIOLIN", "SAN ARRAY ALUA", _retry("30"))
    yield array("VIOLIN", "CONCERTO ARRAY", _retry("30", _MULTIBUS))
    yield array("(XIOTECH|XIOtech)", "ISE", _retry("12", _MULTIBUS))
    yield array("(XIOTECH|XIOtech)", "(IGLU DISK|Magnitude)", _retry("30", _MULTIBUS))
    yield array("Vexata", "VX", _retry("30", _MULTIBUS), (0, 8, 6))
    yield array("Promise", "(VTrak|Vess)", _retry("30"))
    yield array("^IFT", ".*", _retry("30"))
    yield array("DotHill", "SANnet", _retry("30", _MULTIBUS))
    yield array("DotHill", "(R/Evo|^DH)", _retry("30"))
    yield array("SEAGATE", "STJX", _retry("30"), (0, 10, 4), (0, 11, 2))
    yield array("SEAGATE", "^[456]", _retry("30"), (0, 10, 6), (0, 11, 4), (0, 12, 2), (0, 13, 1))
    yield array("AStor", "NeoSapphire", _retry("30", _MULTIBUS))
    yield array("AStor", "NeoSapphire", _IMMEDIATE, (0, 10, 4), (0, 11, 2))
    yield array("INSPUR", "MCS", _IMMEDIATE)
    yield array("MacroSAN", "LU", _retry("30"), (0, 8, 5))
    yield array("Quantum", "(StorNext QX|QXS)", _retry("18"), (0, 10, 4), (0, 11, 2))
    yield array("QUANTUM", "^(F|P|H)[24]", _retry("30"), (0, 10, 4), (0, 11, 2))
    yield array("QUANTUM", "^F1", _retry("30", _BY_SERIAL), (0, 10, 4), (0, 11, 2))
    yield array(
        "VSTORAGE", "VSTOR-DISK",
        _retry("queue") | {"path_grouping_policy": "group_by_node_name", "features": _PG_INIT_50},
        (0, 10, 5), (0, 11, 3), (0, 12, 1),
    )
    yield array("^Qsan", ".*", _retry("30"), (0, 10, 5), (0, 11, 3), (0, 12, 1))


ARRAYS = tuple(_arrays())


def lookup(vendor: str, product: str, version: Version) -> dict[str, str]:
    """What a release of multipath-tools says of a device (its INQUIRY strings), in the words of multipath.conf."""
    found: dict[str, str] = {}
    for array in ARRAYS:
        if array.known_to(version) and re.search(array.vendor, vendor) and re.search(array.product, product):
            found |= array.settings
    return {key: value for key, value in found.items() if value}
