"""The optimizer of a distillation: the library's AdamW, or Muon for the matrices of the layers.

Muon (Jordan et al. 2024) makes the update of a matrix orthogonal, so that all directions change
alike. Not in the paper.
"""

import torch

from lib.model import parts


def new(model, settings: dict, weight_decay: float = 0.0) -> torch.optim.Optimizer:
    """The optimizer that the settings name, for all parameters of a model."""
    rate = settings["learning_rate"]
    if settings["optimizer"] == "muon":
        return Muon(model, rate, weight_decay)
    return torch.optim.AdamW(model.parameters(), rate, weight_decay=weight_decay, fused=True)


class Muon(torch.optim.Optimizer):
    """torch's Muon for the matrices inside the layers, its AdamW for all other parameters.

    Updates of Muon are scaled to the size of AdamW's, so both have one learning rate.
    """

    def __init__(self, model, learning_rate: float, weight_decay: float):
        inside = {
            parameter
            for layer in parts.layers(model)
            for parameter in layer.module.parameters()
            if parameter.ndim == 2
        }
        others = [parameter for parameter in model.parameters() if parameter not in inside]
        matrices, vectors = ([p for p in others if (p.ndim == 2) == wide] for wide in (True, False))
        groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
        same = {"lr": learning_rate, "weight_decay": weight_decay}
        ordered = [parameter for parameter in model.parameters() if parameter in inside]
        self.both = (
            torch.optim.Muon(ordered, adjust_lr_fn="match_rms_adamw", **same),
            torch.optim.AdamW(groups, **same),
        )
        super().__init__([{"params": ordered}, *groups], same)
        self.param_groups = [group for each in self.both for group in each.param_groups]

    @torch.no_grad()
    def step(self, closure=None):
        """One update of all parameters."""
        for each in self.both:
            each.step()

    def state_dict(self) -> dict:
        """The states of both; the Trainer writes them into a checkpoint."""
        return {"both": [each.state_dict() for each in self.both]}

    def load_state_dict(self, state_dict: dict) -> None:
        """Go on from what `state_dict` gave."""
        for each, state in zip(self.both, state_dict["both"], strict=True):
            each.load_state_dict(state)
        self.param_groups = [group for each in self.both for group in each.param_groups]
