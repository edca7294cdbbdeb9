"""Stage 2 of the paper: both branches, the descriptor and α, in four backward passes a batch.

    pass    learns from                                             moves
    apn     identity of v_a and of its stripes, triplet on v_a       APN and its classifiers
    apan    attributes                                              APAN
    head    identity of and triplet on the descriptor               FC 2048->1000, its classifier, and the two
            (v_a, v_s, α given)                                     auxiliary classifiers
    fusion  the target of α, and the descriptor's identity          the weighting and both projections
            (v_a, v_s, FC and classifier given)

"Given" means detached: a pass gives gradients to what it moves and to nothing else. Where the FC is computed
(`joint.fc: principal`), there are only the first two, and without attributes only the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from qafm.contract import ATTRIBUTES, DESCRIPTOR_SIZE, VECTOR_SIZE
from qafm.datasets.crops import Crop
from train.batches import Batch
from train.losses import alpha_loss, masked_mean, part_loss
from train.networks import APAN, APN, Fusion, Trunk, build_apn, build_fusion
from train.networks.apn import APNClassifiers
from train.networks.fusion import Projections
from train.networks.layers import IdentityClassifier
from train.networks.weighting import TrainableWeighting, build_weighting
from train.settings import Settings
from train.stages.stage import Stage, rate_factor
from train.validation import describe_crops

SLOPE_RATE, LEVEL_RATE = 0.1, 10.0
"""How fast what makes α differ from picture to picture learns, and what it is on average, relative to the FC. All
targets of α move together while the branches learn. A slope that is no slower than the level follows them in its stead,
most of all for pictures of unusual Q, and keeps a U that says nothing of Q."""

_CROPS_OF_DIRECTIONS = 2 * VECTOR_SIZE
"""By so many crops of the training split the FC is computed, where it does not learn."""


class JointStage(Stage):
    name = "joint"

    def __init__(
        self,
        settings: Settings,
        fabric: Fabric,
        *,
        identities: int,
        apn_trunk: Trunk,
        apan: APAN | None,
        q: np.ndarray,
        held_out_q: np.ndarray,
        mu: float,
        sigma: float,
        apan_optimizer: dict[str, Any] | None = None,
        priors: Tensor | None = None,
        weighting: TrainableWeighting | None = None,
    ) -> None:
        """`q` and `held_out_q` float32 [N] are the scores of the crops of TrainingData, NaN where not computed.

        `apn_trunk` is where APN's encoder starts from, `apan` the network of the stage before, None without attributes.
        `mu` and `sigma` are those of Q over held-out crops. `apan_optimizer` is the state in which APAN's optimiser
        ended its own stage: a fresh one would throw it far off in its first steps. `priors` are those of the
        attributes, float [30], else 0. A `weighting` that is given stays as it is; else a fresh one learns.
        """
        super().__init__(settings, fabric)
        self.set_priors(torch.zeros(ATTRIBUTES.dims) if priors is None else priors)
        self.q = torch.from_numpy(q).to(self.device)
        self.held_out_q = torch.from_numpy(held_out_q).to(self.device)
        self.mu = torch.tensor(mu, device=self.device)
        network, scale = settings.network, settings.losses.cosine_scale
        self.apn = build_apn(apn_trunk, network)
        self.classifiers = APNClassifiers(network.channels, identities, shifts=not network.bnneck, scale=scale)
        self.apan = apan
        self.fusion = build_fusion(network, attributes=apan is not None)
        self.classifier = IdentityClassifier(DESCRIPTOR_SIZE, identities, scale)
        # On detached vectors: they tell how well each branch knows an identity, on one scale, and teach it nothing.
        self.judge_visual = nn.Linear(VECTOR_SIZE, identities)
        self.judge_semantic = nn.Linear(VECTOR_SIZE, identities)
        # Last: whatever its kind, all others begin alike.
        self.weighting = weighting or build_weighting(settings.joint.weighting, mu, sigma)
        if weighting:
            weighting.requires_grad_(False)
        self.add(apn=self.apn, classifiers=self.classifiers)
        if apan is not None:
            self.add(apan=apan)
        self.add(fusion=self.fusion, weighting=self.weighting)
        self._optimize_branches()
        if settings.joint.fc == "trained":
            self.add(classifier=self.classifier, judge_visual=self.judge_visual, judge_semantic=self.judge_semantic)
            self._optimize_fusion()
        if apan_optimizer is not None:
            self.optimizers["apan"].load_state_dict(apan_optimizer)

    def _optimize_branches(self) -> None:
        """One optimiser for each of the first passes."""
        self.apn_module = self.optimize(
            "apn", _APNModule(self.apn, self.classifiers), trunk=self.apn.trunk.parameters()
        )
        if self.apan is not None:
            self.apan_module = self.optimize("apan", self.apan, trunk=self.apan.trunk.parameters())

    def _optimize_fusion(self) -> None:
        """And for each of the last two."""
        self.head_module = self.optimize(
            "head", _HeadModule(self.fusion, self.classifier, self.judge_visual, self.judge_semantic)
        )
        self.fusion_module = self.optimize(
            "fusion",
            _FusionModule(self.weighting, self.fusion.projections),
            slope=self.weighting.slope(),
            level=self.weighting.level(),
        )

    def rate(self, group: str, progress: float) -> float:
        joint, moving = self.settings.joint, self.settings.joint.epochs - self.settings.joint.settling_epochs
        base = self.settings.learning_rate
        if group in ("apn", "apan", "apn_trunk", "apan_trunk"):
            factor = rate_factor(progress, joint, end=moving)
            if self.settings.freezes_branches or (self.settings.pretrained and group.endswith("_trunk")):
                # The trunk of a branch that else learns has a rate of 0 and not no gradient: so several processes
                # agree on what there is to average.
                factor *= 0 if progress < joint.frozen_epochs else joint.branch_rate
            return base * factor * (joint.apan_rate if group.startswith("apan") else 1)
        # While the branches move, what reads them has to follow; it settles once they stand still.
        start = moving if joint.settling_epochs else 0
        own = {"fusion_slope": SLOPE_RATE, "fusion_level": LEVEL_RATE}.get(group, 1)
        return base * joint.head_rate * own * rate_factor(progress, joint, start=start)

    def step(self, batch: Batch, epoch: int) -> dict[str, Tensor]:
        degraded = self.settings.augmentation.degraded
        crops = self.network_input(batch, epoch, degraded.apn)
        visual, apn_losses = self.apn_pass(batch, crops, epoch)
        if self.apan is None:
            return apn_losses
        if degraded.apan != degraded.apn:
            crops = self.network_input(batch, epoch, degraded.apan)
        semantic, apan_losses = self.apan_pass(batch, crops, epoch)
        losses = apn_losses | apan_losses
        if self.settings.joint.fc == "principal":
            return losses
        visual, semantic = visual.detach().float(), semantic.detach().float()
        return losses | self.head_pass(batch, visual, semantic) | self.fusion_pass(batch, visual, semantic)

    def describe(self, crops: Tensor, rows: Tensor) -> dict[str, Tensor]:
        vectors = self._branches(crops)
        # In float32, as in training and as served.
        with torch.autocast(self.device.type, enabled=False):
            descriptor = self.fusion(**vectors, alpha=self.weighting(self.filled(self.held_out_q[rows])))
        return {"descriptor": descriptor} | {name: values for name, values in vectors.items() if values.shape[1]}

    def _branches(self, crops: Tensor) -> dict[str, Tensor]:
        """v_a and v_s, float32 [B,1024]; without attributes v_s is [B,0]."""
        visual = self.apn(crops).float()
        return {"visual": visual, "semantic": self.apan(crops)[0].float() if self.apan else visual[:, :0]}

    def complete(self, crops: Sequence[Crop], epoch: int) -> None:
        if self.settings.joint.fc == "trained":
            return
        rows = np.linspace(0, len(crops) - 1, min(len(crops), _CROPS_OF_DIRECTIONS)).astype(int)
        chosen, place = [crops[row] for row in rows], {"device": self.device, "workers": self.settings.workers}
        seen = describe_crops(lambda pixels, _: self._branches(self.whole(pixels, epoch)), chosen, **place)
        self.fusion.keep_angles(**seen)

    def frozen(self, epoch: int) -> bool:
        """Whether both branches keep their weights in this epoch: in the last `settling_epochs` always, and if
        `joint.frozen` says so in the first ones."""
        joint = self.settings.joint
        settling = epoch >= joint.epochs - joint.settling_epochs
        return settling or (self.settings.freezes_branches and epoch < joint.frozen_epochs)

    def prepare(self, branch: APN | APAN, epoch: int) -> bool:
        """Set a branch to training mode or, where it stands still in this epoch, to evaluation; returns whether it
        does. A pretrained trunk may stand still alone, and its batch normalisation with it."""
        frozen = self.frozen(epoch)
        branch.train(not frozen)
        if self.settings.pretrained and epoch < self.settings.joint.frozen_epochs:
            branch.trunk.eval()
        return frozen

    def apn_pass(self, batch: Batch, crops: Tensor, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Pass 1, on the batch as `network_input` has it. Returns v_a [B,1024] and the losses."""
        frozen = self.prepare(self.apn, epoch)
        with torch.set_grad_enabled(not frozen), self.autocast():
            before, visual, whole, stripes = self.apn_module(crops)
        # BoT's neck: triplets compare what goes into it, classifiers and cosines what comes out.
        compared = before if self.settings.network.bnneck else visual
        losses = {
            "apn_identity": self.identity(whole, batch.labels),
            "apn_parts": part_loss(stripes, batch.labels, self.settings.losses),
            "apn_triplet": self.triplet(compared, batch.labels),
        }
        if not frozen:
            self.update("apn", torch.stack(list(losses.values())).sum())
        return visual, losses

    def apan_pass(self, batch: Batch, crops: Tensor, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Pass 2, likewise. Returns v_s [B,1024] and the losses."""
        frozen = self.prepare(self.apan, epoch)
        with torch.set_grad_enabled(not frozen), self.autocast():
            semantic, logits = self.apan_module(crops)
        loss = self.attribute_loss(logits, batch.attributes)
        if not frozen:
            self.update("apan", loss)
        return semantic, {"attributes": loss}

    def head_pass(self, batch: Batch, visual: Tensor, semantic: Tensor) -> dict[str, Tensor]:
        """Pass 3, on detached vectors [B,1024]."""
        with torch.no_grad():
            projected = self.fusion.projections(visual, semantic)
            mixed = self.fusion.concatenate(*projected, self.weighting(self.filled(self.q[batch.rows])))
        compressed, logits, judged_visual, judged_semantic = self.head_module(mixed, visual, semantic)
        losses = {
            "identity": self.identity(logits, batch.labels),
            "triplet": self.triplet(compressed, batch.labels),
        }
        judges = F.cross_entropy(judged_visual, batch.labels) + F.cross_entropy(judged_semantic, batch.labels)
        self.update("head", losses["identity"] + losses["triplet"] + judges)
        return losses

    def fusion_pass(self, batch: Batch, visual: Tensor, semantic: Tensor) -> dict[str, Tensor]:
        """Pass 4, on detached vectors [B,1024]. α learns only from crops whose Q is known, if there are any."""
        q = self.q[batch.rows]
        known = ~q.isnan()
        logits, mixed = self.fusion_module(self.filled(q), known, visual, semantic)
        with torch.no_grad():
            apn_loss = F.cross_entropy(self.judge_visual(visual), batch.labels, reduction="none")
            apan_loss = F.cross_entropy(self.judge_semantic(semantic), batch.labels, reduction="none")
        losses = {
            "fused": self.identity(self._given_classifier(mixed), batch.labels),
            "alpha": masked_mean(alpha_loss(self.settings.joint.alpha_loss, logits, apn_loss, apan_loss), known),
        }
        self.update("fusion", torch.stack(list(losses.values())).sum())
        return losses | {"mean_alpha": torch.sigmoid(logits.detach()).mean()}

    def filled(self, q: Tensor) -> Tensor:
        """Q [B], and where it was not computed the mean, which stands for an ordinary picture."""
        return torch.where(q.isnan(), self.mu, q)

    def _given_classifier(self, mixed: Tensor) -> Tensor:
        """Identity logits [B,P] through the FC and the classifier as they stand, which get no gradient."""
        compressed = F.linear(mixed, self.fusion.compress.weight.detach())
        # By the batch's statistics, as in pass 3; the running ones are not moved a second time.
        scale, shift = self.fusion.neck.weight.detach(), self.fusion.neck.bias.detach()
        normalised = F.batch_norm(compressed, None, None, scale, shift, training=True)
        return self.classifier(normalised, self.classifier.weight.detach())


class _APNModule(nn.Module):
    """What pass 1 moves."""

    def __init__(self, apn: APN, classifiers: APNClassifiers) -> None:
        super().__init__()
        self.apn, self.classifiers = apn, classifiers

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """v_a [B,1024] before and after its normalisation, and identity logits [B,P] of the whole and each stripe."""
        regions = self.apn.regions(crops)
        before = self.apn.before_neck(regions)
        visual = self.apn.neck(before)
        return before, visual, *self.classifiers(visual, regions)


class _HeadModule(nn.Module):
    """What pass 3 moves."""

    def __init__(
        self, fusion: Fusion, classifier: IdentityClassifier, judge_visual: nn.Linear, judge_semantic: nn.Linear
    ) -> None:
        super().__init__()
        self.compress, self.neck, self.classifier = fusion.compress, fusion.neck, classifier
        self.judge_visual, self.judge_semantic = judge_visual, judge_semantic

    def forward(self, mixed: Tensor, visual: Tensor, semantic: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The descriptor before its neck [B,1000], and identity logits [B,P] of it, of v_a and of v_s."""
        compressed = self.compress(mixed)
        logits = self.classifier(self.neck(compressed))
        return compressed, logits, self.judge_visual(visual), self.judge_semantic(semantic)


class _FusionModule(nn.Module):
    """What pass 4 moves."""

    def __init__(self, weighting: TrainableWeighting, projections: Projections) -> None:
        super().__init__()
        self.weighting, self.projections = weighting, projections

    def forward(self, q: Tensor, known: Tensor, visual: Tensor, semantic: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [B] of α, which learn only where Q is `known`, and V [B,2048]."""
        logits = self.weighting.logits(q)
        logits = torch.where(known, logits, logits.detach())
        return logits, Fusion.concatenate(*self.projections(visual, semantic), torch.sigmoid(logits))
