from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from qafm.attributes import MISSING, SCHEMA
from qafm.contract import IMAGENET_MEAN, IMAGENET_STD, PERTURBATION_COUNT
from qafm.quality import Quality
from qafm.weighting.files import KINDS
from train.losses import attribute_loss
from train.networks import APAN, APN, IQA, Fusion, Pixels, Trunk
from train.networks.apan import ConvLSTM, attribute_priors, attribute_probabilities
from train.networks.fusion import VisualHead
from train.networks.layers import GeM, IdentityClassifier, neck
from train.networks.weighting import build_weighting, reads_q
from train.settings import WeightingKind

DEMO = {"blocks": (1, 1, 1, 1), "width_per_group": 16}


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("sizes", [DEMO, {}], ids=["demo", "resnet50"])
@torch.inference_mode()
def test_outputs_keep_their_size_whatever_the_trunk(sizes):
    crops = torch.randn(1, 3, 384, 128)
    fine, middle, coarse = Trunk(**sizes).eval()(crops)
    assert fine.shape == (1, 512, 48, 16)
    assert middle.shape == (1, 1024, 24, 8)
    assert coarse.shape == (1, 2048, 24, 8)  # the last stride is 1
    assert IQA(Trunk(**sizes)).eval()(crops).shape == (1, 2048)
    assert APN(Trunk(**sizes), 64).eval()(crops).shape == (1, 1024)
    semantic, logits = APAN(Trunk(**sizes), 64).eval()(crops)
    assert semantic.shape == (1, 1024) and logits.shape == (1, 30)


def test_the_full_trunk_is_resnet50():
    from torchvision.models import resnet50

    theirs = sum(p.numel() for name, p in resnet50().named_parameters() if not name.startswith("fc."))
    assert sum(p.numel() for p in Trunk().parameters()) == theirs


@torch.inference_mode()
def test_the_branches_add_at_most_9_gmac_to_their_trunks():
    crops = torch.randn(1, 3, 384, 128)
    cost = {}
    for network in (IQA(Trunk()), APN(Trunk()), APAN(Trunk())):
        with FlopCounterMode(display=False) as counter:
            network.eval()(crops)
        cost[type(network).__name__] = counter.get_total_flops() / 2e9
    assert cost["APN"] + cost["APAN"] - 2 * cost["IQA"] <= 9


def test_pixels_by_hand():
    pixels = np.zeros((1, 384, 128, 3), np.uint8)
    pixels[0, 0, 0] = (255, 0, 51)
    got = Pixels()(torch.from_numpy(pixels))
    assert got.shape == (1, 3, 384, 128)
    expected = (np.array([1.0, 0.0, 0.2]) - IMAGENET_MEAN) / IMAGENET_STD
    assert got[0, :, 0, 0].tolist() == pytest.approx(expected.tolist(), abs=1e-5)


@torch.inference_mode()
def test_a_belief_depends_on_the_turns_before_it_and_on_none_after():
    apan = APAN(Trunk(**DEMO), 16).eval()
    crops = torch.randn(1, 3, 384, 128)
    seen: list[torch.Tensor] = []
    apan.memory.register_forward_hook(lambda _module, _inputs, state: seen.append(state[0].clone()))
    apan(crops)
    before, seen[:] = list(seen), []
    torch.nn.init.normal_(apan.turns[5].weight)
    apan(crops)
    changed = [not torch.equal(old, new) for old, new in zip(before, seen, strict=True)]
    assert changed == [False] * 5 + [True] * (len(SCHEMA) - 5)


def test_conv_lstm_agrees_with_its_equations():
    cell = ConvLSTM(2, 3)
    features, belief, memory = torch.randn(1, 2, 4, 4), torch.randn(1, 3, 4, 4), torch.randn(1, 3, 4, 4)
    next_belief, next_memory = cell(features, (belief, memory))
    stacked = torch.cat([features, belief], dim=1)
    weight, bias = cell.gates.weight.unflatten(0, (4, 3)), cell.gates.bias.unflatten(0, (4, 3))
    gate = [torch.nn.functional.conv2d(stacked, weight[k], bias[k], padding=1) for k in range(4)]
    expected = gate[1].sigmoid() * memory + gate[0].sigmoid() * gate[3].tanh()
    assert torch.allclose(next_memory, expected, atol=1e-6)
    assert torch.allclose(next_belief, gate[2].sigmoid() * expected.tanh(), atol=1e-6)


def test_attribute_probabilities_are_sigmoids_and_softmaxes():
    probabilities = attribute_probabilities(torch.randn(5, 30))
    for attribute in SCHEMA:
        columns = probabilities[:, attribute.columns]
        assert ((columns > 0) & (columns < 1)).all()
        if not attribute.binary:
            assert torch.allclose(columns.sum(dim=1), torch.ones(5))


