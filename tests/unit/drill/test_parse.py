"""Scenario files: what is read, and one clear line for everything that is wrong."""

import contextlib
import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpio.drill.fabric import FAULTS
from mpio.drill.parse import STEPS_MAX, builtin, builtin_names, load_scenario, parse_scenario
from mpio.drill.scenario import RELEVANT, SECTIONS, Step
from mpio.errors import InputError
from mpio.model.settings import FAST, LINUX
from mpio.units import NS_PER_S, seconds

NODES = "[cluster]\nnodes = 2\n"
STEP = '[[step]]\naction = "inject"\n'


def test_an_empty_file_is_the_default_of_everything() -> None:
    scenario = parse_scenario("")
    assert scenario.settings == FAST
    assert scenario.path_count == 2
    assert scenario.steps == ()
    assert scenario.workload.region == 16 << 20
    assert scenario.claims.max_stall == "bound"


def test_everything_that_can_be_said() -> None:
    scenario = parse_scenario("""
[scenario]
name = "all"
seed = 5
duration = "20s"
[target]
portals = 3
portal_groups = "separate"
block_size = 4096
size = "32MiB"
store = "file"
plant = "lost:200"
[settings]
profile = "linux"
noop_out_interval = "250ms"
noop_out_timeout = 1
no_path_retry = "queue"
failback = "immediate"
fast_io_fail_tmo = "2s"
chap_algs = ["MD5"]
[cuts]
kind = "relay"
[workload]
workers = 3
block_sizes = ["8KiB", 16384]
rate = 0
[claims]
max_stall = "1.5s"
errors = "allowed"
[[step]]
action = "flap"
fault = "delay"
params = { ms = 20, direction = "to_target" }
path = [1, 3]
times = 2
expect = "any"
at = 2
[[step]]
action = "heal"
after = "reinstated"
[[step]]
action = "target"
signal = "KILL"
[[step]]
action = "target"
signal = "restart"
""")
    assert scenario.settings == LINUX.replace(
        noop_out_interval=0.25, noop_out_timeout=1, no_path_retry="queue", failback="immediate", fast_io_fail_tmo=2.0,
        chap_algs=("MD5",))
    assert (scenario.about.seed, scenario.about.duration) == (5, seconds(20))
    assert (scenario.target.portals, scenario.target.plant, scenario.target.size) == (3, "lost:200", 32 << 20)
    assert scenario.workload.block_sizes == (8192, 16384)
    assert scenario.claims.max_stall == seconds(1.5)
    flap, heal, kill, _ = scenario.steps
    assert (flap.path, flap.at, flap.times) == ((1, 3), seconds(2), 2)
    assert flap.params == {"ms": 20, "direction": "to_target"}
    assert scenario.step_paths(heal) == (1, 2, 3)
    assert (heal.after, kill.label, flap.label) == ("reinstated", "target KILL", "flap delay on path 1 and 3")
    assert heal.timeout == 300 * NS_PER_S


@pytest.mark.parametrize("name", builtin_names())
def test_builtin_scenarios_are_sound_and_named_for_their_file(name: str) -> None:
    scenario = builtin(name)
    assert scenario.about.name == name
    assert len(scenario.about.description) > 20


