"""What the console knows of the registry: the seam, the feed over it, and the SDK behind it."""
