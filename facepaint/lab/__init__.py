"""The lab: what trains, measures and exports the networks that the runtime runs.

It needs the extra: pip install 'facepaint[lab]'. The lab may import the runtime, never the other
way.
"""
