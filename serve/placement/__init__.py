"""Where a model runs: in the ingress replica's own process, or in a deployment of its own."""
