"""Plain data in the field's own terms: addresses, settings, tasks, paths. No behaviour beyond validation."""
