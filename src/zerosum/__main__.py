"""`python -m zerosum` is the command line."""

from zerosum.cli import main

raise SystemExit(main())
