"""The runtimes that can run a stack. `base` is their protocol, `select` picks one."""
