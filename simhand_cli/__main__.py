"""``python -m simhand_cli`` is the ``simhand`` command."""

from simhand_cli.cli import main

if __name__ == "__main__":
    main()
