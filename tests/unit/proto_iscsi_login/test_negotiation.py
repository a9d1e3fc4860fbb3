import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.errors import RemoteProtocolError
from mpio.proto.iscsi.negotiation import FIXED, KEYS, Function, Negotiator, Value, parse_number

DIGESTS = ["None", "CRC32C", "None,CRC32C", "CRC32C,None"]
VALUES = {
    name: st.booleans() if isinstance(key.default, bool) else st.integers(key.low, key.high)
    for name, key in KEYS.items()
    if name not in FIXED and not isinstance(key.default, str) and key.function is not Function.DECLARED
} | {"HeaderDigest": st.sampled_from(DIGESTS), "DataDigest": st.sampled_from(DIGESTS)}
OWN = st.fixed_dictionaries({}, optional=VALUES)


def negotiate(one: Negotiator, other: Negotiator, offers: list[str]) -> None:
    """`one` offers some keys and `other` answers, and offers what else it can't leave at the default."""
    answers = []
    for name, text in one.offer(offers):
        answer = other.receive(name, text)
        if answer is not None:
            answers.append((name, answer))
    for name, text in answers + other.offer(other.wishes()):
        answer = one.receive(name, text)
        if answer is not None:
            assert other.receive(name, answer) is None


def _supported(own: dict[str, Value]) -> set[str]:
    return set(str(own.get("HeaderDigest", "None")).split(","))


@given(OWN, OWN, st.data())
def test_both_sides_compute_the_same_and_within_the_limits_of_both(
    first: dict[str, Value], second: dict[str, Value], data: st.DataObject
) -> None:
    one, other = Negotiator(first), Negotiator(second)
    offers = data.draw(st.lists(st.sampled_from(sorted(first)), unique=True)) if first else []
    offers += [name for name in one.wishes() if name not in offers]
    negotiate(one, other, offers)
    for name, key in KEYS.items():
        if key.function in (Function.DECLARED, Function.OBSOLETE):
            continue
        result = one.result(name)
        assert result == other.result(name), name
        for own in (first, second):
            limit = own.get(name, FIXED.get(name, key.default))
            match key.function:
                case Function.MINIMUM:
                    assert int(result) <= int(limit) or name not in own
                case Function.MAXIMUM:
                    assert int(result) >= int(limit) or name not in own
                case Function.AND:
                    assert not result or limit
                case Function.OR:
                    assert result or not limit
                case Function.LIST:
                    supported = str(limit).split(",")
                    assert result in supported or name in one.unmet() + other.unmet()
    common = _supported(first) & _supported(second)
    assert ("HeaderDigest" in one.unmet() + other.unmet()) == (not common)


@given(st.lists(st.tuples(st.sampled_from([*KEYS, "X-com.example.key"]), st.text(max_size=20)), max_size=30))
def test_any_pairs_are_answered_or_a_typed_error(pairs: list[tuple[str, str]]) -> None:
    side = Negotiator({"MaxBurstLength": 4096})
    side.offer(["MaxBurstLength"])
    for name, value in pairs:
        try:
            answer = side.receive(name, value)
        except RemoteProtocolError:
            return
        assert answer is None or 0 < len(answer) <= 255


@pytest.mark.parametrize(
    ("name", "offer", "answer"),
    [
        ("MaxBurstLength", "16384", "8192"),
        ("MaxBurstLength", "0x1000", "4096"),
        ("MaxBurstLength", "511", "Reject"),
        ("MaxBurstLength", "16777216", "Reject"),
        ("MaxBurstLength", "many", "Reject"),
        ("InitialR2T", "No", "No"),
        ("InitialR2T", "no", "Reject"),
        ("ImmediateData", "Yes", "No"),
        ("HeaderDigest", "CRC32C,None", "CRC32C"),
        ("HeaderDigest", "None,CRC32C", "None"),
        ("HeaderDigest", "CRC64,CRC32C", "CRC32C"),
        ("HeaderDigest", "CRC64", "Reject"),
        ("DefaultTime2Wait", "5", "5"),
        ("DefaultTime2Wait", "0", "3"),
        ("MaxConnections", "8", "1"),
        ("ErrorRecoveryLevel", "2", "0"),
        ("DataPDUInOrder", "No", "Yes"),
        ("TaskReporting", "FastAbort,ResponseFence,RFC3720", "RFC3720"),
        ("iSCSIProtocolLevel", "2", "1"),
        ("OFMarker", "Yes", "No"),
        ("OFMarkInt", "2048~8192", "Irrelevant"),
        ("X-com.example.thing", "1", "NotUnderstood"),
        ("SendTargets", "All", "NotUnderstood"),
        ("MaxRecvDataSegmentLength", "65536", None),
        ("InitiatorAlias", "rack 3", None),
    ],
)
def test_answers(name: str, offer: str, answer: str | None) -> None:
    side = Negotiator({
        "MaxBurstLength": 8192, "InitialR2T": False, "ImmediateData": False, "HeaderDigest": "None,CRC32C",
        "DefaultTime2Wait": 3,
    })  # fmt: skip
    assert side.receive(name, offer) == answer


@pytest.mark.parametrize("refusal", ["NotUnderstood", "Irrelevant", "Reject"])
def test_an_offer_that_is_refused_leaves_the_default(refusal: str) -> None:
    side = Negotiator({"MaxBurstLength": 1 << 20, "HeaderDigest": "CRC32C"})
    side.offer(["MaxBurstLength", "HeaderDigest"])
    side.receive("MaxBurstLength", refusal)
    side.receive("HeaderDigest", refusal)
    assert side.result("MaxBurstLength") == 262144
    assert side.unmet() == ["HeaderDigest"]


def test_a_default_for_an_answer_that_was_not_offered_is_a_refusal() -> None:
    side = Negotiator({"HeaderDigest": "CRC32C"})  # tgt without digests answers so
    side.offer(["HeaderDigest"])
    side.receive("HeaderDigest", "None")
    assert side.unmet() == ["HeaderDigest"]


def test_repeats_and_answers_that_do_not_fit_are_errors() -> None:
    side = Negotiator({"HeaderDigest": "None"})
    side.offer(["HeaderDigest"])
    with pytest.raises(RemoteProtocolError, match="offer"):
        side.receive("HeaderDigest", "CRC32C")
    side.receive("MaxConnections", "1")
    with pytest.raises(RemoteProtocolError, match="twice"):
        side.receive("MaxConnections", "1")
    with pytest.raises(RemoteProtocolError, match="no offer"):
        side.receive("ImmediateData", "Irrelevant")


def test_numbers() -> None:
    assert parse_number("0x1F") == 31
    assert parse_number("31") == 31
    for text in ("", "-1", "1.5", "0x", "99999999999", "0x123456789", "\u0661"):
        with pytest.raises(ValueError, match="number"):
            parse_number(text)
