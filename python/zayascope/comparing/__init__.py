"""Comparing two dumps."""
