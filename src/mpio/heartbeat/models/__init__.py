"""Further stacks as timing models: when they write, when they give up, whom they call dead; for simulation only.

They keep to `machine.Heartbeat`, but their blocks are our own and nobody else's: what is true of the stack is the time.
"""
