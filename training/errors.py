"""What can go wrong between a view and a model version.

Errors::

    UserError
    ├── ContractError (spark_jobs.contract)   the view is not what its contract says
    ├── RegistryError (training.registry)     the registry, or a version in it, can't be used
    └── TrainingError
        ├── ViewUnreadable                    no such view, or its files can't be read
        ├── TrainingFailed                    the workers gave up, or the loss is no number; carries the first reason
        ├── RunNotFound                       no such run to resume or to register
        ├── ExportRefused                     the graph does not answer as the network does
        ├── EncoderRefused                    a folder is no text encoder that can be exported
        ├── ConversationsRefused              lines of a file of conversations that can't be learned from
        └── ModelUnusable                     a folder is no language model, or it can't be fine-tuned
"""

from __future__ import annotations

from console import UserError


class TrainingError(UserError):
    """A view could not be made into a model version."""


class ViewUnreadable(TrainingError):
    """No such view, or its files can't be read."""


class TrainingFailed(TrainingError):
    """The workers gave up, or the loss is no number any more; carries the first reason."""


class RunNotFound(TrainingError):
    """No such run to resume or to register."""


class ExportRefused(TrainingError):
    """The exported graph does not answer as the network does."""


class EncoderRefused(TrainingError):
    """A folder is no text encoder that can be exported."""


class ConversationsRefused(TrainingError):
    """Lines of a file of conversations can't be learned from."""


class ModelUnusable(TrainingError):
    """A folder is no language model, or it can't be fine-tuned."""
