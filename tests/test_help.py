"""The command line answers at once: what is heavy waits for the command that needs it."""

import subprocess
import sys

HEAVY = ("torch", "mlflow", "pandas", "numpy", "scipy", "sklearn", "matplotlib", "plotly", "pyarrow", "optuna", "rich", "yaml", "dvc")


def test_help_imports_nothing_heavy():
    """What a fresh interpreter has loaded after `seesaw --help`."""
    code = (
        "import sys\nfrom stages import cli\nsys.argv = ['seesaw', '--help']\n"
        "try:\n    cli.main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print('LOADED', *sorted({name.split('.')[0] for name in sys.modules}))"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    loaded = said.rsplit("LOADED", 1)[1].split()
    assert "typer" in loaded
    assert "bench" in said
    assert not set(loaded) & set(HEAVY)
