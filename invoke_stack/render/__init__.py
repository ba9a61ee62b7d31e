"""Model → text for people or JSON for programs."""
