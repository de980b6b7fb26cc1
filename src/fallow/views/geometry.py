"""Carry points, boxes, masks and heat maps between an image and its views.

A view's geometry is a 2 x 3 matrix that takes a pixel (x, y) of the view to the place in the
source it shows. Coordinates count pixels, x to the right and y down, and the centre of the first
pixel is (0, 0): a point is read off as image[y, x]. Boxes (left, top, right, bottom) give pixel
edges, so the whole of a W x H image is (0, 0, W, H). Everything takes and returns torch tensors;
geometries may carry leading dimensions (V B ...) that broadcast.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def unmap_points(geometry: Tensor, points: Tensor) -> Tensor:
    """Points (... N 2) of a view, in the source.

    >>> mirror = torch.tensor([[-2.0, 0.0, 9.0], [0.0, 2.0, 1.0]])
    >>> unmap_points(mirror, torch.tensor([[0.0, 0.0], [4.0, 1.0]])).tolist()
    [[9.0, 1.0], [1.0, 3.0]]
    """
    geometry = geometry.to(_float(points))
    points = points.to(geometry.dtype)
    return points @ geometry[..., :2].mT + geometry[..., None, :, 2]


def map_points(geometry: Tensor, points: Tensor) -> Tensor:
    """Points (... N 2) of the source, in the view; they may lie outside it.

    >>> mirror = torch.tensor([[-2.0, 0.0, 9.0], [0.0, 2.0, 1.0]])
    >>> map_points(mirror, torch.tensor([[9.0, 1.0], [1.0, 3.0]])).tolist()
    [[0.0, 0.0], [4.0, 1.0]]
    """
    return unmap_points(inverse(geometry), points)


def inverse(geometry: Tensor) -> Tensor:
    """The matrix of the opposite direction.

    >>> inverse(torch.tensor([[2.0, 0.0, 6.0], [0.0, 4.0, 8.0]])).tolist()
    [[0.5, 0.0, -3.0], [0.0, 0.25, -2.0]]
    """
    turned = torch.linalg.inv(geometry[..., :2].double())
    moved = -(turned @ geometry[..., 2:].double())
    return torch.cat([turned, moved], -1).to(geometry.dtype)


def compose(outer: Tensor, inner: Tensor) -> Tensor:
    """First `inner`, then `outer`: a view of a view, as one matrix.

    >>> shift = torch.tensor([[1.0, 0.0, 5.0], [0.0, 1.0, 0.0]])
    >>> double = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    >>> compose(double, shift).tolist()
    [[2.0, 0.0, 10.0], [0.0, 2.0, 0.0]]
    """
    turned = outer[..., :2] @ inner[..., :2]
    moved = outer[..., :2] @ inner[..., 2:] + outer[..., 2:]
    return torch.cat([turned, moved], -1)


def between(one: Tensor, other: Tensor) -> Tensor:
    """The matrix from pixels of one view to pixels of another view of the same image."""
    return compose(inverse(other), one)


def turning(
    degrees: float | Tensor, size: int, *, scale: float | Tensor = 1.0, shift: Tensor | None = None
) -> Tensor:
    """A rotation and zoom about the centre of a view, to be composed with its geometry.

    A scale above 1 enlarges what is seen; `shift` (... 2) moves in pixels of the view.

    >>> turning(180.0, 5).round().tolist()
    [[-1.0, -0.0, 4.0], [0.0, -1.0, 4.0]]
    """
    angle = torch.deg2rad(torch.as_tensor(degrees, dtype=torch.float64))
    zoom = torch.as_tensor(scale, dtype=torch.float64)
    cosine, sine = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    turned = torch.stack(
        [torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2
    )  # ... 2 2
    middle = torch.full((2, 1), (size - 1) / 2, dtype=torch.float64)
    away = middle if shift is None else middle + shift.double()[..., None]
    return torch.cat([turned, middle - turned @ away], -1)


def at_resolution(geometry: Tensor, view_size: int, grid_size: int) -> Tensor:
    """Geometry of a coarser (or finer) grid laid over the same view, such as patches or heat maps.

    >>> at_resolution(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), 8, 2)[0].tolist()
    [4.0, 0.0, 1.5]
    """
    step = view_size / grid_size
    offset = (step - 1) / 2
    grid = torch.tensor([[step, 0.0, offset], [0.0, step, offset]]).to(geometry)
    return compose(geometry, grid.expand_as(geometry))


def map_boxes(geometry: Tensor, boxes: Tensor) -> Tensor:
    """Boxes (... N 4) of the source, in the view: the upright box around the mapped corners.

    >>> mirror = torch.tensor([[-1.0, 0.0, 9.0], [0.0, 1.0, 0.0]])
    >>> map_boxes(mirror, torch.tensor([[0.0, 0.0, 4.0, 10.0]])).tolist()
    [[6.0, 0.0, 10.0, 10.0]]
    """
    return _map_corners(inverse(geometry), boxes)


def unmap_boxes(geometry: Tensor, boxes: Tensor) -> Tensor:
    """Boxes (... N 4) of a view, in the source."""
    return _map_corners(geometry, boxes)


def _map_corners(geometry: Tensor, boxes: Tensor) -> Tensor:
    corners = boxes[..., [0, 1, 2, 1, 0, 3, 2, 3]] - 0.5  # from edges to pixel coordinates
    points = unmap_points(geometry, corners.unflatten(-1, (4, 2)).flatten(-3, -2))
    points = points.unflatten(-2, (-1, 4)) + 0.5  # ... N 4 2
    return torch.cat([points.amin(-2), points.amax(-2)], -1)


def map_mask(mask: Tensor, geometry: Tensor, size: int, *, outside: int = 0) -> Tensor:
    """A mask (H W, any integer type) of the source in one view: its nearest pixels (S S).

    >>> mask = torch.tensor([[1, 2], [3, 4]])
    >>> map_mask(mask, torch.tensor([[-1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]), 2).tolist()
    [[2, 1], [4, 3]]
    """
    return _nearest(mask, geometry, size, size, outside)


def inside(geometry: Tensor, sizes: Tensor, size: int) -> Tensor:
    """Which pixels of a view (B S S) show the source, whose height and width are `sizes` (B 2).

    >>> shift = torch.tensor([[[1.0, 0.0, -1.0], [0.0, 1.0, 0.0]]])
    >>> inside(shift, torch.tensor([[2, 2]]), 3)[0].int().tolist()
    [[0, 1, 1], [0, 1, 1], [0, 0, 0]]
    """
    along = torch.arange(size, device=geometry.device, dtype=torch.float64)
    grid = torch.stack([along.repeat(size), along.repeat_interleave(size)], -1)  # S*S 2, x y
    x, y = unmap_points(geometry.double(), grid).unbind(-1)  # B S*S
    height, width = sizes.to(x)[:, :, None].unbind(1)
    # its rim is half a pixel beyond the centres of its outermost pixels
    there = (x >= -0.5) & (y >= -0.5) & (x < width - 0.5) & (y < height - 0.5)
    return there.view(len(geometry), size, size)


def unmap_mask(
    mask: Tensor, geometry: Tensor, source_size: tuple[int, int], *, outside: int = 0
) -> Tensor:
    """A mask (S S) of a view laid back onto its source (H W); what the view does not show is
    `outside`."""
    return _nearest(mask, inverse(geometry), *source_size, outside)


def _nearest(mask: Tensor, geometry: Tensor, height: int, width: int, outside: int) -> Tensor:
    places = _places(geometry, height, width, mask.device)
    column = torch.floor(places[..., 0] + 0.5).long()
    row = torch.floor(places[..., 1] + 0.5).long()
    tall, wide = mask.shape[-2:]
    inside = (column >= 0) & (column < wide) & (row >= 0) & (row < tall)
    found = mask[..., row.clamp(0, tall - 1), column.clamp(0, wide - 1)]
    return torch.where(inside, found, torch.as_tensor(outside, dtype=mask.dtype))


def map_heat(heat: Tensor, geometry: Tensor, size: int) -> Tensor:
    """Heat maps (... H W) of the source in one view, bilinear (... S S); 0 outside the source.

    It does not smooth when shrinking: made for maps that vary slowly.
    """
    return _bilinear(heat, geometry, size, size)


def unmap_map(
    heat: Tensor, geometry: Tensor, source_size: tuple[int, int], view_size: int | None = None
) -> Tensor:
    """Heat maps (... h h) over a view laid back onto its source (... H W); 0 where not shown.

    A map coarser than the view covers it all the same: then give the view's size.

    >>> half = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]])  # a view of the right half
    >>> unmap_map(torch.ones(2, 2), half, (2, 4)).tolist()
    [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]]
    """
    if view_size is not None:
        geometry = at_resolution(geometry, view_size, heat.shape[-1])
    return _bilinear(heat, inverse(geometry), *source_size)


def warped(maps: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (B C H W) read at every place plus its flow (B 2 H W: x, y), 0 outside; and what is in.

    What is read on the rim or beyond it does not count as seen (B H W). A flow that is nowhere
    anything but 0 changes nothing, and all is seen.

    >>> maps, right = torch.arange(4.0).view(1, 1, 1, 4), torch.zeros(1, 2, 1, 4)
    >>> right[:, 0] = 1
    >>> warped(maps, right)[0].flatten().tolist()
    [1.0, 2.0, 3.0, 0.0]
    """
    height, width = maps.shape[2:]
    if not flow.any():
        return maps, maps.new_ones((len(maps), height, width), dtype=torch.bool)
    y, x = torch.meshgrid(
        torch.arange(height, device=flow.device), torch.arange(width, device=flow.device),
        indexing="ij",
    )  # fmt: skip
    sides = flow.new_tensor([max(width - 1, 1), max(height - 1, 1)])
    at = (torch.stack([x, y]).to(flow) + flow).movedim(1, -1)  # B H W 2
    share = 2 * at / sides - 1
    found = F.grid_sample(maps, share.to(maps.dtype), align_corners=True)
    return found, ((share > -1) & (share < 1)).all(-1)


