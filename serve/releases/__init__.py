"""How a version in the registry becomes one that answers."""
