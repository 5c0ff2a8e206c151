"""The `sampling` processor: which samples stay, by rules, and totals that stay true."""
