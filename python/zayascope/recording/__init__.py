"""Watching a module and writing what it computes."""
