"""What a model's MoE layers are, and how an expert is named. No torch.

refs           one expert: `L12E3`, and the model that it was ranked on
anatomy        layers, experts and routing rules of one model, with what each layer refuses
naming         experts in a line of text: `L12E3-7,L*E0`, `@plan.json`
fingerprints   which model a plan, a score or a store was made for
"""

from workbench.anatomy.anatomy import CAPABILITIES, Anatomy, LayerAnatomy, RoutingRule
from workbench.anatomy.fingerprints import UNCOMPARED, WITHOUT_VERSION, is_unversioned, joined
from workbench.anatomy.naming import parse_experts
from workbench.anatomy.refs import ExpertRef, as_ref

__all__ = [
    "CAPABILITIES",
    "UNCOMPARED",
    "WITHOUT_VERSION",
    "Anatomy",
    "ExpertRef",
    "LayerAnatomy",
    "RoutingRule",
    "as_ref",
    "is_unversioned",
    "joined",
    "parse_experts",
]
