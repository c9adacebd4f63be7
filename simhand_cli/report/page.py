"""One self-contained HTML page: headings, text, facts, tables and pictures, no network needed."""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simhand_cli import __version__
from simhand_cli.errors import InputProblem
from simhand_cli.report.sheet import encode_image
from simhand_cli.workspace.atomic import write_text

Cell = str | int | float | None
_TEMPLATES = Path(__file__).parent
#: Where :func:`put_section` puts what is added to a finished page.
_SLOT = "<!-- added sections -->"
_HEADING = re.compile(r'<h2 id="([^"]+)">(.*?)</h2>')
_NAVIGATION = re.compile(r'<nav aria-label="Sections">.*?</nav>\n', re.DOTALL)


class Page:
    """A report that a person reads in a browser, on a desk or on a phone, in light or dark.

    Blocks appear in the order of the calls; :meth:`write` makes one HTML file with its images inside. All
    text is escaped. The file depends on its content alone (no date): the same content gives the same bytes.

    Args:
        title: heading of the page.
        subtitle: one or two sentences below it.
    """

    def __init__(self, title: str, subtitle: str = "") -> None:
        self._title = title
        self._subtitle = subtitle
        self._blocks: list[dict[str, Any]] = []

    def heading(self, text: str) -> None:
        """Start a section; pages of three and more sections get a list of links to them."""
        number = sum(block["kind"] == "heading" for block in self._blocks) + 1
        self._blocks.append({"kind": "heading", "text": text, "anchor": f"{number}-{_slug(text)}"})

    def text(self, text: str) -> None:
        """Add a paragraph; blank lines separate paragraphs."""
        for paragraph in re.split(r"\n\s*\n", text.strip()):
            self._blocks.append({"kind": "text", "text": paragraph})

    def facts(self, facts: Mapping[str, Cell]) -> None:
        """Add figures as small cards: label -> value, units in the label or in the value."""
        shown = [(name, _show(value)) for name, value in facts.items()]
        self._blocks.append({"kind": "facts", "facts": shown})

    def table(self, header: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str = "") -> None:
        """Add a table; columns that hold only numbers are right-aligned.

        Args:
            header: names of the columns.
            rows: cells, as many a row as the header has.
            caption: what the table shows, with units.

        Raises:
            ValueError: a row of another length.
        """
        if any(len(row) != len(header) for row in rows):
            raise ValueError(f"every row of a table needs {len(header)} cells")
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(header)
        # A column of dashes alone counts as numbers too; an empty one does not.
        numeric = [bool(c) and all(v is None or isinstance(v, Real) for v in c) for c in columns]
        cells = [[_show(cell) for cell in row] for row in rows]
        self._blocks.append({"kind": "table", "header": header, "rows": cells, "numeric": numeric, "caption": caption})

    def picture(self, picture: NDArray[np.uint8] | bytes, caption: str = "") -> None:
        """Add a picture, as wide as the page at most.

        Args:
            picture: (H, W, 3) uint8 RGB, stored as PNG or JPEG, whichever suits it; or such a file's bytes,
                shown smaller than its pixels where the file states more than 96 dots per inch.
            caption: text below it, also its description for screen readers.

        Raises:
            ValueError: bytes that are neither PNG nor JPEG.
        """
        content = picture if isinstance(picture, bytes) else _compact(picture)
        mime, (width, height) = _mime(content), _size(content)
        data = base64.b64encode(content).decode("ascii")
        block = {"mime": mime, "data": data, "width": width, "height": height, "caption": caption}
        self._blocks.append({"kind": "picture", **block})

    def slot(self) -> None:
        """Mark the place of sections that are added later by :func:`put_section`."""
        self._blocks.append({"kind": "slot"})

    def html(self) -> str:
        """The whole page as HTML."""
        return _with_navigation(self._render("page.html"))

    def section(self, key: str) -> str:
        """The blocks alone as an HTML section that :func:`put_section` knows again by its key."""
        blocks = self._render("blocks.html", prefix=f"{_key_anchor(key)}_")
        return f"{_section_start(key)}{blocks}\n</section>\n"

    def _render(self, template: str, prefix: str = "") -> str:
        import jinja2

        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_TEMPLATES),
            autoescape=True,
            # Undefined names are errors: a gap in a report would go unnoticed.
            undefined=jinja2.StrictUndefined,
        )
        return environment.get_template(template).render(
            title=self._title,
            subtitle=self._subtitle,
            blocks=self._blocks,
            prefix=prefix,
            generator=f"simhand {__version__}",
        )

    def write(self, path: Path) -> None:
        """Write the page to one HTML file, atomically."""
        write_text(path, self.html())


