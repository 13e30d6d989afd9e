"""Language models in vLLM: an engine in each replica of a Serve deployment, called by the deployment's handle.

vLLM itself is imported in the replicas alone.
"""
