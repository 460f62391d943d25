"""How experts of different layers belong together: the paths that tokens take.

work.py        what a count takes, said before it starts
steps.py       who is selected in one MoE layer and in the next
lifts.py       how sure a lift is
pathways.py    which expert of the next layer follows an expert, and how much more than by chance
assignment.py  experts on devices by linear programs
crossings.py   how much crosses from device to device
placement.py   which experts should lie on one device
"""

from probes.structure.pathways import pathways
from probes.structure.placement import placement

__all__ = ["pathways", "placement"]
