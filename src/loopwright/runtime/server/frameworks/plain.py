"""A plain Python container: the script loads the model, the codecs do the rest."""

from loopwright.runtime.server.frameworks.base import Framework

framework = Framework()
