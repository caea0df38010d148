"""Generated protobuf stubs of proto/; rewritten by tools/generate_stubs.py, never edited by
hand."""
