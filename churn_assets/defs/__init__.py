"""What is deployed: one folder a pipeline, each with its defs.yaml."""
