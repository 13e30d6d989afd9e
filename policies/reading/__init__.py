"""What the rules read in a resource: policies of IAM, containers, states, networks, and what comes from what."""
