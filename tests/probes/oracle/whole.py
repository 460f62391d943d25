"""What every probe is held against, of all folders together: tables by hand, loops over rows, planted mistakes."""

from tests.probes.oracle import brute, goldens, planted
from tests.probes.oracle.contrasts import brute as contrasts_brute
from tests.probes.oracle.contrasts import checks as contrasts_checks
from tests.probes.oracle.contrasts import goldens as contrasts_goldens
from tests.probes.oracle.contrasts import planted as contrasts_planted
from tests.probes.oracle.importance import brute as importance_brute
from tests.probes.oracle.importance import checks as importance_checks
from tests.probes.oracle.importance import goldens as importance_goldens
from tests.probes.oracle.importance import planted as importance_planted
from tests.probes.oracle.specialisation import brute as specialisation_brute
from tests.probes.oracle.specialisation import checks as specialisation_checks
from tests.probes.oracle.specialisation import goldens as specialisation_goldens
from tests.probes.oracle.specialisation import planted as specialisation_planted
from tests.probes.oracle.structure import brute as structure_brute
from tests.probes.oracle.structure import checks as structure_checks
from tests.probes.oracle.structure import goldens as structure_goldens
from tests.probes.oracle.structure import planted as structure_planted
from tests.probes.oracle.traffic import brute as traffic_brute
from tests.probes.oracle.traffic import checks as traffic_checks
from tests.probes.oracle.traffic import goldens as traffic_goldens
from tests.probes.oracle.traffic import planted as traffic_planted
from tests.probes.oracle.utilisation import brute as utilisation_brute
from tests.probes.oracle.utilisation import checks as utilisation_checks
from tests.probes.oracle.utilisation import goldens as utilisation_goldens
from tests.probes.oracle.utilisation import planted as utilisation_planted

BRUTE = (
    brute,
    utilisation_brute,
    traffic_brute,
    specialisation_brute,
    importance_brute,
    structure_brute,
    contrasts_brute,
)
GOLDENS = {
    **goldens.GOLDENS,
    **utilisation_goldens.GOLDENS,
    **traffic_goldens.GOLDENS,
    **specialisation_goldens.GOLDENS,
    **importance_goldens.GOLDENS,
    **structure_goldens.GOLDENS,
    **contrasts_goldens.GOLDENS,
}
MISTAKES = {
    **planted.MISTAKES,
    **utilisation_planted.MISTAKES,
    **traffic_planted.MISTAKES,
    **specialisation_planted.MISTAKES,
    **importance_planted.MISTAKES,
    **structure_planted.MISTAKES,
    **contrasts_planted.MISTAKES,
}
CHECKS = {
    **utilisation_checks.CHECKS,
    **traffic_checks.CHECKS,
    **specialisation_checks.CHECKS,
    **importance_checks.CHECKS,
    **structure_checks.CHECKS,
    **contrasts_checks.CHECKS,
}
"""Of the folders that have one: what equals brute force in its default variant."""
