"""The built-in hardware table by release of multipath-tools."""

import re

import pytest

from mpio.config.hwtable import ARRAYS, FIRST_VERSION, lookup
from mpio.model.stack import Version


@pytest.mark.parametrize(
    ("vendor", "product", "version", "key", "value"),
    [
        ("LIO-ORG", "disk01", (0, 8, 8), "no_path_retry", None),  # before 0.8.9 for Ceph's RBD only
        ("LIO-ORG", "RBD", (0, 8, 8), "no_path_retry", "12"),
        ("LIO-ORG", "disk01", (0, 9, 4), "no_path_retry", "12"),
        ("LIO-ORG", "disk01", (0, 9, 4), "path_checker", None),
        ("LIO-ORG", "disk01", (0, 9, 5), "path_checker", "directio"),
        ("SCST_BIO", "disk1", (0, 10, 3), "no_path_retry", None),
        ("SCST_BIO", "disk1", (0, 11, 0), "no_path_retry", "12"),
        ("NETAPP", "LUN C-Mode", (0, 14, 3), "no_path_retry", "queue"),
        ("COMPELNT", "Compellent Vol", (0, 9, 4), "no_path_retry", "queue"),
        ("COMPELNT", "Compellent Vol", (0, 8, 7), "failback", None),
        ("Nimble", "Server", (0, 9, 4), "no_path_retry", "queue"),
        ("DELL", "MD32xxi", (0, 9, 4), "no_path_retry", "30"),
        ("3PARdata", "VV", (0, 9, 4), "fast_io_fail_tmo", "10"),
        ("PURE", "FlashArray", (0, 8, 3), "fast_io_fail_tmo", None),
        ("PURE", "FlashArray", (0, 8, 4), "fast_io_fail_tmo", "10"),
        ("PURE", "FlashArray", (0, 14, 3), "no_path_retry", None),
        ("EQLOGIC", "100E-00", (0, 10, 5), "no_path_retry", "30"),
        ("EQLOGIC", "100E-00", (0, 11, 2), "no_path_retry", None),  # its branch took it over with 0.11.3
        ("EQLOGIC", "100E-00", (0, 11, 3), "no_path_retry", "30"),
        ("EQLOGIC", "100E-00", (0, 13, 0), "no_path_retry", "30"),
        ("NFINIDAT", "InfiniBox", (0, 9, 4), "dev_loss_tmo", "15"),
        ("NFINIDAT", "InfiniBox", (0, 9, 8), "dev_loss_tmo", None),
        ("NFINIDAT", "InfiniBox", (0, 11, 0), "no_path_retry", "fail"),
        ("NFINIDAT", "InfiniBox", (0, 11, 2), "path_selector", None),
        ("HITACHI", "DF600F", (0, 9, 4), "path_grouping_policy", "multibus"),
        ("HITACHI", "DF600F", (0, 9, 4), "no_path_retry", "queue"),  # from the entry for every DF
        ("IET", "VIRTUAL-DISK", (0, 14, 3), "no_path_retry", None),
    ],
)
def test_settings_of_arrays(vendor: str, product: str, version: Version, key: str, value: str | None) -> None:
    assert lookup(vendor, product, version).get(key) == value


def test_entries_are_well_formed() -> None:
    for array in ARRAYS:
        re.compile(array.vendor)
        re.compile(array.product)
        assert array.settings
        assert list(array.since) == sorted(array.since)
        assert array.since[0] >= FIRST_VERSION
        assert len({since[:2] for since in array.since}) == len(array.since), "one release for each branch"
