"""The target's configuration file: what it says, and what is wrong with it, where."""

from pathlib import Path
from textwrap import dedent

import pytest

from mpio.errors import InputError
from mpio.model.address import Portal
from mpio.model.identity import AluaState
from mpio.target.configuration import parse_configuration

WHOLE = """
[target]
name = "iqn.2026-01.example:disk"
allow = ["iqn.2026-01.example:a", "iqn.2026-01.example:b"]
control = "run/ctl"

[[portal]]
address = "127.0.0.1:3260"
redirect = "127.0.0.1:3270"

[[portal]]
address = "[::1]:0"
group = 2

[[initiator]]
name = "iqn.2026-01.example:c"

[[initiator]]
name = "iqn.2026-01.example:d"
chap = "d.secret"

[[group]]
tag = 2
state = "standby"
preferred = true

[[lun]]
number = 1
store = "ram:64MiB"
bs = 4096
ro = true
thick = false

[[lun]]
number = 7
store = "file:/srv/disk.img"
size = "1GiB"

[[filter]]
name = "delay"
id = "slow"
time = "50ms"
"""


def test_everything_comes_out_in_the_words_of_the_command_line() -> None:
    told = parse_configuration(WHOLE, "t.toml")
    assert told.target.name == "iqn.2026-01.example:disk"
    assert told.target.allow == ("iqn.2026-01.example:a", "iqn.2026-01.example:b")
    assert (told.target.control, told.target.chap) == ("run/ctl", None)
    assert told.portals == ("127.0.0.1:3260,1", "[::1]:0,2")
    assert told.luns == ("1=ram:64MiB,bs=4096,ro", "7=file:/srv/disk.img,size=1GiB")
    assert told.redirects == (("127.0.0.1:3260", Portal("127.0.0.1", 3270)),)
    assert [(one.name, one.chap) for one in told.initiators] == [
        ("iqn.2026-01.example:c", None), ("iqn.2026-01.example:d", "d.secret")]
    (group,) = told.groups
    assert (group.tag, group.state, group.preferred) == (2, AluaState.STANDBY, True)
    assert told.filters == ({"name": "delay", "id": "slow", "time": "50ms"},)


def test_an_empty_file_says_nothing() -> None:
    told = parse_configuration("", "t.toml")
    assert (told.portals, told.luns, told.groups, told.filters) == ((), (), (), ())


@pytest.mark.parametrize(("text", "line", "words"), [
    ("[target\n", 1, "expected TOML"),
    ("\n[targets]\n", 2, "expected [target]"),
    ("name = 'x'\n", 1, "name: expected [target]"),
    ("target = 3\n", 1, "expected a section [target]"),
    ("[target]\nname = 3\n", 2, "[target] name: expected text"),
    ("[target]\nportal = 'x'\n", 1, "there is no 'portal'; expected one of name"),
    ("[portal]\naddress = 'x'\n", 1, "expected [[portal]] with double brackets"),
    ("[[portal]]\ngroup = 2\n", 1, "address is missing"),
    ("[[portal]]\naddress = 'a'\nredirect = 'b:x'\n", 3, "[[portal]] 1 redirect: expected a port"),
    ("[[initiator]]\nchap = 'x'\n", 1, "name is missing"),
    ("[[portal]]\naddress = 'a'\n[[portal]]\naddress = 'b'\ngroup = 'two'\n", 5, "[[portal]] 2 group: expected"),
    ("[[group]]\ntag = 1\nstate = 'up'\n", 3, "[[group]] 1 state: expected optimized"),
    ("[[lun]]\nnumber = 1\n", 1, "expected number = N and store"),
    ("[[lun]]\nnumber = 1\nstore = 'ram:1MiB'\nbs = [1]\n", 4, "[[lun]] 1 bs: expected text, a number"),
    ("[[lun]]\nnumber = 1\nstore = 'ram:1MiB'\nwwid = '6,ro'\n", 4, "[[lun]] 1 wwid: expected text, a number"),
    ("[[filter]]\ntime = '1s'\n", 1, "expected a filter: delay"),
    ("[[filter]]\nname = 'log'\n\n[[filter]]\nname = 'delay'\ntime = 'soon'\n", 6, "[[filter]] 2 time: expected a dur"),
    ("[[filter]]\nname = 'delay'\ntme = 1\n", 1, "delay has no 'tme'"),
    ("[[filter]]\nname = 'delay'\nid = 3\n", 1, "expected text"),
])
def test_what_is_wrong_is_shown_where_it_is(text: str, line: int, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_configuration(text, "t.toml")
    assert caught.value.where == f"t.toml:{line}"
    assert words in str(caught.value)


def test_the_example_in_the_docs() -> None:
    page = (Path(__file__).parents[3] / "docs" / "target.md").read_text()
    section = page.partition("## A configuration file")[2].partition("\n## ")[0]
    example = dedent("\n".join(line for line in section.splitlines() if line.startswith("    ")))
    told = parse_configuration(example, "docs/target.md")
    assert (len(told.portals), told.luns, told.filters[0]["name"]) == (2, ("1=ram:64MiB,bs=4096,thick",), "delay")
