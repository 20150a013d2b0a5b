"""Adapters: other drivers' own pools, one a node, and the router says which is next. Each needs its driver, which pgunison does not install."""
