"""What runs tell afterwards."""
