"""`mpio report`: render the report of a run directory again."""

from pathlib import Path

import click


@click.command(short_help="Render a saved run.")
@click.argument("directory", type=click.Path(path_type=Path))
def command(directory: Path) -> None:
    """Write DIRECTORY/report.html from the saved run, and print its verdict and timeline."""
    show(directory)


def show(directory: Path) -> None:
    """Read the run once; write its report and print it."""
    from rich.console import Console

    from mpio.report.html import write_report
    from mpio.report.rundir import read_run
    from mpio.report.text import print_run

    run = read_run(directory)
    report = write_report(directory, run)
    print_run(run, Console(highlight=False))
    print(f"\nReport: {report}")
