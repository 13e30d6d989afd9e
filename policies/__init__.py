"""What may not be built: the Pulumi policy pack. Nothing is here yet.

It imports nothing of ours.
"""
