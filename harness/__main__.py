"""`python -m harness` is `tare`."""

from harness.cli.main import main

raise SystemExit(main())
