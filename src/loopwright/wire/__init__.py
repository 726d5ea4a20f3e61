"""AWS's wire protocols, server side, over botocore's service models.

Knows requests, shapes, signatures and errors; knows no resource, no store and no process.
"""
