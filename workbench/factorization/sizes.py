"""How many groups an MLP is cut into, how many of them are shared, and how many of the rest a token gets."""

from dataclasses import dataclass

from workbench.errors import WorkbenchError, listed

GRAIN = 8
"""A group is a multiple of so many neurons: torch's grouped product of experts wants rows of 16 bytes, in half precision too."""


@dataclass(frozen=True)
class Sizes:
    """experts: groups in all, `shared` of which are the shared expert; top_k: routed experts of a token."""

    experts: int
    shared: int
    top_k: int

    @property
    def routed(self) -> int:
        """Groups that are routed experts."""
        return self.experts - self.shared

    def check(self, neurons: int) -> None:
        """Raises `WorkbenchError` for numbers that no rewrite can have; neurons: of the dense MLP."""
        if self.shared < 0 or self.routed < 2:
            raise WorkbenchError(
                f"{self.experts} groups, {self.shared} of them shared, leave {self.routed} routed experts; two are needed."
            )
        if not 1 <= self.top_k <= self.routed:
            raise WorkbenchError(
                f"A token cannot get {self.top_k} of {self.routed} routed experts; give a top-k of 1 to {self.routed}."
            )
        if neurons % (GRAIN * self.experts):
            raise WorkbenchError(
                f"{neurons} neurons of an MLP cannot be cut into {self.experts} equal groups of a multiple of {GRAIN} neurons; "
                f"numbers of groups that would do: {listed(near(neurons, self.experts))}."
            )


def near(neurons: int, experts: int, most: int = 6) -> list[int]:
    """The numbers of groups that `neurons` can be cut into which are nearest to `experts`, in order."""
    fitting = [n for n in range(3, neurons + 1) if neurons % (GRAIN * n) == 0]
    return sorted(sorted(fitting, key=lambda n: abs(n - experts))[:most])
