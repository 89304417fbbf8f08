"""What the operator wrote: the plant file, its secrets, its problems."""
