"""Real servers, engines and stacks for tests and benchmarks."""
