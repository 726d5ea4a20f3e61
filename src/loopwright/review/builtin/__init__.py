"""A2I's two built-in task types: Textract's forms and Rekognition's moderation, by local models."""
