"""Drawing, sheets, plots and the page: what a reader relies on, checked on pixels and on the HTML."""

from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from simhand_cli.errors import InputProblem
from simhand_cli.report.draw import FINGER_COLOURS, draw_skeleton, joint_colour
from simhand_cli.report.lettering import fit_text, text_width
from simhand_cli.report.page import Page, put_section
from simhand_cli.report.plots import hand_3d_plot, histogram_plot, line_plot
from simhand_cli.report.sheet import Tile, contact_sheet, save_image


def spread_hand(size: int) -> np.ndarray:
    """21 joints of an open hand, fingers apart, in an image of that size."""
    points = np.zeros((21, 2))
    points[0] = (0.5 * size, 0.9 * size)
    for finger in range(5):
        tip = np.array([(0.1 + 0.2 * finger) * size, 0.1 * size])
        for k in range(4):
            points[1 + 4 * finger + k] = points[0] + (tip - points[0]) * (0.4 + 0.2 * k)
    return points


@pytest.mark.parametrize("size", [100, 224, 600])
def test_each_finger_is_drawn_in_its_colour_where_it_lies(size: int) -> None:
    image = np.full((size, size, 3), 120, np.uint8)
    points = spread_hand(size)
    drawn = draw_skeleton(image, points)
    assert drawn.shape == image.shape
    assert (image == 120).all(), "the input must not be written to"
    for number, colour in enumerate(FINGER_COLOURS.values()):
        x, y = np.round(points[3 + 4 * number]).astype(int)
        assert np.abs(drawn[y, x].astype(int) - colour).max() < 40
    assert (drawn[: size // 20] == 120).all(), "nothing above the fingertips"


def test_drawing_lies_on_the_pixel_centre() -> None:
    points = np.full((21, 2), np.nan)
    points[0] = (40.0, 25.0)
    drawn = draw_skeleton(np.zeros((100, 100, 3), np.uint8), points)
    rows, columns = np.nonzero(drawn.sum(axis=2))
    weights = drawn.sum(axis=2)[rows, columns]
    assert np.average(columns, weights=weights) == pytest.approx(40.0, abs=0.1)
    assert np.average(rows, weights=weights) == pytest.approx(25.0, abs=0.1)


def test_invalid_joints_are_faint_and_unknown_ones_absent() -> None:
    image = np.zeros((224, 224, 3), np.uint8)
    points = spread_hand(224)
    valid = np.ones(21, bool)
    valid[8] = False
    full = draw_skeleton(image, points)
    faint = draw_skeleton(image, points, joint_valid=valid)
    points[8] = np.nan
    absent = draw_skeleton(image, points)
    x, y = np.round(spread_hand(224)[8]).astype(int)
    assert full[y, x].max() > 200
    assert 40 < faint[y, x].max() < 140
    assert absent[y, x].max() == 0


def test_far_away_and_wrong_keypoints() -> None:
    image = np.zeros((64, 48, 3), np.uint8)
    draw_skeleton(image, np.full((21, 2), 1e12))
    with pytest.raises(ValueError, match=r"\(21, 2\)"):
        draw_skeleton(image, np.zeros((20, 2)))
    assert joint_colour(0) == (250, 250, 250)


def test_sheet_holds_every_tile_uncut() -> None:
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    row = [Tile(np.full((30 + 20 * n, 50, 3), c, np.uint8), f"tile {n}") for n, c in enumerate(colours)]
    sheet = contact_sheet([row, row[:1]], tile_px=100, row_labels=["a", "b\nc"], title="Title")
    for colour, count in zip(colours, (2, 1, 1), strict=True):
        area = (np.abs(sheet.astype(int) - colour).max(axis=2) < 8).sum()
        shape = next(t.image_rgb.shape for t in row if tuple(t.image_rgb[0, 0]) == colour)
        scale = 100 / max(shape[:2])
        assert area == pytest.approx(count * shape[0] * shape[1] * scale**2, rel=0.03)


def test_sheet_frame_surrounds_its_tile() -> None:
    sheet = contact_sheet([[Tile(np.zeros((64, 64, 3), np.uint8), "", (10, 106, 166))]], tile_px=64)
    framed = (sheet == (10, 106, 166)).all(axis=2)
    rows, columns = np.nonzero(framed)
    assert rows.max() - rows.min() + 1 == 64
    assert columns.max() - columns.min() + 1 == 64


def test_text_fits_its_width() -> None:
    assert fit_text("short", 500, 12) == "short"
    shortened = fit_text("a rather long caption of one tile", 90, 12)
    assert shortened.endswith("…")
    assert text_width(shortened, 12) <= 90
    assert fit_text("wide", 1, 12) == ""


@pytest.mark.parametrize("name", ["a.png", "b.jpg"])
def test_saved_image_reads_back(tmp_path: Path, name: str) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, :30] = (250, 10, 10)
    save_image(tmp_path / "new folder" / name, image)
    back = cv2.imread(str(tmp_path / "new folder" / name))[..., ::-1]
    assert np.abs(back.astype(int) - image).mean() < 6
    with pytest.raises(ValueError, match=r"\.png or \.jpg"):
        save_image(tmp_path / "x.gif", image)


def test_plots_are_reproducible_pngs() -> None:
    series = {"loss": ([0, 1, 2], [3.0, float("nan"), 1.0]), "other": ([0, 2], [1.0, 2.0])}
    first = line_plot(series, title="Loss", x_label="step", y_label="loss", log_y=True)
    assert first == line_plot(series, title="Loss", x_label="step", y_label="loss", log_y=True)
    bins = (np.array([1, 5, 2]), np.arange(4.0))
    histogram = histogram_plot({"a": bins, "b": bins}, title="d", x_label="d", marks={"median": 1.5})
    for png in (first, histogram):
        assert cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).std() > 5


