"""The ``canthus`` command: one file per subcommand; parse, call, print."""
