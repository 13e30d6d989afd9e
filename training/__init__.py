"""Feature views → model versions. ``python -m training train MODEL --view FOLDER``."""
