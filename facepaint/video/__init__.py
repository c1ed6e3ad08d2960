"""Video: the same edit on every frame of a clip, steady, with sound and time stamps kept.

A clip is never in memory as a whole. `clip` reads frames and writes them, `planes` brings what was
edited back into a frame's own samples, `track` follows faces and tells people apart by their
`appearance`, `smooth` keeps a face's crop and expression steady, and `run` puts them together.
"""

from facepaint.video.run import Report as Report
from facepaint.video.run import edit_clip as edit_clip
