"""Hugging Face's transformers as an engine, for the models that vLLM can't run. Imported in the replicas alone."""