@torch.inference_mode()
def test_fusion_follows_eq_3_by_hand():
    visual, semantic = torch.zeros(1, 1024), torch.zeros(1, 1024)
    visual[0, 3], semantic[0, 7] = 5.0, 0.1  # on one scale once projected
    mixed = Fusion.concatenate(*Fusion().projections(visual, semantic), torch.tensor([0.25]))
    assert mixed.shape == (1, 2048)
    assert mixed[0, 3].item() == pytest.approx(0.25) and mixed[0, 1024 + 7].item() == pytest.approx(0.75)
    assert mixed.count_nonzero() == 2


@torch.inference_mode()
def test_the_descriptor_has_unit_length_and_alpha_one_ignores_the_semantic_vector():
    fusion = Fusion()
    visual, semantic = torch.randn(2, 1024), torch.randn(2, 1024)
    descriptor = fusion(visual, semantic, torch.ones(2))
    assert descriptor.shape == (2, 1000)
    assert torch.allclose(descriptor.norm(dim=1), torch.ones(2))
    assert torch.equal(descriptor, fusion(visual, torch.randn(2, 1024), torch.ones(2)))


@torch.inference_mode()
def test_principal_directions_keep_the_angles_of_the_concatenation_for_any_alpha():
    """Vectors that lie in 300 and 500 directions need 800 of the 1,000 rows; as it starts, the FC keeps less."""
    torch.manual_seed(0)
    spans = torch.randn(300, 1024), torch.randn(500, 1024)
    taught, others = ([torch.randn(count, len(span)) @ span for span in spans] for count in (1200, 50))
    fusion = Fusion()

    def lost(alpha: float) -> float:
        given = torch.full((50,), alpha)
        mixed = torch.nn.functional.normalize(fusion.concatenate(*fusion.projections(*others), given), dim=1)
        descriptor = fusion(*others, given)
        return (descriptor @ descriptor.T - mixed @ mixed.T).abs().max().item()

    assert lost(0.5) > 0.05
    fusion.keep_angles(*taught)
    assert torch.allclose(fusion.compress.weight @ fusion.compress.weight.T, torch.eye(1000), atol=1e-4)
    assert max(lost(alpha) for alpha in (0.0, 0.3, 0.5, 0.8, 1.0)) < 1e-4


def test_without_attributes_the_descriptor_keeps_the_angles_of_the_visual_vector():
    torch.manual_seed(0)
    visual = torch.randn(40, 1024) @ torch.randn(1024, 1024)
    descriptor = VisualHead().eval()
    nothing = visual[:, :0]
    descriptor.keep_angles(visual, nothing)
    one, other = (descriptor(visual, nothing, torch.full((40,), alpha)) for alpha in (0.1, 1.0))
    assert torch.equal(one, other)
    exact = F.normalize(visual, dim=1)
    assert (one @ one.T - exact @ exact.T).abs().max() < 1e-4


def test_principal_directions_are_computed_in_float32_whatever_the_precision_of_the_training(monkeypatch):
    """In half precision a GPU has no eigenvectors, where a CPU computes them all the same."""
    seen, eigh = [], torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda matrix: seen.append(matrix.dtype) or eigh(matrix))
    with torch.autocast("cpu", torch.bfloat16):
        Fusion().keep_angles(torch.randn(5, 1024), torch.randn(5, 1024))
    assert seen == [torch.float32]


def quality(q: float) -> Quality:
    return Quality(q, np.zeros(PERTURBATION_COUNT, np.float32), np.zeros(2048))


LEARNT = sorted(set(get_args(WeightingKind)) - {"visual", "retrieval"})


@pytest.mark.parametrize("kind", LEARNT)
@torch.inference_mode()
def test_a_weighting_equals_its_served_form(kind):
    """After training too: its parameters are moved first."""
    weighting = build_weighting(kind, mu=11.1, sigma=0.66)
    for values in weighting.parameters():
        values += 0.3 * torch.randn(values.shape)
    served = weighting.served()
    assert served.kind == kind
    scores = torch.linspace(8, 14, 13)
    expected = [served.alpha(quality(float(q))) for q in scores]
    assert weighting(scores).tolist() == pytest.approx(expected, abs=1e-6)
    assert (len(set(expected)) == 1) == (kind == "constant")


def test_what_is_fitted_for_retrieval_later_favours_no_branch_until_then():
    weighting = build_weighting("retrieval", mu=11.1, sigma=0.66)
    assert weighting(torch.tensor([1.0, 2.0])).tolist() == [0.5, 0.5]
    assert not [values for values in weighting.parameters() if values.requires_grad]
    assert weighting.served().kind == "constant"
    assert [reads_q(kind) for kind in ("paper", "constant", "retrieval", "visual")] == [True, False, False, False]


def test_a_constant_starts_in_the_middle_and_every_picture_teaches_it():
    weighting = build_weighting("constant", mu=11.1, sigma=0.66)
    alphas = weighting(torch.tensor([1.0, 2.0, 3.0]))
    assert alphas.tolist() == [0.5] * 3
    alphas.sum().backward()
    assert [float(values.grad) for values in weighting.parameters()] == pytest.approx([3 * 0.25])  # α(1-α) each


