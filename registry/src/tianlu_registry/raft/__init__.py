"""Core: Raft consensus, without I/O, clock or randomness of its own."""