@pytest.mark.parametrize(("text", "where", "message"), [
    ("[scenario\n", "s.toml:1", "expected TOML"),
    ("[scenario]\nname = 'a'\nname = 'b'\n", "s.toml:3", "expected TOML"),
    ("\n\n[workloads]\n", "s.toml:3", "there is no section 'workloads' (did you mean 'workload'?)"),
    ("workload = 3\n", "s.toml:1", "workload: expected a section [workload]"),
    ("[step]\naction = 'heal'\n", "s.toml:1", "expected [[step]] with double brackets"),
    ("[workload]\nread_fractoin = 0.5\n", "s.toml:2", "there is no such key (did you mean 'read_fraction'?)"),
    ("[workload]\nread_fraction = 1.5\n", "s.toml:2", "expected a number from 0 to 1, found 1.5"),
    ("[workload]\nread_fraction = nan\n", "s.toml:2", "expected a number from 0 to 1, found nan"),
    ("[workload]\nworkers = true\n", "s.toml:2", "expected a whole number from 1 to 64, found True"),
    ("[workload]\nregion = '1MiB'\n\nblock_sizes = ['512KiB']\n", "s.toml:4", "up to a worker's stripe (262144 bytes"),
    ("[workload]\nblock_sizes = []\n", "s.toml:2", "expected a list of 1 to 32 sizes"),
    ("[workload]\nblock_sizes = ['700']\n", "s.toml:2", "expected whole blocks of 512 bytes, found 700"),
    ("[workload]\nregion = '100MiB'\n", "s.toml:2", "expected a region within the LU of 67108864 bytes"),
    ("[workload]\noffset = 100\n", "s.toml:2", "expected whole blocks of 512 bytes"),
    ("[target]\nsize = '12 parsec'\n", "s.toml:2", "found the unit 'parsec'"),
    ("[target]\nblock_size = 1024\n", "s.toml:2", "expected 512 or 4096, found 1024"),
    ("[target]\nportals = 17\n", "s.toml:2", "expected a whole number from 1 to 16, found 17"),
    ("[target]\nportal_groups = 'share'\n", "s.toml:2", "found 'share' (did you mean 'shared'?)"),
    ("[target]\nplant = 'lost'\n", "s.toml:2", "expected lost:N, stale:N or torn:N"),
    ("[paths]\nurls = ['nonsense']\n", "s.toml:2", "expected iscsi://host"),
    ("[paths]\nurls = ['iscsi://u%secret@h/iqn.x:y/1']\n", "s.toml:2", "a secret does not belong in a scenario file"),
    ("[paths]\nurls = ['iscsi://h/iqn.x:y/1']\n[target]\n", "s.toml:3", "the target exists already"),
    ("[settings]\nprofile = 'slow'\n", "s.toml:2", "expected one of fast, linux"),
    ("[settings]\nno_path_rety = 3\n", "s.toml:2", "there is no such setting (did you mean 'no_path_retry'?)"),
    ("[settings]\nnoop_out_interval = -1\n", "s.toml:2", "[settings] noop_out_interval: expected a number from 0"),
    ("[settings]\nnoop_out_interval = 'soon'\n", "s.toml:2", "[settings]"),
    ("[settings]\nnoop_out_interval = { s = 3 }\n", "s.toml:2", "[settings]"),
    ("[settings]\nfence = 3\n", "s.toml:2", "expected one of auto"),
    ("[settings]\npassword = 'x'\n", "s.toml:2", "a secret does not belong in a scenario file"),
    ("[cuts]\nkind = 'none'\n" + STEP, "s.toml:4", "inject needs [cuts] of kind relay or netns"),
    ("[claims]\nmax_stall = 'never'\n", "s.toml:2", "expected 'bound' or 'any' or a duration"),
    ("[[step]]\npath = 1\n", "s.toml:1", "[[step]] 1: expected an action, one of inject"),
    ("[[step]]\naction = 'cut'\n", "s.toml:2", "expected one of inject, heal"),
    (STEP + "fault = 'lightning'\n", "s.toml:3", "expected one of blackhole"),
    (STEP + "params = { ms = 3 }\n", "s.toml:3", "blackhole has no parameter 'ms'"),
    (STEP + "params = { direction = 'up' }\n", "s.toml:3", "expected both"),
    (STEP + "path = 3\n", "s.toml:3", "expected paths up to 2, found 3"),
    (STEP + "path = [1, 1]\n", "s.toml:3", "expected each path once"),
    (STEP + "path = []\n", "s.toml:3", "expected a path number from 1"),
    (STEP + "node = 2\n", "s.toml:3", "expected nodes up to 1, found 2"),
    (STEP + "network = 'cluster'\n", "s.toml:3", "is about heartbeats: expected [cluster] with 2 nodes or more"),
    (STEP + "after = 'fenced'\n", "s.toml:3", "is about heartbeats"),
    ("[[step]]\naction = 'crash'\n", "s.toml:2", "is about heartbeats"),
    (NODES + STEP + "network = 'client'\npath = 1\n", "s.toml:6", "has no meaning for the client network"),
    (NODES + STEP + "network = 'client'\nfault = 'reset'\n", "s.toml:6", "expected one of blackhole, delay"),
    (NODES + "cluster_network = 'storage'\n" + STEP + "network = 'cluster'\n", "s.toml:6",
     "shares the wires of path 1 here"),
    (NODES + "client_network = 'cluster'\n" + STEP + "network = 'client'\n", "s.toml:6",
     "shares the wires of the cluster network here"),
    (NODES + STEP + "node = 1\npath = 1\n" + STEP + "node = [1, 2]\n", "s.toml:7",
     "node 1 path 1 has a fault already"),
    (NODES + STEP + "node = [2, 2]\n", "s.toml:5", "expected each node once"),
    (NODES + "[[step]]\naction = 'poison'\npath = 1\n", "s.toml:5", "has no meaning for the action 'poison'"),
    (NODES + "[cuts]\nkind = 'netns'\n", "s.toml:4", "netns has wires for one node only"),
    (NODES + "[target]\nsize = '20MiB'\n", "s.toml", "regions of 2 nodes"),
    ("[cluster]\nnodes = 9\n", "s.toml:2", "expected a whole number from 1 to 8"),
    ("[cluster]\nservice = 1\n", "s.toml:2", "expected true or false"),
    (STEP + "signal = 'STOP'\n", "s.toml:3", "has no meaning for the action 'inject'"),
    (STEP + "at = 'soon'\n", "s.toml:3", "expected a duration"),
    (STEP + "after = 'later'\n", "s.toml:3", "expected one of detected"),
    (STEP + "path = 2\n" + STEP, "s.toml:4", "[[step]] 2 path: path 2 has a fault already"),
    ("[[step]]\naction = 'target'\nsignal = 'KILL'\n", "s.toml:3", "would lose a RAM LU's blocks"),
    ("[[step]]\naction = 'order'\n", "s.toml:1", "expected an order, for a target that runs"),
    ("[[step]]\naction = 'order'\norder = 'sessions'\n", "s.toml:3", "expected a table with do = "),
    ("[[step]]\naction = 'order'\norder = { do = 'add', name = 'delai' }\n", "s.toml:3", "expected a filter: delay"),
    ("[[step]]\naction = 'order'\norder = { do = 'add', name = 'delay', time = 'x' }\n", "s.toml:3", "time: expected"),
    ("[target]\nprogram = 'tgtd'\nstore = 'file'\n[[step]]\naction = 'order'\norder = { do = 'luns' }\n", "s.toml:5",
     "order is for the built-in target only"),
    ("[target]\nstore = 'file'\n[[step]]\naction = 'target'\nsignal = 'restart'\n", "s.toml:5",
     "expected restart after KILL"),
    ("[paths]\nurls = ['iscsi://h/iqn.x:y/1']\n[[step]]\naction = 'target'\n", "s.toml:4", "built-in target only"),
    ("[[step]]\naction = 'heal'\n" * (STEPS_MAX + 1), f"s.toml:{2 * STEPS_MAX + 1}", "expected at most 1000 steps"),
])
def test_what_is_wrong_is_said_with_its_line(text: str, where: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_scenario(text, "s.toml")
    assert caught.value.where == where
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(alphabet=st.sampled_from('[]="\'\n{}.,#0a_ée\\-'), max_size=60))
def test_any_text_gives_a_scenario_or_an_input_error(text: str) -> None:
    with contextlib.suppress(InputError):
        parse_scenario(text)


