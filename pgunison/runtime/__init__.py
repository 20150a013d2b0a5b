"""Where nodes run. Only this package knows processes and containers."""
