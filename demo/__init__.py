"""The demos on a local AWS: `make demo`, `make demo-build`, `make demo-docs` and `make local`.

What they deploy is here too: an application (`app`), its sources as a developer has them
(`source_tree`) and a documentation site (`handbook`). Tests of the product start from `stage`.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""
