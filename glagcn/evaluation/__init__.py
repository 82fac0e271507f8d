"""From predictions to metrics, tables and result files."""
