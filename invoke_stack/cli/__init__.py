"""The command line: everything that knows Invoke or Rich."""
