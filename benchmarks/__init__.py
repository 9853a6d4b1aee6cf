"""What an item costs, as ratios that were measured side by side."""
