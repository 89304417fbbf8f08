"""Cells: connections in processes of their own, so that what happens to one happens to nobody else."""
