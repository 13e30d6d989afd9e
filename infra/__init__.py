"""The Pulumi program that builds where all of this runs. Nothing is here yet.

It may import ``serve.settings``, for the fit check, and nothing else of ours.
"""
