"""A model's MoE map as plain data: which layers route, among how many experts, by which rule, and what is supported."""

import hashlib
import json
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

from workbench.anatomy.fingerprints import UNCOMPARED, is_unversioned, parts, versioned
from workbench.anatomy.refs import ExpertRef
from workbench.errors import NotCompared, WorkbenchError

CAPABILITIES = (
    *("routing", "logits", "norms", "outputs", "residual", "routed_change"),
    *("off", "drop", "mute", "force", "scale", "bias", "replace"),
)


@dataclass(frozen=True)
class RoutingRule:
    """How router logits become a selection and weights. Fitted numerically at load, never guessed from names.

    scores    = softmax, sigmoid or the root of softplus of the router logits
    choice    = scores (or the logits, when `bias_on` says so) + the correction bias
    groups    = the `topk_group` best of `n_group` groups survive; a group scores its maximum or the sum of its best two
    selection = top-k of choice
    weights   = scores of the selected (divided by their sum when `renormalise`), times `scaling`, times the expert's own
                scale when `expert_scale`
    skip      = the last class is no expert: a token that chooses it gets no expert (its slot names expert 0 with weight 0)
    sparsemixer (Liu et al. 2024, arXiv 2409.12136): experts one after the other by their logits; each weighs its softmax among
                those of the rest that are within 2 `jitter` of the best, relative to the larger of that best and their size
    """

    score: Literal["softmax", "sigmoid", "sqrtsoftplus", "sparsemixer"]
    renormalise: bool
    correction_bias: bool = False
    n_group: int = 1
    topk_group: int = 1
    group_score: Literal["max", "top2"] = "max"
    scaling: float = 1.0
    bias_on: Literal["score", "logit"] = "score"
    expert_scale: bool = False
    skip: bool = False
    jitter: float = 0.0

    def __str__(self) -> str:
        if self.score == "sparsemixer":
            return f"sparsemixer, within {2 * self.jitter:g} of the best"
        bias = "" if not self.correction_bias else f"+ correction bias{' on logits' if self.bias_on == 'logit' else ''}"
        parts = [self.score, bias]
        if self.n_group > 1:
            parts.append(f"in {self.topk_group} of {self.n_group} groups (by {self.group_score})")
        parts += ["top-k", "renormalised" if self.renormalise else "not renormalised"]
        parts.append(f"x {self.scaling:g}" if self.scaling != 1 else "")
        parts += ["x a scale per expert" if self.expert_scale else "", "the last class skips" if self.skip else ""]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class LayerAnatomy:
    """One decoder layer. Dense layers have `n_experts` 0. `refused` maps a capability to the reason why not.

    notes          what is particular here: identity experts, a skip class, a hash router, probabilities instead of logits
    output_size    width of an expert's output where it is not the hidden size (experts in a latent space), else 0
    probabilities  the router reports probabilities; their logarithms are stored as its logits
    """

    layer: int
    n_experts: int = 0
    top_k: int = 0
    n_shared: int = 0
    router: str = ""
    experts: str = ""
    shared: tuple[str, ...] = ()
    rule: RoutingRule | None = None
    refused: dict[str, str] = field(default_factory=dict[str, str])
    notes: tuple[str, ...] = ()
    output_size: int = 0
    probabilities: bool = False

    @property
    def is_moe(self) -> bool:
        """Whether this layer routes tokens among experts."""
        return self.n_experts > 0


