"""Side-by-side measurements. Their figures are never asserted in tests."""
