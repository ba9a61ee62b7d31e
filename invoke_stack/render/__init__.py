"""Render the model as text for people or JSON for programs."""
