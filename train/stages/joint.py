"""Stage 2 of the paper: both branches, the descriptor and α, in four backward passes a batch.

    pass    learns from                                             moves
    apn     identity of v_a and of its stripes, triplet on v_a       APN and its classifiers
    apan    attributes                                              APAN
    head    identity of and triplet on the descriptor               FC 2048->1000, its classifier, and the two
            (v_a, v_s, α given)                                     auxiliary classifiers
    fusion  the target of α, and the descriptor's identity          α's perceptron and both projections
            (v_a, v_s, FC and classifier given)

"Given" means detached: a pass gives gradients to what it moves and to nothing else.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from qafm.contract import DESCRIPTOR_SIZE, VECTOR_SIZE
from train.data import Batch
from train.losses import alpha_loss, attribute_loss, identity_loss, part_loss, triplet_loss
from train.networks import APAN, APN, Fusion, Trunk
from train.networks.apn import APNClassifiers
from train.networks.fusion import Weighting
from train.networks.layers import IdentityNeck
from train.precision import autocast
from train.settings import Settings
from train.stages.stage import Stage


class JointStage(Stage):
    name = "joint"

    def __init__(
        self,
        settings: Settings,
        device: torch.device,
        *,
        identities: int,
        apn_trunk: Trunk,
        apan: APAN,
        q: np.ndarray,
        mu: float,
        sigma: float,
    ) -> None:
        """`q` float32 [N] is the identifiability score of each training crop, NaN where it was not computed.

        `apn_trunk` is where APN's encoder starts from, `apan` the network of the stage before.
        """
        super().__init__(settings, device)
        self.q = torch.from_numpy(q).to(device)
        self.apn = APN(apn_trunk, settings.network.channels)
        self.classifiers = APNClassifiers(settings.network.channels, identities)
        self.apan = apan
        self.fusion = Fusion()
        self.neck = IdentityNeck(DESCRIPTOR_SIZE, identities)
        self.weighting = Weighting(mu, sigma)
        # On detached vectors: they tell how well each branch knows an identity, on one scale, and teach it nothing.
        self.judge_visual = nn.Linear(VECTOR_SIZE, identities)
        self.judge_semantic = nn.Linear(VECTOR_SIZE, identities)
        self.add(
            apn=self.apn,
            classifiers=self.classifiers,
            apan=self.apan,
            fusion=self.fusion,
            neck=self.neck,
            weighting=self.weighting,
            judge_visual=self.judge_visual,
            judge_semantic=self.judge_semantic,
        )
        self.optimize("apn", self.apn, self.classifiers)
        self.optimize("apan", self.apan)
        self.optimize("head", self.fusion.compress, self.neck, self.judge_visual, self.judge_semantic)
        self.optimize("fusion", self.weighting, self.fusion.projections)

    def base_rate(self, optimizer: str) -> float:
        # Freezing and slowing presume pretrained branches; from random weights APN would then never learn.
        slow = optimizer in ("apn", "apan") and self.settings.pretrained
        return self.settings.learning_rate * (self.settings.joint.branch_rate if slow else 1)

    def step(self, batch: Batch, epoch: int) -> dict[str, Tensor]:
        visual, apn_losses = self.apn_pass(batch, epoch)
        semantic, apan_losses = self.apan_pass(batch, epoch)
        visual, semantic = visual.detach().float(), semantic.detach().float()
        return (
            apn_losses
            | apan_losses
            | self.head_pass(batch, visual, semantic)
            | self.fusion_pass(batch, visual, semantic)
        )

    def frozen(self, epoch: int) -> bool:
        """Whether the branches, being pretrained, stand still in this epoch."""
        return self.settings.pretrained and epoch < self.settings.joint.frozen_epochs

    def apn_pass(self, batch: Batch, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Pass 1. Returns v_a [B,1024] and the losses."""
        frozen = self.frozen(epoch)
        self.apn.train(not frozen)
        with torch.set_grad_enabled(not frozen), autocast(self.settings.precision, self.device):
            regions = self.apn.regions(self.look(batch, epoch))
            visual = self.apn.embed_regions(regions)
            whole, stripes = self.classifiers(visual, regions)
        losses = {
            "apn_identity": identity_loss(whole, batch.labels),
            "apn_parts": part_loss(stripes, batch.labels),
            "apn_triplet": triplet_loss(visual, batch.labels),
        }
        if not frozen:
            self.update("apn", torch.stack(list(losses.values())).sum())
        return visual, losses

    def apan_pass(self, batch: Batch, epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Pass 2. Returns v_s [B,1024] and the losses."""
        frozen = self.frozen(epoch)
        self.apan.train(not frozen)
        with torch.set_grad_enabled(not frozen), autocast(self.settings.precision, self.device):
            semantic, logits = self.apan(self.look(batch, epoch))
        loss = attribute_loss(logits, batch.attributes)
        if not frozen:
            self.update("apan", loss)
        return semantic, {"attributes": loss}

    def head_pass(self, batch: Batch, visual: Tensor, semantic: Tensor) -> dict[str, Tensor]:
        """Pass 3, on detached vectors [B,1024]."""
        with torch.no_grad():
            projected = self.fusion.projections(visual, semantic)
            mixed = self.fusion.concatenate(*projected, self.weighting(self.scores(batch)))
        descriptor = self.fusion.compress(mixed)
        losses = {
            "identity": identity_loss(self.neck(descriptor), batch.labels),
            "triplet": triplet_loss(descriptor, batch.labels),
        }
        judges = F.cross_entropy(self.judge_visual(visual), batch.labels) + F.cross_entropy(
            self.judge_semantic(semantic), batch.labels
        )
        self.update("head", losses["identity"] + losses["triplet"] + judges)
        return losses

    def fusion_pass(self, batch: Batch, visual: Tensor, semantic: Tensor) -> dict[str, Tensor]:
        """Pass 4, on detached vectors [B,1024]. α learns only from crops whose Q is known."""
        known = ~self.q[batch.rows].isnan()
        logits = self.weighting.logits(self.scores(batch))
        logits = torch.where(known, logits, logits.detach())
        mixed = self.fusion.concatenate(*self.fusion.projections(visual, semantic), torch.sigmoid(logits))
        with torch.no_grad():
            apn_loss = F.cross_entropy(self.judge_visual(visual), batch.labels, reduction="none")
            apan_loss = F.cross_entropy(self.judge_semantic(semantic), batch.labels, reduction="none")
        losses = {"fused": identity_loss(self._given_classifier(mixed), batch.labels)}
        if known.any():
            losses["alpha"] = alpha_loss(
                self.settings.joint.alpha_loss, logits[known], apn_loss[known], apan_loss[known]
            )
        self.update("fusion", torch.stack(list(losses.values())).sum())
        return losses | {"mean_alpha": torch.sigmoid(logits.detach()).mean()}

    def scores(self, batch: Batch) -> Tensor:
        """Q [B] of a batch; where it is not known, the mean, which stands for an ordinary picture."""
        q = self.q[batch.rows]
        return torch.where(q.isnan(), self.weighting.mu, q)

    def _given_classifier(self, mixed: Tensor) -> Tensor:
        """Identity logits [B,P] through the FC and the classifier as they stand, which get no gradient."""
        descriptor = F.linear(mixed, self.fusion.compress.weight.detach())
        given = {name: values.detach() for name, values in self.neck.named_parameters()}
        # The batch's statistics, as in pass 3; copies of the running ones, so that they are not moved twice.
        buffers = {name: values.clone() for name, values in self.neck.named_buffers()}
        return functional_call(self.neck, given | buffers, (descriptor,))
