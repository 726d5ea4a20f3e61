"""Metric math: expressions over series of metrics, as CloudWatch's user guide documents them."""
