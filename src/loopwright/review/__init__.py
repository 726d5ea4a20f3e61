"""Human review (Amazon A2I): flows, loops, when a loop starts, and what becomes of its answers."""
