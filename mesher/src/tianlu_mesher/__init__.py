"""Tianlu's mesher: registry view -> typed routes -> Envoy resources -> delta ADS."""
