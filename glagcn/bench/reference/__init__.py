"""A plain implementation of the published network and its loader, to measure against."""
