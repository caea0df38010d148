"""The synchronous SDK; made by tools/unasync.py."""
