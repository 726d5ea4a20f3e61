"""A/B tests of an endpoint's variants, valid however often one looks."""
