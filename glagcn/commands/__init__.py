"""One command a file: parse nothing, call the parts in order."""