@dataclass(frozen=True)
class Anatomy:
    """The MoE map of one model: its name, family, sizes, digests and layers.

    weights    digest of all parameters under the names that they have in the model: the unversioned fingerprint's part
    identity   digest of weights, settings of the routers and active adapters (`model/fingerprint.py`); empty in what was made
               before fingerprints had a version
    adapters   names of the adapters that were active
    factorized_from  the dense model whose neurons in groups are the experts, where `workbench factorize` wrote this one
    """

    model: str
    family: str
    hidden_size: int
    vocab_size: int
    weights: str
    layers: tuple[LayerAnatomy, ...]
    revision: str | None = None
    context_length: int | None = None
    identity: str = field(default="", repr=False)
    adapters: tuple[str, ...] = field(default=(), repr=False)
    factorized_from: str | None = field(default=None, repr=False)

    @cached_property
    def fingerprint(self) -> str:
        """`2:` and 16 hex digits: scores, plans and stores of another model do not carry it (see `fingerprints`)."""
        return versioned(self._digest(2, self.identity)) if self.identity else self.unversioned

    @cached_property
    def unversioned(self) -> str:
        """The fingerprint by the rule of before there were versions: 16 hex digits of structure and weights."""
        return self._digest(self.weights)

    def _digest(self, *what: Any) -> str:
        *version, weights = what
        shape = [(x.layer, x.n_experts, x.top_k, x.n_shared) for x in self.layers]
        text = json.dumps([*version, self.family, self.hidden_size, self.vocab_size, weights, shape])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def moe_layers(self) -> tuple[int, ...]:
        """Decoder-layer indices that route."""
        return tuple(x.layer for x in self.layers if x.is_moe)

    @property
    def n_experts(self) -> int:
        """Routed experts over all layers."""
        return sum(x.n_experts for x in self.layers)

    def layer(self, layer: int) -> LayerAnatomy:
        """The layer's anatomy; raises `WorkbenchError` when there is no such layer."""
        if not 0 <= layer < len(self.layers):
            raise WorkbenchError(f"Layer {layer} does not exist: {self.model} has layers 0-{len(self.layers) - 1}.")
        return self.layers[layer]

    def refs(self, *, shared: bool = False) -> tuple[ExpertRef, ...]:
        """Every routed expert in order of layer and number, followed by the shared ones when `shared`."""
        routed = [ExpertRef(x.layer, e) for x in self.layers for e in range(x.n_experts)]
        always = [ExpertRef(x.layer, s, True) for x in self.layers for s in range(x.n_shared)] if shared else []
        return tuple(routed + always)

    def check_ref(self, ref: ExpertRef) -> None:
        """Raises `WorkbenchError` when this model has no such expert."""
        found = self.layer(ref.layer)
        n = found.n_shared if ref.is_shared else found.n_experts
        if ref.expert < n:
            return
        kind = "shared experts" if ref.is_shared else "experts"
        has = f"has {kind} 0-{n - 1}" if n else f"has no {kind}" + ("" if found.is_moe else " (it is dense)")
        raise WorkbenchError(f"{ref}: layer {ref.layer} of {self.model} {has}; name one of those.")

    def check_refs(self, refs: Iterable[ExpertRef]) -> None:
        """Raises `WorkbenchError` when an expert does not exist, or comes out of another model's ranking or plan file."""
        refs = tuple(refs)
        for fingerprint in dict.fromkeys(ref.fingerprint for ref in refs):
            self.check_same(fingerprint, "What names these experts")
        for ref in refs:
            self.check_ref(ref)

    def is_same(self, fingerprint: str) -> bool:
        """Whether the fingerprint is this model's, by the rule that the fingerprint was made by."""
        return all(part in (self.fingerprint, self.unversioned) for part in parts(fingerprint))

    def check_same(self, fingerprint: str | None, what: str) -> None:
        """Raises `WorkbenchError` when `fingerprint` is another model's. `what` names the thing that carries it.

        Warns (`NotCompared`) when it is of before there were versions: then less was compared.
        """
        if fingerprint is None:
            return
        if not self.identity and not is_unversioned(fingerprint):
            raise WorkbenchError(
                f"{what} cannot be compared with {self.model}, which is known here by a fingerprint of before they had a version "
                f"({fingerprint} and {self.fingerprint}); check it against the model itself."
            )
        if not self.is_same(fingerprint):
            adapters = f" with the adapters {', '.join(self.adapters)}" if self.adapters else ""
            raise WorkbenchError(
                f"{what} was made on another model (fingerprint {fingerprint}; {self.model}{adapters} is {self.fingerprint}); "
                f"expert numbers mean nothing across models, so make it again on this one."
            )
        if self.identity and is_unversioned(fingerprint):
            warnings.warn(f"{what} is taken for this model's, but {UNCOMPARED}.", NotCompared, stacklevel=2)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self) | {"fingerprint": self.fingerprint}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Anatomy":
        """The inverse of `to_dict`; a stored fingerprint that does not match is refused."""
        fields = {k: v for k, v in data.items() if k != "fingerprint"}
        fields["layers"] = tuple(_layer_from_dict(x) for x in data["layers"])
        fields["adapters"] = tuple(data.get("adapters", ()))
        anatomy = cls(**fields)
        anatomy.check_same(data.get("fingerprint"), "This anatomy")
        return anatomy


def _layer_from_dict(data: dict[str, Any]) -> LayerAnatomy:
    rule = RoutingRule(**data["rule"]) if data.get("rule") else None
    lists = {name: tuple(data.get(name, ())) for name in ("shared", "notes")}
    return LayerAnatomy(**{**data, "rule": rule, **lists})
