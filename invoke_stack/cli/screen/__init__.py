"""Model → text for people or JSON for programs. No input, and no output but to the given console."""
