"""``python -m infra prices``: how old the tables of prices are, and new ones from the clouds' public price lists."""
