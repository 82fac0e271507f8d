"""The optimisers of the recipes."""

import torch
from torch import Tensor, nn

from glagcn.config.options import OptimConfig
from glagcn.training.optim.muon import Muon, split


def build_optimizer(optim: OptimConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Build the optimiser of --optimizer for a model that is already on its device.

    adam    Adam with amsgrad, betas 0.9 and 0.999 (the published 3DHP script).
    ranger  RAdam inside Lookahead, betas 0.95 and 0.999, eps 1e-5, 6 fast steps at alpha 0.5, no gradient
            centralisation; while the variance of the second moment is intractable, momentum alone (the published
            Human3.6M and HumanEva-I scripts).
    muon    orthogonalised momentum for the weights of layers, Adam for the rest (the tuned recipe).
    """
    if optim.optimizer == "muon":
        return Muon(*split(model), lr=optim.lr)
    if optim.optimizer == "ranger":
        from pytorch_optimizer import Ranger  # takes seconds to import

        return Ranger(
            model.parameters(), lr=optim.lr, betas=(0.95, 0.999), eps=1e-5, k=6, alpha=0.5, n_sma_threshold=5,
            use_gc=False, degenerated_to_sgd=True,
        )  # fmt: skip
    on_cuda = any(parameter.is_cuda for parameter in model.parameters())
    adam = torch.optim.Adam(model.parameters(), lr=optim.lr, amsgrad=True, fused=True, capturable=on_cuda)
    # A loaded state has the options of its own run, which may have used another device.
    adam.register_load_state_dict_post_hook(lambda loaded: _set_capturable(loaded, on_cuda))
    return adam


def _set_capturable(optimizer: torch.optim.Optimizer, capturable: bool) -> None:
    for group in optimizer.param_groups:
        group["capturable"] = capturable


def is_capturable(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a CUDA graph may capture the second and later steps of an optimiser from build_optimizer.

    Such an optimiser skips steps by a flag on the device and accepts a scalar tensor as a group's "lr".
    """
    return isinstance(optimizer, torch.optim.Adam | Muon)


def step_unless(stopped: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """Step an optimiser from build_optimizer, unless the scalar tensor `stopped` is 1.

    Fused Adam and Muon check `stopped` on the device, through `found_inf`; other optimisers wait for its value.
    """
    if is_capturable(optimizer):
        optimizer.found_inf = stopped  # type: ignore[attr-defined]  # Muon and Adam read it
        optimizer.step()
    elif not stopped:
        optimizer.step()
