"""Debian's multipath-tools as an oracle: what it makes of configuration files, without a daemon or any device.

`multipath -t` prints the configuration that it would work with. It only reads /etc, so it gets an /etc of its own, in
a mount namespace that ends with it.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.peers import ALL_SBIN, Missing, find

Settings = dict[str, str]


@dataclass
class Dump:
    """What `multipath -t` prints: sections of one name as one, `device`, `multipath` and `protocol` ones in order.

    Attributes:
        said: its complaints about the files, without time stamps.
    """

    sections: dict[str, Settings] = field(default_factory=dict)
    devices: list[Settings] = field(default_factory=list)
    multipaths: list[Settings] = field(default_factory=list)
    protocols: list[Settings] = field(default_factory=list)
    blacklist: list[tuple[str, str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def version() -> tuple[int, ...]:
    """The release of the multipath-tools that is installed. Raises Missing."""
    done = subprocess.run([find("multipath"), "-h"], capture_output=True, text=True, timeout=30, check=False)
    found = re.search(r"multipath-tools v(\d+)\.(\d+)\.(\d+)", done.stdout + done.stderr)
    assert found, done
    return tuple(int(part) for part in found.groups())


def dump(files: Mapping[str, bytes]) -> Dump:
    """Let multipath read files, named from /etc: "multipath.conf", "multipath/conf.d/x.conf". Raises Missing."""
    find("unshare", "multipath", "mount")
    with tempfile.TemporaryDirectory() as directory:
        for name, data in files.items():
            path = Path(directory, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        namespaces = ["--mount"] if os.geteuid() == 0 else ["--map-root-user", "--mount"]
        script = 'mount --bind "$0" /etc || exit 77; exec multipath -t'
        done = subprocess.run(
            ["unshare", *namespaces, "sh", "-c", script, directory],
            capture_output=True, timeout=30, check=False, stdin=subprocess.DEVNULL, env={"PATH": ALL_SBIN},
        )  # fmt: skip
    if done.returncode == 77 or done.stderr.startswith(b"unshare:"):
        raise Missing(f"a mount namespace: {done.stderr[:200]!r}")
    assert done.returncode == 0, done
    return _parse(done.stdout.decode("utf-8", "surrogateescape"))


def _parse(text: str) -> Dump:
    result = Dump()
    path: list[str] = []
    repeated = {"devices": result.devices, "multipaths": result.multipaths, "overrides": result.protocols}
    for line in text.split("\n"):
        stamped = re.match(r"\d+\.\d+ \| (.*)", line)
        words = line.strip("\t")
        if stamped:
            result.said.append(stamped[1])
        elif words.endswith(" {"):
            path.append(words[:-2])
            if len(path) == 2 and path[0] in repeated:
                repeated[path[0]].append({})
        elif words == "}":
            path.pop()
        elif words:
            key, _, value = words.partition(" ")
            if value.startswith('"'):
                value = value[1:-1].replace('""', '"')
            if path[0].startswith("blacklist"):
                result.blacklist.append(("/".join([*path, key]), value))
            elif len(path) == 2:
                repeated[path[0]][-1][key] = value
            else:
                result.sections.setdefault(path[0], {})[key] = value
    return result
