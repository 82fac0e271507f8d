"""Output files of lifted people, one format per file; table.py maps suffixes to writers."""
