"""Acting on machines: what is allowed, that it happens once, and that it is on record before it happens."""