def unnormalised(theta: Tensor, height: int, width: int) -> Tensor:
    """A map (... 2 3) of coordinates that run from -1 to 1 over either side, as one of pixels.

    On anything but a square it shears what it turns; pictures and their maps, whatever their
    sizes, are sheared alike.

    >>> unnormalised(torch.tensor([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), 2, 4).tolist()
    [[-1.0, 0.0, 3.0], [0.0, 1.0, 0.0]]
    """
    sides = theta.new_tensor([width, height])
    middle = (sides - 1) / 2
    turned = theta[..., :2] * sides[:, None] / sides
    moved = theta[..., 2] * sides / 2 + middle - (turned @ middle)
    return torch.cat([turned, moved[..., None]], -1)


def seen_through(maps: Tensor, geometry: Tensor, size: Sequence[int] | None = None) -> Tensor:
    """Maps or pictures (B C H W), each through its own geometry (B 2 3), bilinear.

    Beyond the rim all is 0, and the rim fades into it. `size` is height and width of what comes
    out, that of the maps if not given. Gradients pass.

    >>> right = torch.tensor([[[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]]])
    >>> seen_through(torch.tensor([[[[0.0, 2.0, 4.0]]]]), right).tolist()
    [[[[1.0, 3.0, 2.0]]]]
    """
    maps = maps if maps.dtype == torch.float64 else maps.float()
    height, width = maps.shape[2:]
    tall, wide = size or (height, width)
    inner, outer = maps.new_tensor([width, height]), maps.new_tensor([wide, tall])
    geometry = geometry.to(maps)
    with torch.autocast(maps.device.type, enabled=False):  # places need all their digits
        turned = geometry[..., :2] * outer / inner[:, None]  # B 2 2, in coordinates from -1 to 1
        at_middle = geometry[..., :2] @ ((outer - 1) / 2) + geometry[..., 2]
        moved = (2 * at_middle + 1) / inner - 1
        theta = torch.cat([turned, moved[..., None]], -1)
        grid = F.affine_grid(theta, [len(maps), 1, tall, wide], align_corners=False)
        return F.grid_sample(maps, grid, align_corners=False)


