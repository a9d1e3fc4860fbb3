"""Where a region's sectors are, and what a disk holds where one should be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.errors import InputError
from mpio.heartbeat.formats import o2cb, own, sbd
from mpio.heartbeat.formats.broken import Why
from mpio.heartbeat.region import Found, Holds, Layout, blank, layout_of, look, look_length

SECTORS = (512, 1024, 2048, 4096)
KINDS = (Holds.O2CB, Holds.SBD, Holds.OWN)
layouts = st.builds(Layout, st.sampled_from(KINDS), st.sampled_from(SECTORS), st.integers(1, 255))
TIMING = own.Timing(2, 30, 36)


def header_of(layout: Layout) -> sbd.Header | own.Header | None:
    if layout.holds is Holds.SBD:
        return sbd.Header(sector=layout.sector, slots=layout.slots, uuid=bytes(range(16)))
    if layout.holds is Holds.OWN:
        return own.Header(bytes(range(16)), TIMING, layout.sector, layout.slots)
    return None


def made(layout: Layout, before: int = 0) -> bytearray:
    """A disk full of `before` after a region was made on it."""
    disk = bytearray([before]) * layout.length
    for offset, data in blank(layout, header_of(layout)):
        disk[offset:offset + len(data)] = data
    return disk


@given(layout=layouts)
def test_no_two_sectors_of_a_region_overlap(layout: Layout) -> None:
    places = [layout.slot(node) for node in range(layout.slots)]
    if layout.holds is Holds.SBD:
        places += [0, *(layout.mailbox(node) for node in range(layout.slots))]
    elif layout.holds is Holds.OWN:
        places += [0, layout.slot(layout.slots)]
    assert sorted(places) == list(range(0, layout.length, layout.sector))


@given(layout=layouts, data=st.data())
def test_a_span_has_the_slots_it_is_asked_for_and_no_other(layout: Layout, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, layout.slots - 1))
    last = data.draw(st.integers(first, layout.slots - 1))
    offset, length = layout.span(first, last)
    for node in range(layout.slots):
        places = [layout.slot(node), *([layout.mailbox(node)] if layout.holds is Holds.SBD else [])]
        for place in places:
            assert (offset <= place < offset + length) == (first <= node <= last)


@given(layout=layouts, before=st.integers(0, 255))
def test_a_region_that_was_made_is_found_empty_and_of_its_kind(layout: Layout, before: int) -> None:
    disk = bytes(made(layout, before))
    found = look(disk, layout.sector)
    if layout.holds is Holds.O2CB:
        assert found == Found(Holds.EMPTY, "nothing but zeros")
    else:
        assert found.holds is layout.holds
        assert found.header == header_of(layout)
        assert layout_of(found.header) == layout  # type: ignore[arg-type]
    found.must_be(layout.holds, "disk")
    assert not any(disk[layout.slot(node)] for node in range(layout.slots))


@given(layout=layouts, stop=st.integers(0, 600))
def test_a_region_half_made_is_not_taken_for_one(layout: Layout, stop: int) -> None:
    disk = bytearray(made(layout))
    if layout.holds is Holds.OWN:
        disk[layout.slot(0):layout.slot(0) + layout.sector] = own.render_slot(
            own.Slot(bytes(16), 0, 1, 1, TIMING), layout.sector)
    writes = list(blank(layout, header_of(layout)))
    for offset, data in writes[:max(1, min(stop, len(writes) - 1))]:
        disk[offset:offset + len(data)] = data
    assert look(bytes(disk), layout.sector).holds in (Holds.EMPTY, Holds.FOREIGN)


@given(nodes=st.sets(st.integers(0, 254), min_size=1), sector=st.sampled_from(SECTORS))
def test_blocks_of_o2cb_in_their_places_are_a_region(nodes: set[int], sector: int) -> None:
    disk = bytearray(look_length(sector))
    for node in sorted(nodes):
        disk[node * sector:(node + 1) * sector] = o2cb.render(o2cb.Block(5, node, node % 3, 62_000), sector)
    found = look(bytes(disk), sector)
    assert found.holds is Holds.O2CB
    assert found.words == f"a region of o2cb with {len(nodes)} slots in use"
    assert found.broken is None
    with pytest.raises(InputError, match=rf"disk: expected nothing but zeros, found {found.words}; --yes"):
        found.must_be_free("disk")


def test_one_torn_block_does_not_make_a_region_foreign() -> None:
    blocks = [o2cb.render(o2cb.Block(5, node, 1, 62_000)) for node in range(3)]
    blocks[1] = blocks[1][:16] + b"x" + blocks[1][17:]
    found = look(b"".join(blocks), 512)
    assert found.holds is Holds.O2CB
    assert found.broken is not None
    assert found.broken.why is Why.CHECKSUM
    assert found.broken.words.startswith("slot 1: heartbeat block with checksum")
    found.must_be(Holds.O2CB, "disk")


def test_a_block_left_over_in_somebodys_data_does_not_make_that_a_region() -> None:
    disk = b"data" * 128 + o2cb.render(o2cb.Block(5, 1, 1, 62_000)) + b"data" * 128
    found = look(disk, 512)
    assert found == Found(Holds.FOREIGN, "data of an unknown kind, and 1 heartbeat blocks of o2cb")
    with pytest.raises(InputError, match="expected a heartbeat region of kind o2cb, found data of an unknown kind"):
        found.must_be(Holds.O2CB, "disk")


def test_a_block_in_another_nodes_place_is_none() -> None:
    found = look(bytes(512) + o2cb.render(o2cb.Block(5, 2, 1, 62_000)), 512)
    assert found.holds is Holds.FOREIGN


@pytest.mark.parametrize(("offset", "magic", "words"), [
    (0, b"XFSB", "an XFS file system"),
    (1080, b"\x53\xef", "an ext2, ext3 or ext4 file system"),
    (8192, b"OCFSV2", "an OCFS2 file system"),
    (512, b"LABELONE", "an LVM physical volume"),
    (0, b"LUKS\xba\xbe", "a LUKS volume"),
    (512, b"EFI PART", "a GUID partition table"),
    (510, b"\x55\xaa", "a partition table or boot sector"),
    (0, b"\x10\x20\x21\x12", "a lockspace of sanlock"),
    (300, b"?", "data of an unknown kind"),
    (130_000, b"?", "data of an unknown kind"),
])
def test_foreign_data_is_called_by_its_name(offset: int, magic: bytes, words: str) -> None:
    disk = bytearray(look_length(512))
    disk[offset:offset + len(magic)] = magic
    found = look(bytes(disk), 512)
    assert found == Found(Holds.FOREIGN, words)
    for wanted in KINDS:
        with pytest.raises(InputError, match=rf"^here: expected a heartbeat region of kind {wanted}, found {words}; "):
            found.must_be(wanted, "here")
    with pytest.raises(InputError, match=f"^here: expected nothing but zeros, found {words}; --yes overwrites it$"):
        found.must_be_free("here")


@given(data=st.binary(min_size=1, max_size=5000), sector=st.sampled_from(SECTORS))
def test_any_bytes_are_something_and_only_zeros_are_free(data: bytes, sector: int) -> None:
    found = look(data, sector)
    assert (found.holds is Holds.EMPTY) == (not any(data))


@pytest.mark.parametrize("holds", [Holds.SBD, Holds.OWN])
def test_a_damaged_header_is_neither_used_nor_overwritten(holds: Holds) -> None:
    layout = Layout(holds)
    disk = made(layout)
    disk[8] ^= 0x40
    found = look(bytes(disk), 512)
    assert found.holds is holds
    assert found.broken is not None
    assert found.broken.why is Why.VERSION
    with pytest.raises(InputError, match=r"whose header is damaged \(expected version"):
        found.must_be(holds, "disk")
    with pytest.raises(InputError, match="--yes"):
        found.must_be_free("disk")


@pytest.mark.parametrize("found_holds", KINDS)
@pytest.mark.parametrize("wanted", KINDS)
def test_a_region_of_another_kind_is_refused(found_holds: Holds, wanted: Holds) -> None:
    disk = bytes(made(Layout(found_holds)))
    if found_holds is Holds.O2CB:
        disk = o2cb.render(o2cb.Block(5, 0, 1, 62_000)) + disk[512:]
    found = look(disk, 512)
    if found_holds is wanted:
        found.must_be(wanted, "disk")
    else:
        with pytest.raises(InputError, match=f"expected a heartbeat region of kind {wanted}, found a region of"):
            found.must_be(wanted, "disk")


@pytest.mark.parametrize(("holds", "least"), [(Holds.O2CB, 130_560), (Holds.SBD, 261_632), (Holds.OWN, 131_584)])
def test_a_device_that_is_too_small_is_refused(holds: Holds, least: int) -> None:
    layout = Layout(holds)
    layout.must_fit(least, "disk")
    with pytest.raises(InputError, match=f"^disk: expected at least {least} bytes for 255 slots of {holds}"):
        layout.must_fit(least - 1, "disk")


@pytest.mark.parametrize(("make", "words"), [
    (lambda: Layout(Holds.OWN, 520), "sector size: expected one of"),
    (lambda: Layout(Holds.OWN, 512, 0), "slots: expected 1 to 255, found 0"),
    (lambda: Layout(Holds.EMPTY), "expected that of o2cb, sbd or own; found empty"),
    (lambda: Layout(Holds.OWN).slot(256), "node: expected 0 to 255, found 256"),
    (lambda: Layout(Holds.SBD).slot(255), "node: expected 0 to 254, found 255"),
    (lambda: Layout(Holds.O2CB).mailbox(1), "a region of o2cb has no mailboxes"),
    (lambda: Layout(Holds.SBD, 512, 9).mailbox(9), "node: expected 0 to 8, found 9"),
    (lambda: list(blank(Layout(Holds.SBD))), "a region of sbd is not made with None"),
    (lambda: list(blank(Layout(Holds.O2CB), sbd.Header())), "a region of o2cb is not made with Header"),
    (lambda: list(blank(Layout(Holds.SBD, 4096), sbd.Header())), "512 bytes in a region of 255 slots of 4096"),
    (lambda: look(b"", 100), "sector size"),
])  # fmt: skip
def test_what_cannot_be_is_refused(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()  # type: ignore[operator]
