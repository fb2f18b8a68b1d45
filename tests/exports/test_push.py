"""Uploads to a server on this machine that speaks the hub's interface."""

import pytest
from helpers.commands import failing
from helpers.hub_server import HubServer

from torchbake.cli.main import main

# The hub's client calls its own library of requests in a way that this deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")


@pytest.fixture
def hub(monkeypatch):
    import huggingface_hub.constants as constants

    with HubServer() as server:
        # Read from the environment when the client is imported.
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        yield server


def test_a_run_is_exported_and_uploaded(hub, photo_run, capsys):
    main(["push", str(photo_run[0]), "bird/watcher", "--license", "mit", "--private"])
    told = capsys.readouterr().out
    assert f"uploaded: {hub.address}/bird/watcher/commit/" in told
    assert set(hub.files) == {"README.md", "agreement.json", "config.json", "model.safetensors"}
    assert len(hub.files["model.safetensors"]) > 100_000
    assert b"license: mit" in hub.files["README.md"]
    assert hub.message == f"Upload from torchbake ({photo_run[0].name})"
    assert hub.created[0]["name"] == "watcher"
    assert hub.created[0]["visibility"] == "private"
    assert "Bearer hf_secret" in hub.authorizations


def test_a_dry_run_uploads_nothing(hub, photo_run, tmp_path, capsys):
    out = str(tmp_path / "out")
    main(["export", str(photo_run[0]), "--to", "timm", "--out", out])
    capsys.readouterr()
    main(["push", out, "bird/watcher", "--dry-run"])
    told = capsys.readouterr().out
    assert "config.json" in told
    assert "nothing was uploaded to bird/watcher" in told
    assert not hub.authorizations


def test_mistakes_are_told_in_a_line(hub, photo_run, tmp_path, capsys):
    assert "expected USER/NAME" in failing(capsys, "push", str(photo_run[0]), "watcher")
    out = str(tmp_path / "out")
    main(["export", str(photo_run[0]), "--to", "timm", "--out", out])
    capsys.readouterr()
    hub.refuse = True
    told = failing(capsys, "push", out, "bird/watcher")
    assert told.count("\n") == 0
    assert "403" in told
