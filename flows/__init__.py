"""What is used in flows, and flows to deploy."""
