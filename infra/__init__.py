"""The cloud: a Pulumi program, its handlers and images, and its check.

Of ours it imports ``console`` and ``serve.settings``; the function on Lambda is the gateway itself.
"""
