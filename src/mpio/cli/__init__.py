"""The command line: one file a verb. Parse, make one call, render, choose the exit code. No logic lives here."""
