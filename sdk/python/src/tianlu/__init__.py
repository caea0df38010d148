"""Tianlu SDK."""
