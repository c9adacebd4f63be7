import numpy as np
import pytest

from simhand_cli.report.heat_plot import column_means, heat_plot


def test_many_times_become_as_many_columns_as_can_be_seen():
    times, shares = np.arange(1000) / 10, np.stack([np.arange(1000.0), 999 - np.arange(1000.0)], axis=1)
    edges, columns = column_means(times, shares)
    assert columns.shape == (120, 2)
    assert len(edges) == 121
    assert (np.diff(edges) > 0).all()
    assert columns[0].tolist() == [4, 995]  # the first nine
    assert columns[:, 0].mean() == pytest.approx(499.5, rel=0.03)


def test_few_times_are_columns_of_their_own():
    edges, columns = column_means(np.array([1.0, 3.0]), np.eye(2))
    assert edges.tolist() == [1, 3, 5]
    assert columns.tolist() == np.eye(2).tolist()
    assert column_means(np.array([2.0]), np.ones((1, 2)))[0].tolist() == [2, 3]


def test_the_same_numbers_give_the_same_picture():
    panels = {"a": ([0.0, 1.0], np.eye(10)[:2]), "b": ([0.0], np.eye(10)[:1])}
    first = heat_plot(panels, x_label="epoch", y_label="weight")
    assert first.startswith(b"\x89PNG")
    assert heat_plot(panels, x_label="epoch", y_label="weight") == first
    other = {**panels, "a": ([0.0, 1.0], np.eye(10)[1:3])}
    assert heat_plot(other, x_label="epoch", y_label="weight") != first
