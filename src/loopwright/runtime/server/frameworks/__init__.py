"""What each framework's container does where the user's script is silent: one file a framework."""
