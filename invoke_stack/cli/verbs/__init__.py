"""The verbs: parse the words, call what does the work, show what comes back."""
