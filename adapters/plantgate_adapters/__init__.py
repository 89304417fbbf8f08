"""Adapters to models and business systems that ship with plantgate; found by entry point."""
