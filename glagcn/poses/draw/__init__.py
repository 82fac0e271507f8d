"""Pictures of poses."""
