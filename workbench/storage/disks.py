"""Which disk a place is on."""

from workbench.paths import Address, Place
from workbench.storage.bucket import Bucket
from workbench.storage.disk import Disk
from workbench.storage.folder import Folder


def disk_of(place: Place) -> Disk:
    """The disk at a place; object storage is reached when it is first asked for something."""
    return Bucket(place) if isinstance(place, Address) else Folder(place)
