import loop_reference
import numpy as np
import pytest
import rank_worker
import torch
from pydantic import ValidationError
from rank_worker import Case

from simhand_cli.pretrain.loss.contrastive import contrastive_loss
from simhand_cli.pretrain.loss_options import LossOptions
from simhand_cli.pretrain.methods.table import METHODS
from simhand_cli.views.geometry import move_points, view_affines
from simhand_cli.views.options import ViewOptions
from simhand_cli.views.parameters import ViewParameters, draw_parameters


def undone_by_loops(batch: rank_worker.Batch, view: int, i: int) -> np.ndarray:
    params = batch.params[view]
    angle, margin = float(params.angle_deg[i]), float(params.margin[i])
    return loop_reference.undo_joints(batch.joints[view][i].numpy(), angle, margin, params.shift[i].numpy(), 128)


def reference_loss(
    case: Case, z: tuple[torch.Tensor, torch.Tensor], left_out: set[tuple[int, int]] = frozenset()
) -> float:
    """The whole loss of the test's batch by loops, from projections to the mean."""
    batch = rank_worker.make_batch(case)
    method, options = METHODS[case.method], case.options
    official = options.recipe == "official"
    unit = {"simhand": "hand", "paper": "range", "official": "pixels"}[options.recipe]
    vectors = []
    for view in (0, 1):
        params, joints = batch.params[view], batch.joints[view]
        for i, projection in enumerate(z[view].detach().numpy()):
            if not method.geometric:
                vectors.append(projection / np.sqrt((projection**2).sum()))
                continue
            source, drawn = batch.source[view]
            jitter = loop_reference.cut_window(source[i].numpy(), float(drawn.margin[i]), drawn.shift[i].numpy())[2]
            vectors.append(
                loop_reference.undo_in_features(
                    projection,
                    float(params.angle_deg[i]),
                    params.shift[i].numpy(),
                    unit,
                    joints[i].numpy(),
                    np.array(jitter),
                    128,
                )
            )
    joints = torch.cat(batch.joints).numpy()
    if options.recipe == "simhand":
        joints = np.array([undone_by_loops(batch, view, i) for view in (0, 1) for i in range(rank_worker.PAIRS)])
    kind = options.weights or method.weights
    default = "embedding" if options.recipe == "paper" and kind != "nonlinear" else "joints"
    metric = options.weight_metric or default
    if metric == "embedding":  # one point of 14 dimensions
        joints = torch.cat(batch.embeddings)[:, None].numpy()
    weight_range = "separate" if official else "single"
    if kind == "linear":
        weights = loop_reference.linear(joints, weight_range)
    elif kind == "nonlinear":
        weights = loop_reference.nonlinear(joints, weight_range, 1.0, 0.05)
    else:
        weights = (None, None)
    if options.recipe == "simhand":
        images = [set(pair) for pair in batch.images.tolist()]
        count = len(images)
        left_out = {(i, k) for i in range(2 * count) for k in range(2 * count) if images[i % count] & images[k % count]}
    positive, matrix = weights
    alone = options.recipe == "simhand" and method.positive != "same-image"
    weighted = options.weighted or ("positives" if alone else "both")
    if weighted == "positives" and matrix is not None:
        weights = (positive, np.ones_like(matrix))
    if weighted == "negatives" and positive is not None:
        weights = ([1.0] * len(positive), matrix)
    centred = options.recipe == "simhand" and kind != "none"
    own_term = options.positive_denominator or "w_neg"
    return loop_reference.nt_xent(
        np.array(vectors), options.temperature, *weights, own_term, left_out=left_out, centred=centred
    )


@pytest.mark.parametrize("recipe", ["simhand", "paper", "official"])
@pytest.mark.parametrize("weights", [None, "none", "linear", "nonlinear"])
@pytest.mark.parametrize("method", list(METHODS))
def test_the_whole_loss_against_loops(method, recipe, weights):
    case = Case(method, LossOptions(recipe=recipe, weights=weights))
    model = rank_worker.make_model()
    loss, metrics = rank_worker.part_loss(case, model, 0, 1)
    batch = rank_worker.make_batch(case)
    z = (model(batch.features[0]), model(batch.features[1]))
    np.testing.assert_allclose(float(loss.detach()), reference_loss(case, z), rtol=1e-11)
    assert not any(value.requires_grad for value in metrics.values())
    weighted = (weights or METHODS[method].weights) != "none"
    assert ("positive_weight" in metrics) == weighted


