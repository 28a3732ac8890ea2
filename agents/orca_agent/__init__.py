"""The agent: it runs on every instance, takes steps from the workspace's queue, runs them and reports."""