def _bilinear(heat: Tensor, geometry: Tensor, height: int, width: int) -> Tensor:
    tall, wide = heat.shape[-2:]
    places = _places(geometry, height, width, heat.device)
    x, y = places[..., 0], places[..., 1]
    edge = 0.5001
    inside = (x >= -edge) & (x <= wide - 1 + edge) & (y >= -edge) & (y <= tall - 1 + edge)
    x, y = x.clamp(0, wide - 1), y.clamp(0, tall - 1)
    left, top = x.long(), y.long()
    right, bottom = (left + 1).clamp(max=wide - 1), (top + 1).clamp(max=tall - 1)
    across, down = (x - left).to(heat.dtype), (y - top).to(heat.dtype)
    upper = heat[..., top, left] * (1 - across) + heat[..., top, right] * across
    lower = heat[..., bottom, left] * (1 - across) + heat[..., bottom, right] * across
    return (upper * (1 - down) + lower * down) * inside


def _places(geometry: Tensor, height: int, width: int, device: torch.device) -> Tensor:
    """Where every pixel of a height x width picture lies through one geometry: H W 2."""
    if geometry.shape != (2, 3):
        raise ValueError(f"one geometry of shape (2, 3) at a time, not {tuple(geometry.shape)}")
    geometry = geometry.to(device, torch.float64)
    y, x = torch.meshgrid(
        torch.arange(height, device=device, dtype=torch.float64),
        torch.arange(width, device=device, dtype=torch.float64),
        indexing="ij",
    )
    return torch.stack([x, y], -1) @ geometry[:, :2].mT + geometry[:, 2]


def _float(points: Tensor) -> torch.dtype:
    return points.dtype if points.is_floating_point() else torch.get_default_dtype()
