"""Side-by-side measurements: each verb against what a user would run instead. `inv bench` runs them."""
