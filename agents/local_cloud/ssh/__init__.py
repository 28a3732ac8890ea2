"""SSH into instances: one listener on each running instance's address."""
