"""Checkers: pure judgements over a journal of events and a history of I/Os. Three-valued: pass, fail, unknown."""
