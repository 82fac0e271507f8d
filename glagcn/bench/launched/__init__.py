"""Measurements that start processes of their own."""
