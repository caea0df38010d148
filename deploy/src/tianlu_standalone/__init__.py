"""The supervisor behind `tianlu up`, and the demo shop's runner."""
