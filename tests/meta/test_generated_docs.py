"""Pages that are made from code are what the code says today."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_generated_pages_are_fresh() -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "generate-docs"), "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
