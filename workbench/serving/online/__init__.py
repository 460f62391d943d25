"""The model of a running `workbench serve`, asked from elsewhere: an engine for `load(URL, engine=Online)`.

told.py     what a server tells of its model, as JSON, and the same read
asking.py   requests over HTTP, and what is wrong with an answer in a sentence
engine.py   the engine
"""

from workbench.serving.online.engine import NAME, Online
from workbench.serving.online.told import PATH, telling

__all__ = ["NAME", "PATH", "Online", "telling"]
