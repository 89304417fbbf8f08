"""The gateway runs where there is no pytest: only whoever grades a connector needs one."""

import subprocess
import sys


def test_the_command_line_needs_no_test_tools() -> None:
    code = (
        "import sys\n"
        "sys.modules['pytest'] = None\n"
        "from plantgate.cli import main\n"
        "assert main(['version']) == 0\n"
        "assert not [name for name in sys.modules if name.startswith('plantgate.testing')]\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
