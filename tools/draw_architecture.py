"""Draw docs/images/architecture.svg from the package's own imports: `make architecture`.

Floors are those of the contract in pyproject.toml. An arrow is an import from a folder to a folder. One that follows
from others (a to b to c, so a to c) is left out, or nothing could be seen, and those that lead down to the ground,
on which everything stands, are too. The same source gives the same bytes.
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from xml.sax.saxutils import escape

from tools.import_graph import PACKAGE, ROOT, Graph, folder_graph, layers_of_the_contract, module_graph, without_implied

PICTURE = ROOT / "docs" / "images" / "architecture.svg"
WIDTH, FLOOR, BOX_WIDTH, BOX_HEIGHT, TOP = 1080, 92, 104, 34, 30
#: Room that an arrow takes on a floor that it passes through, as a share of a box's.
PASSING = 0.25
SWEEPS = 8
#: The highest floor of the ground.
GROUND = "config"

Point = tuple[float, float]
#: A box by its name, or an arrow (from, to) that passes through the floor.
Node = str | tuple[str, str]


def draw(edges: Graph, floors: list[list[str]]) -> str:
    """The picture as SVG.

    Args:
        edges: folder -> folders that it imports, all on lower floors.
        floors: folders from the top floor down.
    """
    floor_of = {name: number for number, names in enumerate(floors) for name in names}
    ground = floor_of[GROUND]
    arrows = sorted(
        (a, b)
        for a, others in edges.items()
        for b in others
        if a in floor_of and not floor_of[a] < ground <= floor_of[b]
    )
    rows: list[list[Node]] = [sorted(names) for names in floors]
    for arrow in arrows:
        for number in range(floor_of[arrow[0]] + 1, floor_of[arrow[1]]):
            rows[number].append(arrow)
    places = _places(_untangled(rows, arrows, floor_of))
    height = TOP + FLOOR * len(floors)
    bands = [_band(number) for number in range(0, len(floors), 2)]
    curves = [_arrow(a, b, places, floor_of) for a, b in arrows]
    loaded = _curve([_bottom(places[0, "cli"]), _top(places[1, "commands"])], dashed=True)
    boxes = [_box(node, places[number, node]) for number, row in enumerate(floors) for node in sorted(row)]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="14">'
    )
    marker = (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#46617c"/></marker></defs>'
    )
    line = _line(TOP + FLOOR * ground - (FLOOR - BOX_HEIGHT) / 2)
    title = f"<title>{escape(f'Folders of {PACKAGE} and their imports, all of which go down')}</title>"
    paper = f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>'
    return "\n".join([head, title, marker, paper, *bands, line, *curves, loaded, *boxes, "</svg>"]) + "\n"


def _untangled(rows: list[list[Node]], arrows: list[tuple[str, str]], floor_of: Mapping[str, int]) -> list[list[Node]]:
    """Every row in the order of the mean place of what its nodes are joined to, from above and from below in turn."""
    joined: dict[tuple[int, Node], set[tuple[int, Node]]] = {}
    for a, b in arrows:
        way: list[tuple[int, Node]] = [(floor_of[a], a)]
        way += [(number, (a, b)) for number in range(floor_of[a] + 1, floor_of[b])]
        way += [(floor_of[b], b)]
        for upper, lower in pairwise(way):
            joined.setdefault(upper, set()).add(lower)
            joined.setdefault(lower, set()).add(upper)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for number in range(len(rows)) if down else reversed(range(len(rows))):
            places = _places(rows)
            other = number - 1 if down else number + 1
            wanted: dict[Node, float] = {}
            for node in rows[number]:
                beside = [places[end][0] for end in joined.get((number, node), ()) if end[0] == other]
                wanted[node] = round(fmean(sorted(beside)), 3) if beside else places[number, node][0]
            rows[number] = sorted(rows[number], key=lambda node: (wanted[node], str(node)))
    return rows


def _places(rows: list[list[Node]]) -> dict[tuple[int, Node], Point]:
    """(floor, node) -> middle of its place in the picture, pixels."""
    places: dict[tuple[int, Node], Point] = {}
    for number, row in enumerate(rows):
        shares = [1.0 if isinstance(node, str) else PASSING for node in row]
        unit = min(WIDTH / sum(shares), 1.6 * BOX_WIDTH)
        x = (WIDTH - unit * sum(shares)) / 2
        for node, share in zip(row, shares, strict=True):
            places[number, node] = (x + unit * share / 2, TOP + FLOOR * number + BOX_HEIGHT / 2)
            x += unit * share
    return places


def _arrow(a: str, b: str, places: Mapping[tuple[int, Node], Point], floor_of: Mapping[str, int]) -> str:
    points = [_bottom(places[floor_of[a], a])]
    for number in range(floor_of[a] + 1, floor_of[b]):
        middle = places[number, (a, b)]
        points += [_top(middle), _bottom(middle)]
    return _curve([*points, _top(places[floor_of[b], b])])


def _curve(points: list[Point], *, dashed: bool = False) -> str:
    """Bent from floor to floor, straight through a floor."""
    path = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x0, y0), (x1, y1) in pairwise(points):
        bend = (y1 - y0) / 2
        path.append(f"C{x0:.1f} {y0 + bend:.1f} {x1:.1f} {y1 - bend:.1f} {x1:.1f} {y1:.1f}")
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    return f'<path d="{" ".join(path)}" fill="none" stroke="#46617c" stroke-width="1.1"{dash} marker-end="url(#tip)"/>'


def _top(place: Point) -> Point:
    return place[0], place[1] - BOX_HEIGHT / 2


def _bottom(place: Point) -> Point:
    return place[0], place[1] + BOX_HEIGHT / 2


def _band(number: int) -> str:
    return f'<rect y="{TOP + FLOOR * number - 14}" width="{WIDTH}" height="{BOX_HEIGHT + 28}" fill="#f2f5f8"/>'


def _line(y: float) -> str:
    """Where the ground begins."""
    return (
        f'<path d="M0 {y:.1f}H{WIDTH}" stroke="#1f3347" stroke-dasharray="8 5"/>'
        f'<text x="12" y="{y + 19:.1f}" fill="#1f3347" font-style="italic">the ground: imported from everywhere above'
        "</text>"
    )


def _box(name: str, place: Point) -> str:
    x, y = place[0] - BOX_WIDTH / 2, place[1] - BOX_HEIGHT / 2
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="5" fill="#ffffff" '
        f'stroke="#1f3347"/><text x="{place[0]:.1f}" y="{place[1] + 5:.1f}" text-anchor="middle" fill="#1f3347">'
        f"{escape(name)}</text>"
    )


def picture() -> str:
    """The picture of the package as its source is now."""
    return draw(without_implied(folder_graph(module_graph(ROOT / PACKAGE))), layers_of_the_contract())


def main(path: Path = PICTURE) -> None:
    """Write the picture."""
    path.write_text(picture())


if __name__ == "__main__":
    main()
