"""The command line within this process."""

import pytest

from torchbake.cli.main import main


def failing(capsys, *arguments):
    """The one line that a mistake ends in."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err.strip()
