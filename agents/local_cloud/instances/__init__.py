"""EC2 instances as sandboxes: addresses, file systems, processes, metadata."""
