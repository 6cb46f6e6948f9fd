"""What the listings show: queries that return plain rows."""
