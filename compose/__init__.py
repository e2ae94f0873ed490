"""Running it: containers, Kubernetes, the same processes without either, and how large all must be."""
