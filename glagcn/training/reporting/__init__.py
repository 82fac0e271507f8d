"""What a run tells: a summary at its start, lines while it trains, a comparison at its end."""
