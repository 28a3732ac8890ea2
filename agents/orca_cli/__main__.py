"""``orca``, or ``python -m agents.orca_cli`` in the repository."""

from .app import main

if __name__ == "__main__":
    main()