@pytest.mark.parametrize("recipe", ["simhand", "official"])
@pytest.mark.parametrize("weights", ["none", "linear", "nonlinear"])
@pytest.mark.parametrize("weighted", ["both", "positives", "negatives"])
def test_weights_on_either_side_against_loops(recipe, weights, weighted):
    case = Case("simhand", LossOptions(recipe=recipe, weights=weights, weighted=weighted))
    model, batch = rank_worker.make_model(), rank_worker.make_batch(case)
    loss, _ = rank_worker.part_loss(case, model, 0, 1)
    expected = reference_loss(case, (model(batch.features[0]), model(batch.features[1])))
    np.testing.assert_allclose(float(loss.detach()), expected, rtol=1e-11)


@pytest.mark.parametrize("positive_denominator", ["w_neg", "w_pos", "one"])
@pytest.mark.parametrize("weighted", ["both", "positives", "negatives"])
def test_the_positive_s_own_term_against_loops(weighted, positive_denominator):
    options = LossOptions(weighted=weighted, positive_denominator=positive_denominator, block_rows=3)
    case = Case("simhand", options)
    model, batch = rank_worker.make_model(), rank_worker.make_batch(case)
    loss, _ = rank_worker.part_loss(case, model, 0, 1)
    expected = reference_loss(case, (model(batch.features[0]), model(batch.features[1])))
    np.testing.assert_allclose(float(loss.detach()), expected, rtol=1e-11)


@pytest.mark.parametrize("method", ["simclr", "peclr"])
@pytest.mark.parametrize("weights", ["linear", "nonlinear"])
def test_weights_matter_where_an_image_is_contrasted_with_itself(method, weights):
    """Its positives are equally near once T is undone: weights of them alone would be no weights."""
    joints, params = one_hand_in_two_views()
    z = torch.randn(16, 12, generator=torch.Generator().manual_seed(6), dtype=torch.float64).chunk(2)

    def loss(**given):
        return float(
            contrastive_loss(
                METHODS[method].geometric, METHODS[method].settle_loss(LossOptions(**given)), *z, *params, *joints
            )[0]
        )

    assert abs(loss(weights=weights) - loss(weights="none")) > 1e-3
    assert METHODS[method].settle_loss(LossOptions()).weighted == "both"
    assert METHODS["tempclr"].settle_loss(LossOptions()).weighted == "positives"
    assert METHODS[method].settle_loss(LossOptions(weighted="positives")).weighted == "positives"


@pytest.mark.parametrize("weights", ["linear", "nonlinear"])
def test_weights_of_embeddings_leave_false_negatives_to_the_joints(weights):
    given = {"weight_metric": "embedding", "false_negative_px": 45.0, "weight_joints": "view", "block_rows": 3}
    options = LossOptions(recipe="paper", weights=weights, **given)
    case = Case("simhand", options)
    model, batch = rank_worker.make_model(), rank_worker.make_batch(case)
    loss, _ = rank_worker.part_loss(case, model, 0, 1)
    apart = loop_reference.distance_matrix(torch.cat(batch.joints).numpy())
    near = {(i, k) for i, k in zip(*np.nonzero(apart < 45), strict=True) if i != k}
    assert near
    expected = reference_loss(case, (model(batch.features[0]), model(batch.features[1])), near)
    np.testing.assert_allclose(float(loss.detach()), expected, rtol=1e-11)


def test_nonlinear_weights_are_of_joints_unless_asked_otherwise():
    def metric(**given):
        return LossOptions(recipe="paper", **given).settled("linear").weight_metric

    assert (metric(), metric(weights="nonlinear")) == ("embedding", "joints")
    assert metric(weights="nonlinear", weight_metric="embedding") == "embedding"
    assert LossOptions(recipe="paper").settled("nonlinear").weight_metric == "joints"


