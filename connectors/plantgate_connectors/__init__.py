"""Connectors that ship with plantgate; found by entry point, like a vendor's."""
