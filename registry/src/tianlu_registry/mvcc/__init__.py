"""Core: revisions, the key index, ranges, transactions and watch matching."""
