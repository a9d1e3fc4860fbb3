"""From a host's own settings to what they imply: files in, an assessment and the nearest safe change out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mpio.cli.plan_answer import Answer
from mpio.cli.plan_goals import goals_from, version_from
from mpio.config.document import Document, Problem
from mpio.config.effective import Device, EffectiveHost, Host, effective
from mpio.config.files import Kind
from mpio.config.render import Rendered, place_of, render_files
from mpio.config.render_commands import render_commands
from mpio.config.validate import validate
from mpio.errors import InputError
from mpio.io.config_dir import Configuration, read_configuration
from mpio.model.cluster import Cluster
from mpio.planner.assess import assess
from mpio.planner.cluster import KINDS, defaults, kind_of
from mpio.planner.goals import Assessment, settable, setting
from mpio.report.plan_sheet import assessment_sheet


def assess_host(places: Sequence[Path], options: Mapping[str, Any], fixed: Mapping[str, object]) -> Answer:
    """What the files below these places, and the settings that are given besides, imply. Raises InputError."""
    configuration = read_configuration(places) if places else Configuration()
    _check_one_host(configuration)
    host = effective(Host(
        documents=configuration.documents, device=device_from(options["device"]), hz=options["hz"],
        multipath_tools=version_from("--multipath-tools", options["multipath_tools"]),
        kernel=version_from("--kernel", options["kernel"]), distribution=options["distribution"],
        wwid=options["map_name"] or "", alias=options["map_name"] or "", options=fixed,
    ))
    cluster = options["cluster"] or _cluster_of(host.clusters)
    clusters = _with_defaults(host.clusters, cluster, options["nodes"])
    goals = goals_from(options, cluster, fixed)
    found = assess(host.stack, clusters, goals.target, goals)
    origins = {name: str(item.origin) for name, item in host.values.items() if _is_there(found, name)}
    origins |= {name: "no file says anything: as shipped" for name in settable(goals.cluster) if name not in origins}
    problems = _problems(configuration, host)
    sheet = assessment_sheet(found, goals, origins, problems, [str(place) for place in places])
    return Answer(sheet, _change_files(found, configuration.documents))


def _change_files(found: Assessment, documents: Mapping[Kind, Sequence[Document]]) -> tuple[Rendered, ...]:
    settings = {name: change.new for name, change in found.nearest_safe.items()}
    reasons = {name: change.why for name, change in found.nearest_safe.items()}
    version = found.stack.multipath_tools
    return (*render_files(settings, reasons, {}, documents, version),
            *render_commands(settings, reasons, documents, version))


def _is_there(found: Assessment, name: str) -> bool:
    try:
        setting(found.stack, found.clusters, name)
    except KeyError:
        return False
    return True


def _problems(configuration: Configuration, host: EffectiveHost) -> list[Problem]:
    """Of reading, of syntax, of values, of precedence: each once, in the order of the files.

    Where precedence found an error in a line it knows what this version makes of it, and the schema's general word
    about that line is left out.
    """
    judged = {(problem.file, problem.line) for problem in host.problems if problem.severity == "error" and problem.line}
    found = list(configuration.problems)
    for kind, documents in configuration.documents.items():
        for document in documents:
            found += document.problems
            found += [problem for problem in validate(document, kind)
                      if problem.severity != "error" or (problem.file, problem.line) not in judged]
    return sorted(dict.fromkeys([*found, *host.problems]), key=lambda problem: (problem.file, problem.line))


def _check_one_host(configuration: Configuration) -> None:
    """Files of two hosts can't be joined. Raises InputError."""
    for kind, documents in configuration.documents.items():
        seen: dict[str, Document] = {}
        for document in documents:
            place = place_of(kind, document)
            if place in seen:
                raise InputError(document.file, f"is the same file as {seen[place].file}: name one host's files only")
            seen[place] = document


def _cluster_of(clusters: Sequence[Cluster]) -> str:
    """What the stacks of the files are called together; with several kinds the first in the order of KINDS."""
    there = {kind_of(cluster) for cluster in clusters}
    return next((kind for kind in KINDS if kind in there), "none")


def _with_defaults(clusters: Sequence[Cluster], kind: str, nodes: int) -> tuple[Cluster, ...]:
    """The stacks of the files, and those that this kind of cluster has besides, as their packages ship them."""
    there = {type(cluster) for cluster in clusters}
    return (*clusters, *(cluster for cluster in defaults(kind, nodes) if type(cluster) not in there))


def device_from(text: str | None) -> Device | None:
    """The array of --device. Raises InputError."""
    if text is None:
        return None
    vendor, colon, product = text.partition(":")
    if not colon or not vendor.strip() or not product.strip():
        raise InputError("--device", f"expected VENDOR:PRODUCT such as LIO-ORG:disk, found {text[:60]!r}")
    return Device(vendor.strip(), product.strip())
