"""What a partner installs holds the client and nothing of the service."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_wheel_holds_tacit_only(tmp_path):
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = set(opened.namelist())
        metadata = opened.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
        scripts = opened.read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
    code = {name for name in names if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in code} == {"tacit"}
    assert all(name.endswith((".py", "py.typed")) for name in code)
    assert {"tacit/client.py", "tacit/cli/main.py", "tacit/paillier/public.py"} <= code
    assert "tacit = tacit.cli.main:app" in scripts
    always = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:") and "extra ==" not in line]
    assert {line.split()[1].partition("<")[0].partition(">")[0] for line in always} == {
        "cryptography",
        "gmpy2",
        "httpx2",
        "rich",
        "typer",
    }
    assert not any("phe" in line for line in always)
