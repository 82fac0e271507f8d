"""Predictions to metrics, tables and result files."""
