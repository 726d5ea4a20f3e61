"""The object tree: contents in files, keys and metadata in the database, and its S3 face.

Knows buckets, keys, contents and S3's operations; knows no record, no unit and no model.
"""
