"""Where people are drawn: cameras, places and who is about. A world is a module here and a line below."""

from synthetic.worlds.autumn import AUTUMN
from synthetic.worlds.first import FIRST
from synthetic.worlds.world import Camera, Palette, Shades, Tables, World

__all__ = ["WORLDS", "Camera", "Palette", "Shades", "Tables", "World"]

WORLDS = {world.name: world for world in (FIRST, AUTUMN)}
"""By name. No two have the same number."""