def test_the_visual_control_has_an_alpha_of_one_that_nothing_teaches():
    weighting = build_weighting("visual", mu=11.1, sigma=0.66)
    assert weighting(torch.tensor([1.0, 2.0])).tolist() == [1.0, 1.0]
    assert not [values for values in weighting.parameters() if values.requires_grad]
    assert weighting.served().kind == "constant" and weighting.served().value == 1


def test_every_kind_that_can_be_trained_can_be_served():
    assert set(LEARNT) <= KINDS.keys()
    with pytest.raises(ValueError, match="'magic'"):
        build_weighting("magic")


def test_a_lower_trunk_sees_the_average():
    crops = torch.randn(1, 3, 384, 128)
    trunk = Trunk(**DEMO, height=192).eval()
    small = torch.nn.functional.avg_pool2d(crops, 2)
    assert all(torch.equal(a, b) for a, b in zip(trunk(crops), trunk(small), strict=True))
    assert trunk(crops)[-1].shape == (1, 2048, 12, 4)


def test_ibn_normalises_half_of_the_channels_by_picture_and_not_in_the_last_stage():
    trunk = Trunk(**DEMO, instance_norm=True)
    assert not any("IN" in name for name, _ in trunk.layer4.named_modules())
    norm = trunk.layer1[0].bn1
    features = torch.randn(2, 16, 5, 4) * 3 + 1
    got = norm(features)
    first = features[:, :8]
    mean, var = first.mean((2, 3), keepdim=True), first.var((2, 3), unbiased=False, keepdim=True)
    assert torch.allclose(got[:, :8], (first - mean) / (var + 1e-5).sqrt(), atol=1e-4)
    assert torch.allclose(
        got[:, 8:], torch.nn.functional.batch_norm(features[:, 8:], None, None, training=True), atol=1e-4
    )


def test_the_generalised_mean_by_hand():
    features = torch.tensor([[[[1.0, 2.0], [3.0, 0.0]]]])
    assert GeM(3.0)(features, (2, 3)).item() == pytest.approx(((1 + 8 + 27) / 4) ** (1 / 3), rel=1e-5)
    assert GeM(1.0)(features, (2, 3)).item() == pytest.approx(1.5, rel=1e-5)


def test_a_neck_without_shifts_keeps_its_shift_at_zero():
    parameters = dict(neck(4, shifts=False).named_parameters())
    assert not parameters["bias"].requires_grad and parameters["weight"].requires_grad


def test_a_cosine_classifier_by_hand():
    classifier = IdentityClassifier(2, 2, scale=10.0)
    with torch.no_grad():
        classifier.weight.copy_(torch.tensor([[3.0, 0.0], [1.0, 1.0]]))
    logits = classifier(torch.tensor([[5.0, 0.0]]).bfloat16())
    assert logits.dtype == torch.float32
    assert logits[0].tolist() == pytest.approx([10, 10 / 2**0.5], rel=1e-5)


def test_heads_start_by_answering_with_the_frequencies():
    """What that costs is the entropy of the attributes, less than a guess among equals."""
    generator = np.random.default_rng(0)
    attributes = np.stack([generator.integers(0, len(a.values), 4000) ** 2 % len(a.values) for a in SCHEMA], axis=1)
    attributes[:1000, -1] = MISSING
    apan = APAN(Trunk(**DEMO), 16)
    apan.start_at(attribute_priors(attributes))
    bias = torch.cat([head.bias for head in apan.heads])[None].repeat(len(attributes), 1)
    entropy = 0.0
    for values, attribute in zip(attributes.T, SCHEMA, strict=True):
        shares = np.bincount(values[values != MISSING], minlength=len(attribute.values)) / (values != MISSING).sum()
        entropy -= sum(p * np.log(p) for p in shares if p)
    assert attribute_loss(bias, torch.from_numpy(attributes)).item() == pytest.approx(entropy, abs=0.02)


def test_the_forget_gate_starts_open():
    bias = ConvLSTM(2, 3).gates.bias.unflatten(0, (4, 3))
    assert (bias[1] == 2).all() and (bias[0].abs() < 1).all()


@torch.inference_mode()
def test_the_descriptor_after_the_neck_is_normalised_by_it():
    fusion = Fusion(after_neck=True).eval()
    fusion.neck.running_mean.normal_()
    visual, semantic, alpha = torch.randn(2, 1024), torch.randn(2, 1024), torch.rand(2)
    compressed = fusion.compress(fusion.concatenate(*fusion.projections(visual, semantic), alpha))
    expected = torch.nn.functional.normalize(compressed - fusion.neck.running_mean, dim=1)
    assert torch.allclose(fusion(visual, semantic, alpha), expected, atol=1e-5)
