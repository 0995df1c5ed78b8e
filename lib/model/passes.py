"""Forward passes that end where nothing above is needed, for fits in closed form."""

import contextlib

import torch

from lib.model import device, encoder, mlm_head, parts


class _Reached(Exception):
    """Ends a forward pass."""


class Passes:
    """Passes of a model over the same batches, again and again while a fit changes its layers.

    Layers that stay as they are from now on are computed once: `settle_below` keeps the hidden
    state behind them at each position of the batches, and later passes begin there. Passes are in
    the `precision` of `device.in_bfloat16`; what enters a module is given in float32.
    """

    def __init__(self, model, batches: list[dict], precision: str = "auto"):
        self.model, self.precision = model, precision
        self.layers = [layer.module for layer in parts.layers(model)]
        self.batches = [
            {name: tensor.to(model.device) for name, tensor in batch.items()} for batch in batches
        ]
        self._settled, self._states = 0, []

    def settle_below(self, module) -> None:
        """The layers below the one that holds this module will not change any more."""
        for count, layer in enumerate(self.layers):
            if count > self._settled and module in {*layer.modules()}:
                self._settle(count)

    def _settle(self, count: int) -> None:
        states = [self._behind(number, count) for number in range(len(self.batches))]
        self._settled, self._states = count, states

    def last_states(self, without: int | None = None) -> list[torch.Tensor]:
        """The last hidden states (B, T, H) of each batch; `without` a layer of 1 to L - 1, as if it
        were not there. The layers below that one settle, so ask in rising order.
        """
        if without is not None:
            self._settle(without)
            self._settled += 1  # in the place of the layer stands what enters it
        found = [self._states_of(number) for number in range(len(self.batches))]
        self._settled -= without is not None
        return found

    def entering(self, number: int, *modules) -> list[torch.Tensor]:
        """What enters each of these modules of the encoder or its head, in the order of a forward
        pass, at the real positions of batch `number`: (N, width of its input).
        """
        where, seen = self.batches[number]["attention_mask"].bool(), []

        def reached(module, given):
            seen.append(given[0][where].float())
            if module is modules[-1]:
                raise _Reached

        with contextlib.ExitStack() as hooks:
            for module in modules:
                hooks.callback(module.register_forward_pre_hook(reached).remove)
            self._run(number)
        return seen

    def _behind(self, number: int, count: int):
        """What layer `count` gives for a batch, as the library hands it on."""
        found = []

        def reached(_, __, states):
            found.append(states)
            raise _Reached

        hook = self.layers[count - 1].register_forward_hook(reached)
        self._run(number)
        hook.remove()
        return found[0]

    def _run(self, number: int) -> None:
        """A pass over a batch, of the encoder and its head, that may end before."""
        with contextlib.suppress(_Reached):
            hidden = self._states_of(number)
            with torch.no_grad(), device.autocast(self.model.config, self.precision):
                mlm_head.transform(self.model, hidden)

    @torch.no_grad()
    def _states_of(self, number: int) -> torch.Tensor:
        """The last hidden states; each settled layer gives what the last of them gave."""
        with contextlib.ExitStack() as undo:
            for layer in self.layers[: self._settled]:
                undo.callback(layer.__dict__.pop, "forward")
                layer.forward = lambda *_, **__: self._states[number]
            undo.enter_context(device.autocast(self.model.config, self.precision))
            return encoder.hidden_states(self.model, self.batches[number])
