"""The neighbours of SageMaker that its clients call: identities, roles, images, logs, metrics."""
