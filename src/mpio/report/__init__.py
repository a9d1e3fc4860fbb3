"""Reports of a drill: renderings of a saved run, for the terminal and for a browser, and progress while it runs.

Sees only events, verdict, metrics and history as plain data, so that a run can be rendered again, anywhere, later.
"""

from mpio.report.html import render_html, write_report
from mpio.report.progress import Progress
from mpio.report.run import Run
from mpio.report.rundir import read_run
from mpio.report.text import print_run

__all__ = ["Progress", "Run", "print_run", "read_run", "render_html", "write_report"]
