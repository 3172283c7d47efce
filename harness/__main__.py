"""`python -m harness` is `tare`."""

from harness.cli import main

raise SystemExit(main())
