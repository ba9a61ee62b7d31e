"""The command line. Only this package imports Invoke and Rich."""
