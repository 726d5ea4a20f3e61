"""What each command does. One function a command: it takes `Arguments`, returns the exit code.

`loopwright.cli` imports a module of this package when a command of it runs, so that no command
pays for what another needs.
"""