@given(st.sampled_from(sorted(SECTIONS)), st.data())
def test_any_value_of_any_key_gives_a_scenario_or_an_input_error(section: str, data: st.DataObject) -> None:
    names = [item.name for item in dataclasses.fields(SECTIONS[section])]
    key = data.draw(st.sampled_from(names))
    value = data.draw(st.sampled_from((
        "0", "-1", "1e400", "nan", "true", "''", "'x'", "[]", "[[]]", "{}", "1979-05-27", "99999999999999999999999",
        "'1s'", "[1, 'a']", "{ a = { b = 1 } }", "0.1")))
    header = "[[step]]\naction = 'inject'" if section == "step" else f"[{section}]"
    if key != "action":
        with contextlib.suppress(InputError):
            parse_scenario(f"{header}\n{key} = {value}\n")


def test_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read: No such file"):
        load_scenario(str(tmp_path / "none.toml"))
    with pytest.raises(InputError, match="can't be read"):
        load_scenario(f"{tmp_path}/")
    with pytest.raises(InputError, match="did you mean 'default'"):
        load_scenario("defalt")
    bad = tmp_path / "bad.toml"
    bad.write_bytes(b"[scenario]\nname = '\xff'\n")
    with pytest.raises(InputError, match=r"bad.toml:2: expected UTF-8 text, found the byte 0xff"):
        load_scenario(str(bad))
    bad.write_bytes(b"#" * (1 << 20) + b"\n\n")
    with pytest.raises(InputError, match="expected at most"):
        load_scenario(str(bad))
    good = tmp_path / "good.toml"
    good.write_text("[scenario]\nname = 'good'\n")
    assert load_scenario(str(good)).about.name == "good"


def test_every_key_of_a_step_belongs_to_some_action() -> None:
    used = frozenset[str]().union(*RELEVANT.values())
    assert used == {item.name for item in dataclasses.fields(Step)}


def test_the_reference_names_every_section_key_and_fault() -> None:
    page = (Path(__file__).parents[3] / "docs" / "drill.md").read_text()
    for section, cls in SECTIONS.items():
        assert f"`[{section}]`" in page or f"`[[{section}]]`" in page
        for item in dataclasses.fields(cls):
            assert f"| `{item.name}` |" in page, item.name
            assert item.metadata["meaning"] in page, item.name
    for kind in FAULTS:
        assert f"`{kind}`" in page
