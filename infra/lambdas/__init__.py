"""What runs on AWS Lambda: ``predict`` in a container image, the pipeline's states as zip files.

``predict`` and what it is made of (``gateway``, ``model``, ``telemetry``) import the ingress. The states
(``validate``, ``evaluate``, ``deploy``) import nothing of ours outside this package.
"""
