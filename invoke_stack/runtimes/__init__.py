"""Runtimes: where a stack runs, each behind the protocol in `base`; `select` picks one."""
