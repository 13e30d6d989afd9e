"""Tables → feature views. ``python -m spark_jobs VIEW --out FOLDER``."""
