"""Our target under the tools of libiscsi and QEMU, as people use them."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.command import Done, mpio, tool
from tests.peers import MpioTarget

pytestmark = pytest.mark.interop

USER, SECRET = "joe", "a-secret-of-16-b"
OWN = ("disk", "another-secret-1")
SIZE = 256 << 20
BLOCK_SIZES = {1: 512, 2: 4096}
LUNS = [f"{lun}=ram:{SIZE},bs={block_size}" for lun, block_size in BLOCK_SIZES.items()]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MpioTarget]:
    with MpioTarget(tmp_path_factory.mktemp("target"), *LUNS) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MpioTarget]:
    directory = tmp_path_factory.mktemp("guarded")
    secrets = directory / "chap"
    secrets.write_text(f"{USER} {SECRET}\n{OWN[0]} {OWN[1]}\n")
    with MpioTarget(directory, *LUNS, options=["--chap", str(secrets)]) as running:
        yield running


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with data, zeros and holes."""
    path = tmp_path_factory.mktemp("image") / "disk.img"
    rng = random.Random(3)
    with path.open("wb") as file:
        file.truncate(SIZE)
        for offset in (0, 20 << 20, 100 << 20, SIZE - (8 << 20)):
            file.seek(offset)
            file.write(rng.randbytes(8 << 20))
        file.seek(40 << 20)
        file.write(bytes(4 << 20))
    return path


def good(done: Done) -> str:
    assert done.code == 0, done.out[-2000:] + done.err[-2000:]
    return done.out


# --- libiscsi


def test_libiscsi_goes_where_it_is_sent(tmp_path: Path) -> None:
    control = tmp_path / "control"

    def order(*words: object) -> None:
        assert mpio("target", "ctl", "--socket", control, *words).code == 0

    with MpioTarget(tmp_path, options=["--control", str(control)]) as target:
        one, other = target.portals
        order("redirect", one, other)
        good(tool("iscsi-inq", target.url(1)))
        order("offline", other)
        assert tool("iscsi-inq", target.url(1)).code != 0  # the first one only sends it on
        order("redirect", one)
        good(tool("iscsi-inq", target.url(1)))


def test_iscsi_ls_lists_portals_and_luns(target: MpioTarget) -> None:
    found = good(tool("iscsi-ls", "-s", f"iscsi://{target.portals[0]}"))
    for portal in target.portals:
        assert f"Target:{target.target} Portal:{portal},1" in found
    assert found.count("DIRECT_ACCESS (Size:255M)") == len(LUNS) * len(target.portals)


def test_iscsi_inq_reads_the_standard_data(target: MpioTarget) -> None:
    found = good(tool("iscsi-inq", target.url()))
    for line in ("Peripheral Device Type:DIRECT_ACCESS", "Vendor:MPIO", "CmdQue:1", "Version Descriptor:0960 iSCSI"):
        assert line in found


@pytest.mark.parametrize(
    ("page", "line"),
    [
        (0x00, "Page:0xb2 LOGICAL_BLOCK_PROVISIONING"),
        (0x80, "Unit Serial Number:["),
        (0x83, "Designator Type:(3) NAA"),
        (0xB0, "maximum unmap lba count:"),
        (0xB1, "Medium Rotation Rate:1RPM"),
        (0xB2, "lbpu:1"),
    ],
)
def test_iscsi_inq_reads_the_vital_product_data(target: MpioTarget, page: int, line: str) -> None:
    assert line in good(tool("iscsi-inq", "--evpd=1", f"--pagecode={page}", target.url()))


@pytest.mark.parametrize("lun", BLOCK_SIZES)
def test_iscsi_readcapacity16(target: MpioTarget, lun: int) -> None:
    found = good(tool("iscsi-readcapacity16", target.url(lun=lun)))
    assert f"LOGICAL BLOCK LENGTH IN BYTES:{BLOCK_SIZES[lun]}\n" in found
    assert f"Total size:{SIZE}" in found


