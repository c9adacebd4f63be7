"""Labels, crops, targets, losses, read-out and metrics fit together: a small DetNet learns 64 hands by heart."""

import pytest

from simhand_cli.commands.evaluate import evaluate
from simhand_cli.commands.finetune import finetune
from simhand_cli.commands.synth import synth
from simhand_cli.evaluation.config import EvaluateConfig
from simhand_cli.finetune.config import FinetuneConfig
from simhand_cli.finetune.options import AugmentOptions, LossOptions
from simhand_cli.synth.config import SynthConfig


@pytest.mark.slow
def test_64_synthetic_hands_are_learned_to_3_mm(tmp_path):
    hands = tmp_path / "hands"
    synth(SynthConfig(out=hands, count=64, subjects=16, test_fraction=0, image_px=128, workers=1))
    finetune(
        FinetuneConfig(
            workspace=tmp_path,
            data=[hands],
            encoder="none",
            backbone="test_resnet",
            width=64,
            input_px=64,
            epochs=400,
            batch_size=32,
            lr=5e-3,
            warmup_epochs=5,
            weight_decay=0,
            val_fraction=0,
            augment=AugmentOptions(rotation_deg=0, scale=0, shift=0, colour=0, blur_px=0),
            loss=LossOptions(location=10),
            gpus=0,
            workers=1,
            precision="fp32",
            name="by-heart",
        )
    )
    summary = evaluate(EvaluateConfig(workspace=tmp_path, data=[hands], split="train", bootstrap=10))
    measured = summary.data["metrics"]["sets"][0]
    mpjpe = {row["alignment"]: row["value"] for row in measured["figures"] if row["metric"] == "mpjpe"}
    assert measured["hands_found"] == 64
    assert mpjpe["procrustes_scale"] < mpjpe["root_bone_scale"] < 3.0