def test_hand_3d_plot_shows_all_hands() -> None:
    hand = np.random.default_rng(0).normal(0, 40, (21, 3))
    image = hand_3d_plot({"truth": hand, "prediction": hand + 5}, size_px=160)
    assert image.shape == (320, 320, 3)
    assert image[:160].std() > 5
    assert image[160:].std() > 5
    with pytest.raises(ValueError, match="21, 3"):
        hand_3d_plot({"flat": hand[:, :2]})


class _Collector(HTMLParser):
    """Tags left open, attributes that could load something, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def test_page_is_one_closed_escaped_file(tmp_path: Path) -> None:
    page = Page("Pairs <script>alert(1)</script>", 'a "quoted" subtitle')
    for name in ("First", "Second", "First"):
        page.heading(name)
    page.text("one & two\n\n<b>three</b>")
    page.facts({"crops": 1234567, "share": 0.123456, "none": None, "kind": "<i>"})
    page.table(["video", "crops"], [["a<b", 1], ["c", np.float32(2.5)]], caption="per video")
    page.picture(np.zeros((20, 30, 3), np.uint8), 'a "black" picture')
    page.picture(line_plot({"a": ([0, 1], [0, 1])}, title="t", x_label="x", y_label="y"), "plot")
    page.write(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert text == page.html(), "the file is the page"
    collected = _Collector()
    collected.feed(text)
    assert collected.open == []
    assert all(source.startswith(("data:image/", "#")) for source in collected.sources)
    assert len({source for source in collected.sources if source.startswith("#")}) == 3
    assert "<b>three</b>" in collected.words
    assert "1\u202f234\u202f567" in collected.words
    assert "0.1235" in collected.words
    assert "url(" not in text
    assert "<script" not in text


def test_sections_are_added_to_a_finished_page_once_in_their_place(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    page = Page("t")
    page.heading("First")
    page.slot()
    page.heading("Last")
    page.write(path)
    assert "<nav" not in path.read_text()
    for key, words in (("a<b", "old words"), ("c", "other words"), ("a<b", "new <words>")):
        section = Page("not shown")
        section.heading("First")
        section.text(words)
        put_section(path, key, section)
    text = path.read_text()
    collected = _Collector()
    collected.feed(text)
    assert collected.open == []
    order = [collected.words.index(words) for words in ("other words", "new <words>")]
    assert order == sorted(order)
    assert text.index("new &lt;words&gt;") < text.index('<h2 id="2-last">')
    assert "old words" not in text
    links = [source for source in collected.sources if source.startswith("#")]
    assert links == ["#1-first", "#c_1-first", "#a_3c_b_1-first", "#2-last"]
    assert all(text.count(f'id="{link[1:]}"') == 1 for link in links)


def test_sections_of_similar_keys_have_anchors_of_their_own(tmp_path: Path) -> None:
    page = Page("t")
    page.heading("First")
    page.slot()
    page.write(tmp_path / "report.html")
    keys = ("against-a_b", "against-a-b", "against-A-b", "against-a b", "against-a", "1")
    for key in keys:
        section = Page("s")
        section.heading("Same")
        put_section(tmp_path / "report.html", key, section)
    collected = _Collector()
    collected.feed((tmp_path / "report.html").read_text())
    links = [source for source in collected.sources if source.startswith("#")]
    assert len(set(links)) == len(links) == len(keys) + 1


def test_a_page_without_a_place_gets_its_section_last_and_a_missing_one_is_named(tmp_path: Path) -> None:
    page = Page("t")
    page.text("before")
    page.write(tmp_path / "report.html")
    section = Page("s")
    section.text("after")
    put_section(tmp_path / "report.html", "k", section)
    text = (tmp_path / "report.html").read_text()
    assert text.index("before") < text.index("after") < text.index("<footer>")
    with pytest.raises(InputProblem, match=r"none\.html is missing; --redo"):
        put_section(tmp_path / "none.html", "k", section)


def test_page_refuses_what_it_cannot_show() -> None:
    page = Page("t")
    with pytest.raises(ValueError, match="2 cells"):
        page.table(["a", "b"], [["only one"]])
    with pytest.raises(ValueError, match="PNG or a JPEG"):
        page.picture(b"GIF89a")
