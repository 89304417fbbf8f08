"""Keeping it alive: build, supervise, reload, stop."""
