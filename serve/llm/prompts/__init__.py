"""Prompts of the registry in requests to language models: looked up, kept, and filled with a request's variables."""
