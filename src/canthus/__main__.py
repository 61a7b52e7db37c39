"""``python -m canthus`` runs the command line."""

from canthus.cli.main import main

if __name__ == "__main__":
    main()
