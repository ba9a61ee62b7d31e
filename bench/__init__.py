"""Benchmarks that compare each verb with what a user would run instead. Run by `inv bench`."""
