"""Batches on the move: pump, patience, dead letters."""
