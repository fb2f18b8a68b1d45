"""Exports on the Hugging Face hub."""

import re
from pathlib import Path

from ..errors import UserError
from ..inference.programs import require_packages


def list_files(folder: Path) -> list[tuple[str, int]]:
    """What would be uploaded: names below an export's folder, and sizes in bytes.

    Raises:
        UserError: it is no export.
    """
    if not (folder / "agreement.json").is_file():
        raise UserError(
            f"{folder} is no export: it has no agreement.json, as torchbake export writes"
        )
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in paths]


def check_repository(name: str) -> None:
    """Raise UserError unless this is USER/NAME as the hub allows it."""
    part = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
    if not re.fullmatch(f"{part}/{part}", name) or "--" in name or ".." in name:
        raise UserError(
            f"{name}: expected USER/NAME, of letters, digits and single '-', '_' and '.'"
        )


def push_folder(folder: Path, repository: str, *, private: bool, message: str) -> str:
    """Upload an export as one commit; the repository is made if it is not there.

    Where and as whom is the hub's client's affair: HF_ENDPOINT, HF_TOKEN or its login.

    Returns:
        The commit's address.

    Raises:
        UserError: no such right, no connection, or the hub refuses.
    """
    require_packages("huggingface_hub", extra="hub")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    list_files(folder)
    api = HfApi()
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
    except LocalTokenNotFoundError:
        raise UserError("no token of the hub: set HF_TOKEN, or run 'hf auth login'") from None
    except HfHubHTTPError as error:
        raise UserError(f"{api.endpoint}: {_first_line(error)}") from None
    except (OSError, RuntimeError) as error:  # the second is that of an upload, with its cause
        reason = _first_line(error.__cause__ or error)
        raise UserError(f"{api.endpoint}: cannot be uploaded to: {reason}") from None
    return str(commit.commit_url)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
