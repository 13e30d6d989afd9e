"""What language models were used for, by whom and for how many dollars, and the budgets that hold it."""