def test_iscsi_swp_sets_software_write_protection(target: MpioTarget, tmp_path: Path) -> None:
    url = target.url(2)
    write = ("qemu-io", "-f", "raw", "-c", "write 0 4k", target.url())
    assert "SWP:0" in good(tool("iscsi-swp", url))
    try:
        good(tool("iscsi-swp", "--swp=on", url))
        assert "SWP:1" in good(tool("iscsi-swp", url))
        refused = tool(*write)
        assert refused.code != 0 or "failed" in refused.out + refused.err
    finally:
        good(tool("iscsi-swp", "--swp=off", url))
    assert "wrote 4096/4096" in good(tool(*write))


@pytest.mark.parametrize("digest", ["none", "crc32c"])
def test_iscsi_perf_reads(target: MpioTarget, digest: str) -> None:
    url = f"{target.url()}?header_digest={digest}"
    assert "iops average" in good(tool("iscsi-perf", "-t", 1, "-m", 32, "-b", 8, "-r", url))


@pytest.mark.parametrize("digest", ["none", "crc32c"])
def test_chap_of_libiscsi_one_way_and_mutual(guarded: MpioTarget, digest: str) -> None:
    url = f"{guarded.url(user=f'{USER}%{SECRET}')}?header_digest={digest}"
    good(tool("iscsi-inq", url))
    good(tool("iscsi-inq", f"{url}&target_user={OWN[0]}&target_password={OWN[1]}"))
    good(tool("iscsi-ls", "-s", f"iscsi://{USER}%{SECRET}@{guarded.portals[0]}"))


def test_libiscsi_without_the_right_secret(guarded: MpioTarget) -> None:
    for user in ("", f"{USER}%not-the-secret!!", f"bob%{SECRET}"):
        done = tool("iscsi-inq", guarded.url(user=user))
        assert done.code != 0
        assert "Authentication failure" in done.err
    url = f"{guarded.url(user=f'{USER}%{SECRET}')}?target_user={OWN[0]}&target_password=not-the-secret!!"
    assert "Invalid CHAP_R" in tool("iscsi-inq", url).err


# --- QEMU

STEPS = (
    "write -P 0x5a 0 1M", "aio_write -P 0xa5 1M 64k", "aio_flush", "read -P 0x5a 0 1M", "read -P 0xa5 1M 64k",
    "discard 64k 64k", "read -P 0 64k 64k", "write -z 128k 64k", "read -P 0 128k 64k", "write -f -P 7 0 4k", "flush",
    "read -P 7 0 4k",
)  # fmt: skip


def qemu_io(*words: str) -> Done:
    """The steps, one after the other, on a disk."""
    return tool("qemu-io", *(word for step in STEPS for word in ("-c", step)), *words)


def check_steps(done: Done) -> None:
    said = good(done) + done.err
    assert "failed" not in said
    assert "verification" not in said  # what it says of a pattern that is not there


@pytest.mark.parametrize("lun", BLOCK_SIZES)
def test_qemu_img_copies_an_image_there_and_back(target: MpioTarget, image: Path, tmp_path: Path, lun: int) -> None:
    there, back = target.url(lun=lun), tmp_path / "back.img"
    good(tool("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", image, there))
    assert "identical" in good(tool("qemu-img", "compare", "-f", "raw", "-F", "raw", image, there))
    good(tool("qemu-img", "convert", "-f", "raw", "-O", "raw", target.url(2, lun=lun), back))
    assert "identical" in good(tool("qemu-img", "compare", "-f", "raw", "-F", "raw", there, back))
    with image.open("rb") as one, back.open("rb") as other:
        while chunk := one.read(1 << 20):
            assert other.read(1 << 20) == chunk
    good(tool("qemu-io", "-f", "raw", "-c", "write -P 0x11 100M 4k", there))
    assert tool("qemu-img", "compare", "-f", "raw", "-F", "raw", image, there).code == 1


@pytest.mark.parametrize("lun", BLOCK_SIZES)
def test_a_disk_of_qemu(target: MpioTarget, lun: int) -> None:
    check_steps(qemu_io("-f", "raw", target.url(lun=lun)))


def test_qemu_with_chap_and_digests(guarded: MpioTarget) -> None:
    disk = (f"driver=iscsi,transport=tcp,portal={guarded.portals[0]},target={guarded.target},lun=1,user={USER},"
            "password-secret=chap,header-digest=crc32c")  # fmt: skip
    check_steps(qemu_io("--object", f"secret,id=chap,data={SECRET}", "--image-opts", disk))
