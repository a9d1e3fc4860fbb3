"""`mpio heartbeat`: on-disk heartbeats. What it has under it is loaded when it is asked for."""

import importlib

import click

COMMANDS = {
    "create": "Make a heartbeat region on a file, a device or a LUN.",
    "measure": "Measure how long heartbeats take here, and recommend thresholds.",
    "message": "Send a node a message or a poison pill through its slot.",
    "run": "Be a node: heartbeat, watch the others, and stop when it must be.",
    "status": "Show all slots, their ages and margins, and who would fence when.",
    "watch": "Log margins that get small, before it is too late.",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"mpio.cli.heartbeat_{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


@click.group(cls=_Commands, short_help="On-disk heartbeats, fencing, and the threshold that storage can carry.")
def command() -> None:
    """Heartbeats on shared storage: be a node, look at the others, measure what threshold this storage can carry."""
