"""Limits by key and by model, shared over the replicas of the ingress.

``limiter.Limiter`` answers on the request's path from this process's memory alone; ``sharing.Sharing``
tells the other replicas in the background, by way of one ``coordinator.Coordinator``. Importing this
package loads no ray.
"""
