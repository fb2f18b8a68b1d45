"""The page, by Gradio."""

import os
from typing import Any

import numpy as np

from ..errors import UserError
from .neighbours import Explorer

FONTS = ("system-ui", "sans-serif")  # the reader's own: nothing is loaded from elsewhere


def make_page(explorer: Explorer, title: str, *, top_k: int, count: int) -> Any:
    """A Gradio application for a run.

    Args:
        top_k: how many classes are shown.
        count: how many training images are shown.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio
    except ModuleNotFoundError:
        raise UserError("needs the package gradio: pip install 'torchbake[demo]'") from None

    def answer(path: str | None) -> tuple[dict[str, float], list[Any]]:
        if path is None:
            return {}, []
        try:
            found = explorer.ask(path, count)
        except UserError as error:
            raise gradio.Error(str(error)) from None
        gallery = [
            (_to_array(neighbour.picture), f"{neighbour.label}  ({neighbour.similarity:.3f})")
            for neighbour in found.neighbours
        ]
        return found.probabilities, gallery

    calibrated = "calibrated" if explorer.temperature is not None else "as trained, not calibrated"
    with gradio.Blocks(title=title) as page:
        gradio.Markdown(f"# {title}\n\nDrop a picture. Confidence is {calibrated}.")
        with gradio.Row():
            # The file as it is, which is read as evaluation reads files.
            picture = gradio.Image(
                type="filepath",
                image_mode=None,
                label="Picture",
                sources=["upload"],
                height=320,
            )
            label = gradio.Label(num_top_classes=top_k, label="Prediction")
        gradio.Markdown(
            "Training images that the network finds most alike, by the cosine of their features:"
        )
        gallery = gradio.Gallery(
            show_label=False,
            columns=6,
            object_fit="contain",
            height="auto",
        )
        picture.change(answer, picture, [label, gallery], api_name="predict")
    return page


def serve_page(page: Any, host: str, port: int) -> None:
    """Serve the page until Ctrl-C.

    Args:
        host: address to listen on; 127.0.0.1 is this machine alone.
        port: 0 takes a free one.

    Raises:
        UserError: the port is taken.
    """
    import gradio

    theme = gradio.themes.Default(font=FONTS, font_mono=("ui-monospace", "monospace"))
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port or None,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            theme=theme,
        )
    except OSError as error:
        raise UserError(f"--port: {port} cannot be listened on: {error}") from None
    print(f"open {address} (Ctrl-C ends it)", flush=True)
    page.block_thread()


def _to_array(picture: Any) -> np.ndarray:
    """Pixels (h, w, 3), enlarged by whole numbers where they are small."""
    array = picture.permute(1, 2, 0).numpy()
    scale = max(1, 128 // array.shape[0])
    array = array.repeat(scale, axis=0).repeat(scale, axis=1)
    return array.repeat(3, axis=2) if array.shape[2] == 1 else array
