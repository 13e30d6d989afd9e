"""LoRA fine-tuning of language models on conversations, and their versions in the registry."""