def put_section(path: Path, key: str, section: Page) -> None:
    """Add a section to a finished page, in the place of an earlier one of the same key; the file changes atomically.

    It comes where :meth:`Page.slot` marked the place, else at the end. The list of links is made anew.

    Args:
        path: a file of :meth:`Page.write`.
        key: names the section, e.g. ``against-mean-pose``.
        section: its blocks; the title is not shown.

    Raises:
        InputProblem: the file is missing.
    """
    if not path.is_file():
        raise InputProblem(f"{path} is missing; --redo makes it anew")
    page = path.read_text(encoding="utf-8")
    # Taken out first, whatever it held: doing a comparison again must not add a second section.
    page = re.sub(re.escape(_section_start(key)) + r".*?</section>\n", "", page, flags=re.DOTALL)
    before, mark, after = page.rpartition(_SLOT if _SLOT in page else "<footer>")
    write_text(path, _with_navigation(f"{before}{section.section(key)}{mark}{after}"))


def _section_start(key: str) -> str:
    return f'<section data-key="{html.escape(key)}">\n'


def _slug(text: str) -> str:
    """Lower case, digits and dashes: good for an anchor."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _key_anchor(key: str) -> str:
    """The start of a section's anchors: other keys have others (``a_b`` is ``a_5f_b``, ``a-b`` itself)."""
    return re.sub(r"[^a-z0-9-]", lambda found: f"_{ord(found[0]):x}_", key)


def _with_navigation(page: str) -> str:
    """The page with links to its sections below its title, if there are three or more."""
    page = _NAVIGATION.sub("", page)
    links = [f'<a href="#{anchor}">{text}</a>' for anchor, text in _HEADING.findall(page)]
    if len(links) < 3:
        return page
    navigation = f'<nav aria-label="Sections">{"".join(links)}</nav>\n'
    return page.replace("</header>", f"{navigation}</header>", 1)


def _show(value: Cell) -> str:
    """Numbers as a reader wants them: thousands apart, four significant digits, a dash for nothing."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        # A narrow no-break space: commas and points between thousands mean different things to readers.
        return f"{int(value):,}".replace(",", "\u202f")
    if isinstance(value, Real):
        number = float(value)
        return f"{number:.0f}" if 1e4 <= abs(number) < 1e9 else f"{number:.4g}"
    return str(value)


def _compact(image_rgb: NDArray[np.uint8]) -> bytes:
    """PNG for drawings, JPEG for photographs: PNG where it costs at most half as much again."""
    png, jpeg = encode_image(image_rgb, ".png"), encode_image(image_rgb, ".jpg")
    return png if len(png) <= 1.5 * len(jpeg) else jpeg


def _mime(content: bytes) -> str:
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    raise ValueError("a picture's bytes must be a PNG or a JPEG file")


def _size(content: bytes) -> tuple[int, int]:
    """Width and height in CSS pixels (96 to the inch), from the file's header."""
    import io

    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        dpi = float(image.info.get("dpi", (96.0, 96.0))[0])
        # Plots are drawn with more pixels for sharp screens; a little over 96 is rounding in PNG's dots per metre.
        scale = 96.0 / dpi if dpi > 97.0 else 1.0
        return round(image.width * scale), round(image.height * scale)
