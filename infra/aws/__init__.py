"""One component and its Args a file."""
