"""vLLM as an engine. It is imported in the replicas alone."""
