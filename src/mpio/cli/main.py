"""`mpio`: finds the verb, runs it, and turns every error into one clear line and the right exit code.

Exit codes: 0 ok, 1 a claim failed or findings, 2 usage or bad input, 3 cannot tell, 4 internal error.
"""

import importlib
import io
import os
import sys
from collections.abc import Sequence

import click

from mpio import __version__
from mpio.errors import (
    ConnectFailed,
    ConnectionLost,
    IdentityMismatch,
    InputError,
    LoginRejected,
    MpioError,
    TargetError,
)

OK, FAILED, USAGE, UNKNOWN, INTERNAL, INTERRUPTED = 0, 1, 2, 3, 4, 130

VERBS = {
    "bench": "Measure IOPS, throughput, latency and CPU per I/O of a map.",
    "discover": "List the targets and portals that a portal offers.",
    "drill": "Break paths on purpose under a verified workload, and give a verdict.",
    "heartbeat": "On-disk heartbeats and fencing: be a node, watch, and measure what threshold storage can carry.",
    "plan": "Compute one consistent set of timers for the whole stack, or what given ones imply.",
    "report": "Render the report of a drill's run directory again.",
    "simulate": "Run the drill's engine in virtual time, over many seeds and settings: what would happen if.",
    "target": "Serve LUNs over iSCSI from RAM, a file or a block device.",
}


class _Verbs(click.Group):
    """Loads a verb's module when it is asked for, so that each start imports only what it needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"mpio.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(sorted(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="mpio")
def cli() -> None:
    """Multipath I/O over iSCSI: run it, break it on purpose, and prove that nothing was lost."""


def exit_code(error: Exception) -> int:
    """Which exit code an error stands for."""
    if isinstance(error, InputError | IdentityMismatch | TargetError):
        return USAGE  # the address, the LUN or the combination of portals was wrong
    if isinstance(error, LoginRejected):
        return USAGE if error.is_final else UNKNOWN
    if isinstance(error, ConnectFailed | ConnectionLost):
        return UNKNOWN
    return FAILED if isinstance(error, MpioError) else INTERNAL


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the `mpio` command. Always ends with SystemExit."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no ✓ shows ? in its place
    try:
        code = cli.main(args=arguments, prog_name="mpio", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        code = USAGE
    except click.ClickException as error:
        _say(error.format_message())
        code = USAGE
    except (click.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except MpioError as error:
        _say(str(error))
        code = exit_code(error)
    except BrokenPipeError:
        # Whoever read our output has seen enough; point stdout at nothing so that the flush at exit does not fail
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = OK
    except Exception as error:
        if os.environ.get("MPIO_DEBUG"):
            raise
        _say(f"internal error: {type(error).__name__}: {error} (MPIO_DEBUG=1 shows where)")
        code = INTERNAL
    sys.exit(code if isinstance(code, int) else OK)


def _say(message: str) -> None:
    print(f"mpio: {' '.join(message.split())}", file=sys.stderr)


if __name__ == "__main__":
    main()