def test_weight_joints_have_no_effect_on_weights_of_embeddings():
    losses = [
        rank_worker.part_loss(
            Case("simhand", LossOptions(weight_metric="embedding", weight_joints=which)), rank_worker.make_model(), 0, 1
        )[0]
        for which in ("view", "undone")
    ]
    assert torch.equal(*losses)
    batch = rank_worker.make_batch(Case("simhand", LossOptions()))
    paper = METHODS["simhand"].settle_loss(LossOptions(recipe="paper"))
    with pytest.raises(ValueError, match="pose embeddings"):
        contrastive_loss(True, paper, *batch.features, *batch.params, *batch.joints)


def test_metrics_are_what_they_say():
    case = Case("simclr", LossOptions())
    batch, model = rank_worker.make_batch(case), rank_worker.make_model()
    _, metrics = rank_worker.part_loss(case, model, 0, 1)
    z = [torch.nn.functional.normalize(model(f), dim=1) for f in batch.features]
    everything = torch.cat(z) @ torch.cat(z).T
    n = rank_worker.PAIRS
    positive = everything.diagonal(n)
    torch.testing.assert_close(metrics["positive_similarity"], positive.mean().detach())
    mask = ~torch.eye(2 * n, dtype=torch.bool)
    mask[range(n), range(n, 2 * n)] = False
    mask[range(n, 2 * n), range(n)] = False
    torch.testing.assert_close(metrics["negative_similarity"], everything[mask].mean().detach())


def one_hand_in_two_views() -> tuple[list[torch.Tensor], list[ViewParameters]]:
    hand = 112 + 30 * torch.randn(8, 21, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    params = [draw_parameters(0, torch.arange(8), view, ViewOptions().settled()) for view in (0, 1)]
    return [move_points(view_affines(hand, p, 128)[0], hand) for p in params], params


def test_undone_joints_weigh_the_pose_and_seen_ones_the_view_too():
    joints, params = one_hand_in_two_views()
    z = torch.randn(8, 12, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    lowest = {}
    for which in ("undone", "view"):
        options = METHODS["peclr"].settle_loss(LossOptions(weights="linear", weight_joints=which))
        lowest[which] = float(contrastive_loss(True, options, z, z, *params, *joints)[1]["positive_weight_min"])
    assert lowest["undone"] > 1 - 1e-9
    assert lowest["view"] < 0.9


def test_recipes_fill_only_what_is_open():
    official = LossOptions(recipe="official", shift_unit="hand").settled("linear")
    assert official.shift_unit == "hand"
    assert official.weight_range == "separate"
    assert official.negatives == "rank"
    assert official.weights == "linear"
    assert official.settled("none") == official
    simhand = LossOptions().settled("none")
    assert simhand.weights == "none"
    assert all(value is not None for value in simhand.model_dump().values())
    with pytest.raises(ValidationError):
        LossOptions(recipe="theirs")


def test_views_of_methods_and_recipes():
    still = (0.0, 0.0)
    simclr = METHODS["simclr"].settle_views("paper", ViewOptions())
    assert simclr.rotation_deg == still
    assert simclr.translation == still
    assert simclr.margin == (0.9, 1.5)
    simclr = METHODS["simclr"].settle_views("official", ViewOptions())
    assert simclr.margin == (1.25, 1.25)
    assert simclr.translation[1] > 0
    assert simclr.rotation_deg == still
    peclr = METHODS["peclr"].settle_views("official", ViewOptions())
    assert peclr.hue_order == "bgr-swapped"
    assert peclr.translation[0] == 0
    assert peclr.rotation_deg == (-45, 45)
    assert peclr.margin == (0.9, 1.5)
    assert (simclr.border, peclr.border) == ("cut", "cut")
    default = METHODS["simhand"].settle_views("simhand", ViewOptions(rotation_deg=(-90, 90)))
    assert (default.hue_order, default.border) == ("rgb", "pad")
    assert METHODS["simhand"].settle_views("official", ViewOptions(border="pad")).border == "pad"
    assert default.rotation_deg == (-90, 90)
    assert default.translation[0] < 0
