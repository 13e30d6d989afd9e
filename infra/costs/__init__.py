"""``python -m infra costs``: what a stack did cost, beside what it was estimated to."""
