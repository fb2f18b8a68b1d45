"""Array shapes in signatures: jaxtyping's, or names that mean only `Tensor` where it is absent.

`import torchbake` needs torch alone. Tests run with jaxtyping and beartype, which check every
shape at run time.
"""

from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, UInt8
else:
    try:
        from jaxtyping import Bool, Float, Int, UInt8
    except ImportError:

        class Float:
            def __class_getitem__(cls, item: tuple[type, str]) -> type:
                return item[0]

        Bool = Int = UInt8 = Float

__all__ = ["Bool", "Float", "Int", "Tensor", "UInt8"]
