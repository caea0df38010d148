"""Shell: the write-ahead log and the LMDB backend."""
