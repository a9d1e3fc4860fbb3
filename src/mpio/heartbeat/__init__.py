"""Heartbeats on shared storage: who is alive, who must stop, and who goes on when a cluster falls apart.

Pure: every machine takes `now` in ns and inputs, and answers with actions. `machine` is the interface, `own`, `o2cb`
and `sbd` are the personalities, `formats` their blocks on disk, `models` further stacks as timing only.
"""
