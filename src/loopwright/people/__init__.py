"""People: who they are, the teams they work in, the tasks they are given and their answers."""
