import asyncio
import shutil
from pathlib import Path

import pytest

from mpio.drill.parse import builtin
from mpio.drill.tgtd_process import TgtdProcess, target_orders
from mpio.errors import InputError


def test_without_tgtd_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    target = TgtdProcess(builtin("tgtd").target, tmp_path)
    with pytest.raises(InputError, match="tgtadm is not installed"):
        asyncio.run(target.start())
    asyncio.run(target.close())
    assert not any(tmp_path.iterdir())


def test_each_lun_gets_its_image_and_discards(tmp_path: Path) -> None:
    orders = target_orders(2, "iqn.2024-01.example:disk", {1: tmp_path / "a", 5: tmp_path / "b"}, 4096)
    words = [" ".join(order) for order in orders]
    assert words[0] == "--op new --mode target --tid 2 --targetname iqn.2024-01.example:disk"
    assert f"--mode logicalunit --tid 2 --lun 5 --op new --backing-store {tmp_path}/b --blocksize 4096" in words
    assert sum("thin_provisioning=1" in order for order in words) == 2
    assert words[-1].startswith("--mode target --op bind --tid 2")


@pytest.mark.parametrize("name", ["tgtd", "tgtd-stop", "tgtd-kill"])
def test_built_in_scenarios_are_for_tgtd(name: str) -> None:
    assert builtin(name).target.program == "tgtd"
