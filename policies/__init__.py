"""What may not be built: rules for ``pulumi preview --policy-pack policies`` and ``python -m infra check``."""
