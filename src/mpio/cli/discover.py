"""`mpio discover`: what a portal offers (SendTargets, RFC 7143 §4.3)."""

import asyncio
import json
import random
import secrets
import time
from pathlib import Path

import click

from mpio.cli.options import PORTAL, read_secret
from mpio.model.address import Portal
from mpio.model.settings import FAST, Settings


@click.command(short_help="List targets and portals.")
@click.argument("portal", type=PORTAL, metavar="HOST[:PORT]")
@click.option("--user", metavar="NAME", help="CHAP user name for discovery.")
@click.option("--secret-file", type=click.Path(path_type=Path), help="File with the CHAP secret.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(portal: Portal, user: str | None, secret_file: Path | None, as_json: bool) -> None:
    """Ask the portal at HOST for its targets; print each with its portals and their group tags."""
    settings = FAST
    if user is not None:
        settings = settings.replace(discovery_username=user, discovery_password=read_secret(secret_file))
    found = asyncio.run(discover(portal, settings))
    if as_json:
        targets = [
            {"name": name, "portals": [{"portal": str(address), "tpgt": tag} for address, tag in portals]}
            for name, portals in found
        ]
        print(json.dumps({"version": 1, "targets": targets}))
        return
    for name, portals in found:
        print(name)
        for address, tag in portals:
            print(f"  {address}  portal group {tag}")


async def discover(portal: Portal, settings: Settings) -> list[tuple[str, list[tuple[Portal, int]]]]:
    """Targets with their portals and group tags. Raises NexusError."""
    from mpio.events import Journal
    from mpio.io.session import Route, open_session
    from mpio.proto.iscsi import LoginParams

    params = LoginParams(
        initiator_name=settings.initiator_name,
        target_name=None,
        isid=bytes((0x80, *secrets.token_bytes(3), 0, 0)),
        settings=settings,
        initial_cmd_sn=random.getrandbits(32),
        challenge_seed=secrets.token_bytes(32),
    )
    session = await open_session(Route(portal), params, settings, time.monotonic_ns, Journal(), "discovery")
    try:
        return await session.send_targets()
    finally:
        await session.logout()
