"""The express lane: revocations and deletes reach readers before the write path has worked through its queue."""

from flows.express.floors import FloorBook, Sightings, narrows
from flows.express.lane import ExpressLane

__all__ = ["ExpressLane", "FloorBook", "Sightings", "narrows"]
