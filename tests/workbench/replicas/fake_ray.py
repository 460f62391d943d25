"""As much of Ray as replicas need, in this process and at once: remote classes, results, lost actors, a cluster's size."""

from types import SimpleNamespace
from typing import Any

from workbench import WorkbenchError


class _Called:
    def __init__(self, call: Any) -> None:
        self.remote = call


class _Ref:
    """The result of a call, told from others by which it is."""

    def __init__(self, value: Any, error: Exception | None = None) -> None:
        self.value, self.error = value, error


class _Actor:
    def __init__(self, methods: dict[str, _Called]) -> None:
        self.__dict__.update(methods)


class FakeRay:
    """`lose` names how many of the replicas end before their work does; cpus: what the cluster has."""

    def __init__(self, lose: int = 0, cpus: float = 8.0) -> None:
        self.lose, self.cpus, self.begun, self.options = lose, cpus, list[dict[str, Any]](), list[dict[str, Any]]()
        self.is_running = False
        names = ("RayTaskError", "RayActorError", "OutOfMemoryError")
        self.exceptions = SimpleNamespace(**{name: type(name, (Exception,), {"cause": None}) for name in names})

    def init(self, **given: Any) -> None:
        self.begun.append(given)
        self.is_running = True

    def shutdown(self) -> None:
        self.is_running = False

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": self.cpus}

    def remote(self, **options: Any) -> Any:
        self.options.append(options)
        return lambda kind: _Called(lambda: self._actor(kind()))

    def _actor(self, one: Any) -> Any:
        lost = self.lose > 0 and type(one).__name__ == "Replica"
        self.lose -= lost
        names = [name for name in dir(one) if not name.startswith("_") and callable(getattr(one, name))]
        return _Actor({name: _Called(self._call(getattr(one, name), lost)) for name in names})

    def _call(self, method: Any, lost: bool) -> Any:
        def call(*given: Any) -> _Ref:
            if lost:
                return _Ref(None, self.exceptions.RayActorError("gone"))
            try:
                return _Ref(method(*given))
            except WorkbenchError as error:
                wrapped = self.exceptions.RayTaskError(str(error))
                wrapped.cause = error
                return _Ref(None, wrapped)

        return call

    def put(self, value: Any) -> Any:
        return value

    def wait(self, left: list[_Ref], timeout: float) -> tuple[list[_Ref], list[_Ref]]:
        return left[:1], left[1:]

    def get(self, one: _Ref) -> Any:
        if one.error:
            raise one.error
        return one.value
