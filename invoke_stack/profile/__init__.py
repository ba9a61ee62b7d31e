"""What a project is: how its main service says that it is ready, and the phases of its start."""
