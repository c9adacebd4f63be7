"""Encoder weights: every naming of the field finds its place, and what comes out loads elsewhere."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from simhand_cli.errors import InputProblem, UsageProblem
from simhand_cli.models.encoder import build_encoder, load_encoder_weights, normalise, save_backbone

#: timm name -> position in the official release's Sequential
SEQUENTIAL = {"conv1": "0", "bn1": "1", "layer1": "4", "layer2": "5", "layer3": "6", "layer4": "7"}


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in theirs if not name.startswith("fc."))


@pytest.fixture(scope="module")
def resnet18() -> torch.nn.Module:
    torch.manual_seed(3)
    import torchvision

    model = torchvision.models.resnet18()
    model.bn1.running_mean.normal_()
    return model


def test_torchvision_file_loads(resnet18, tmp_path):
    torch.save(resnet18.state_dict(), tmp_path / "plain.pth")
    encoder = build_encoder("resnet18")
    report = load_encoder_weights(encoder, tmp_path / "plain.pth")
    assert report.missing == []
    assert sorted(report.unexpected) == ["fc.bias", "fc.weight"]
    assert same_weights(encoder.backbone, resnet18)


@pytest.mark.parametrize("prefix", ["encoder.features.", "module.encoder.features.", "features."])
def test_official_sequential_names_load(resnet18, tmp_path, prefix):
    renamed = {}
    for name, tensor in resnet18.state_dict().items():
        first, _, rest = name.partition(".")
        if first in SEQUENTIAL:
            renamed[f"{prefix}{SEQUENTIAL[first]}.{rest}"] = tensor
    renamed["projection_head.0.weight"] = torch.zeros(4, 4)
    renamed["encoder.final_layer.0.bias"] = torch.zeros(4)
    torch.save({"state_dict": renamed, "epoch": 3}, tmp_path / "wrapped.ckpt")
    encoder = build_encoder("resnet18")
    report = load_encoder_weights(encoder, tmp_path / "wrapped.ckpt")
    assert report.missing == []
    assert sorted(report.unexpected) == ["encoder.final_layer.0.bias", "projection_head.0.weight"]
    assert same_weights(encoder.backbone, resnet18)


def test_old_files_without_batch_counters_load(resnet18, tmp_path):
    old = {k: v for k, v in resnet18.state_dict().items() if not k.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "old.pth")
    assert load_encoder_weights(build_encoder("resnet18"), tmp_path / "old.pth").missing == []


def test_saved_backbone_loads_in_timm_torchvision_and_here(tmp_path):
    import torchvision

    torch.manual_seed(1)
    encoder = build_encoder("resnet18").eval()
    save_backbone(encoder, tmp_path / "backbone.safetensors", 128, {"method": "simhand"})
    with safe_open(tmp_path / "backbone.safetensors", framework="pt") as file:
        assert file.metadata()["arch"] == "resnet18"
        assert file.metadata()["input_px"] == "128"
        assert file.metadata()["normalisation"] == "imagenet"
    images = torch.rand(2, 3, 64, 64)
    tensors = load_file(tmp_path / "backbone.safetensors")
    from_timm = timm.create_model("resnet18", num_classes=0).eval()
    from_timm.load_state_dict(tensors, strict=True)
    from_torchvision = torchvision.models.resnet18().eval()
    lacking = from_torchvision.load_state_dict(tensors, strict=False)
    from_torchvision.fc = torch.nn.Identity()
    assert sorted(lacking.missing_keys) == ["fc.bias", "fc.weight"]
    assert lacking.unexpected_keys == []
    again = build_encoder("resnet18").eval()
    load_encoder_weights(again, tmp_path)
    for other in (from_timm, from_torchvision, again):
        torch.testing.assert_close(other(images), encoder(images))


def test_finetuned_model_gives_back_its_encoder(tmp_path):
    encoder = build_encoder("test_resnet")
    tensors = {f"encoder.backbone.{k}": v for k, v in encoder.backbone.state_dict().items()}
    save_file({**tensors, "head.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    other = build_encoder("test_resnet")
    assert load_encoder_weights(other, tmp_path).unexpected == ["head.weight"]
    assert same_weights(other.backbone, encoder.backbone)


def test_wrong_files_are_refused_in_one_line(resnet18, tmp_path):
    encoder = build_encoder("test_resnet")
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "text.safetensors").write_text("no weights")
    torch.save(resnet18.state_dict(), tmp_path / "resnet18.pth")
    torch.save({"state_dict": {"a": torch.zeros(1)}}, tmp_path / "foreign.pth")
    torch.save({"model": Path("x")}, tmp_path / "objects.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    names = ["text.pth", "text.safetensors", "resnet18.pth", "foreign.pth", "objects.pth", "list.pth", "absent.pth"]
    for name in names:
        with pytest.raises(InputProblem, match=name) as caught:
            load_encoder_weights(encoder, tmp_path / name)
        assert "\n" not in str(caught.value)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputProblem, match="finished 'simhand pretrain'"):
        load_encoder_weights(encoder, tmp_path / "folder")


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(UsageProblem, match=r"'resnet_50'.*did you mean 'resnet50'"):
        build_encoder("resnet_50")


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv3_small_050", "test_vit", "test_convnext"])
def test_features_and_maps_have_the_promised_shapes(name):
    encoder = build_encoder(name).eval()
    size = 2 * encoder.stride if "vit" not in name else 5 * encoder.stride
    images = normalise(torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8))
    with torch.no_grad():
        assert encoder(images).shape == (2, encoder.num_features)
        cells = size // encoder.stride
        assert encoder.feature_map(images).shape == (2, encoder.map_channels, cells, cells)


def test_vit_map_keeps_patches_in_place():
    """The patch that is changed is where the input of the patch embedding was changed."""
    encoder = build_encoder("test_vit").eval()
    encoder.backbone.blocks = torch.nn.Identity()  # no attention: a cell sees its own patch only
    stride = encoder.stride
    images = torch.rand(1, 3, 4 * stride, 4 * stride)
    changed = images.clone()
    changed[:, :, 2 * stride : 3 * stride, stride : 2 * stride] += 1
    with torch.no_grad():
        difference = (encoder.feature_map(changed) - encoder.feature_map(images)).abs().sum(1)[0]
    assert difference.argmax().item() == 2 * 4 + 1


def test_normalise_matches_for_bytes_and_floats():
    images = torch.randint(0, 256, (1, 3, 4, 4), dtype=torch.uint8)
    expected = (images[0, 1, 2, 3].item() / 255 - 0.456) / 0.224
    assert normalise(images)[0, 1, 2, 3].item() == pytest.approx(expected, abs=1e-6)
    assert normalise(images.double() / 255).dtype == torch.float64
    torch.testing.assert_close(normalise(images.float() / 255), normalise(images))
