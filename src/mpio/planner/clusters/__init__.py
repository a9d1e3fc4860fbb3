"""What each cluster stack makes of a storage stall: one module per stack, behind `planner.cluster`."""
