"""Tianlu's web console."""
