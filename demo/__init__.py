"""The whole line on real data, as a new user sees it: ``make demo``."""
