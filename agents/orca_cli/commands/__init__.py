"""The commands, a file a subject. What they do is said by the REST API; here it is asked for and shown."""
