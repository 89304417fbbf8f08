"""Batches at rest: journal, outbox, limits."""
