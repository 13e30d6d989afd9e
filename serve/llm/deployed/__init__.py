"""Language models in engines of our own: one in each replica of a Serve deployment, which the ingress calls.

What an engine is: :mod:`serve.llm.deployed.engine`. Which there are: :mod:`serve.llm.engines`. The library of an engine
is imported in the replicas alone.
"""
