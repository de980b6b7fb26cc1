"""Train only the end of an encoder: its early blocks keep what they know."""

from __future__ import annotations

from torch import nn

from fallow.encoders.base import Encoder
from fallow.problems import SettingProblem


def blocks(encoder: Encoder) -> list[nn.Module]:
    """The stages of a residual network or the blocks of a transformer, first to last.

    >>> import fallow
    >>> len(blocks(fallow.encoder("resnet8/8"))), len(blocks(fallow.encoder("vit-nano/8")))
    (3, 6)
    """
    lists = [m for m in encoder.plain.modules() if isinstance(m, nn.ModuleList | nn.Sequential)]
    named = getattr(encoder.plain, "stage_names", None)
    if named:
        return [getattr(encoder.plain, name) for name in named]
    found = max(lists, key=len, default=None)
    if found is None or len(found) < 2:
        raise SettingProblem(f"{encoder.name} has no blocks that could be trained alone")
    return list(found)


def train_last(encoder: Encoder, count: int) -> None:
    """Freeze everything before the last `count` blocks; what follows them learns too.

    >>> import fallow
    >>> encoder = fallow.encoder("resnet8/8")
    >>> train_last(encoder, 1)
    >>> {name.split(".")[0] for name, p in encoder.plain.named_parameters() if p.requires_grad}
    {'layer3'}
    """
    all_blocks = blocks(encoder)
    if count > len(all_blocks):
        raise SettingProblem(
            f"{encoder.name} has {len(all_blocks)} blocks, so the last {count} cannot be trained"
        )
    learning = {
        id(p) for block in all_blocks[len(all_blocks) - count :] for p in block.parameters()
    }
    before = {id(p) for block in all_blocks[: len(all_blocks) - count] for p in block.parameters()}
    ended = False
    for parameter in encoder.parameters():
        ended = ended or id(parameter) in learning
        parameter.requires_grad_(
            id(parameter) in learning or (ended and id(parameter) not in before)
        )
