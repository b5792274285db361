"""Chemprop's network with our loss: one forward pass a step, a stop at a loss not finite."""

from __future__ import annotations

from typing import Any

import torch
from chemprop import nn
from chemprop.data.collate import BatchMolGraph, TrainingBatch
from chemprop.models import MPNN
from torch import Tensor

from chemprop_multitask.aggregation import aggregate
from chemprop_multitask.errors import NonFiniteLossError
from chemprop_multitask.losses import MultiTaskLoss

_PARTIAL = "train_loss_so_far"


class MultiTaskMPNN(MPNN):  # type: ignore[misc]  # chemprop has no types here
    """A `chemprop.models.MPNN` that is trained with a `MultiTaskLoss`.

    What it is built of, and so what its files name, are the modules that it is given; the loss is
    hung on afterwards by `use_loss`.
    """

    task_names: tuple[str, ...] = ()

    def use_loss(self, loss: MultiTaskLoss, task_names: tuple[str, ...]) -> None:
        """Train and validate with a loss of these tasks from here on."""
        self.predictor.criterion = loss
        self.metrics[-1] = loss.clone()
        self.task_names = task_names

    def fingerprint(
        self, bmg: BatchMolGraph, V_d: Tensor | None = None, X_d: Tensor | None = None
    ) -> Tensor:
        """Return the learned fingerprint of each molecule, [B, F]; Chemprop's numbers, sooner."""
        H = aggregate(self.agg, self.message_passing(bmg, V_d), bmg.batch)
        H = self.bn(H)
        return H if X_d is None else torch.cat((H, self.X_d_transform(X_d)), dim=1)

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch.

        Raises
        ------
        NonFiniteLossError
            If it is not finite.
        """
        loss = self._loss(self.criterion, self._predicted(batch), batch, "training")
        if self._trainer is not None and self._trainer.is_last_batch:
            # The criterion has summed up the epoch itself; to log it at each step takes its time.
            self.log("train_loss", self.criterion, batch_size=len(batch.bmg), on_epoch=True)
        return loss

    def configure_optimizers(self) -> dict[str, Any]:
        """Return Chemprop's optimiser and schedule, with all of Adam's step in one kernel."""
        configured: dict[str, Any] = super().configure_optimizers()
        for group in configured["optimizer"].param_groups:
            group["fused"] = True
        return configured

    def validation_step(self, batch: TrainingBatch, batch_idx: int = 0) -> Tensor:
        """Add a batch to the validation loss; Chemprop's own step would predict it twice.

        Returns
        -------
        Tensor [B, T]
            What was predicted, scaled, and logits of classes: `ValidationPredictions` reads them.
        """
        preds = self._predicted(batch)
        self._loss(self.metrics[-1], preds, batch, "validation")
        self.log("val_loss", self.metrics[-1], batch_size=len(batch.bmg))
        return preds

    def in_units(self, preds: Tensor) -> Tensor:
        """Return scaled values and logits as `forward` gives them.

        Parameters
        ----------
        preds : Tensor [B, T]
            As `validation_step` returns them.
        """
        transform = self.predictor.output_transform
        if isinstance(transform, nn.UnscaleTransform):  # its own forward does nothing in training
            preds = preds * transform.scale + transform.mean
        if isinstance(self.predictor, nn.BinaryClassificationFFN):
            return preds.sigmoid()
        is_class = getattr(self.predictor, "is_class", None)
        return preds if is_class is None else torch.where(is_class, preds.sigmoid(), preds)

    def _predicted(self, batch: TrainingBatch) -> Tensor:
        fingerprint = self.fingerprint(batch.bmg, batch.V_d, batch.X_d)
        predicted: Tensor = self.predictor.train_step(fingerprint)
        return predicted

    def _loss(
        self, criterion: MultiTaskLoss, preds: Tensor, batch: TrainingBatch, stage: str
    ) -> Tensor:
        mask = batch.Y.isfinite()
        targets = batch.Y.nan_to_num(nan=0.0)
        loss: Tensor = criterion(preds, targets, mask, batch.w, batch.lt_mask, batch.gt_mask)
        if not loss.isfinite():
            cells = criterion.cells(preds.detach(), targets, batch.lt_mask, batch.gt_mask)
            raise self._not_finite(cells * batch.w, mask, batch, stage)
        return loss

    def _not_finite(
        self, cells: Tensor, mask: Tensor, batch: TrainingBatch, stage: str
    ) -> NonFiniteLossError:
        bad = (~cells.isfinite() & mask).nonzero().tolist()
        rows = sorted({batch.bmg.rows[b] for b, _ in bad}) or sorted(set(batch.bmg.rows))
        tasks = [self.task_names[t] for t in sorted({t for _, t in bad})] or list(self.task_names)
        return NonFiniteLossError(stage, self.trainer.current_epoch, rows, tasks)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the running epoch's loss has summed up; at its end that is over."""
        epoch_loop = self.trainer.fit_loop.epoch_loop
        if not epoch_loop.batch_progress.is_last_batch:
            checkpoint[_PARTIAL] = {
                "total_loss": self.criterion.total_loss.detach().clone(),
                "num_samples": self.criterion.num_samples.clone(),
                "updates": self.criterion._update_count,
            }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the sums of the epoch that was broken off."""
        if (partial := checkpoint.get(_PARTIAL)) is not None:
            with torch.no_grad():
                self.criterion.total_loss.copy_(partial["total_loss"])
                self.criterion.num_samples.copy_(partial["num_samples"])
            self.criterion._update_count = partial["updates"]
