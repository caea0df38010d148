"""A service's instances: what they are, and taking them out of traffic."""
