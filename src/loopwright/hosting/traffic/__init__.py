"""Multi-armed bandits: one policy a file; the file's name is its registration.

Each has `shares(arms, settings, draws)`: what part of the traffic each variant should get, by what
is known of its rewards, which are scaled to 0 to 1.
"""
