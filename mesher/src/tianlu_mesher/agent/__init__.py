"""Shell: the agent process. Subscribes to the catalogue, runs the pure stages, serves ADS, and says
how things stand. Envoy is not its child: see `tianlu_mesher.launch`.
"""
