"""What FacePaint raises on purpose. Each message is one line: what was wrong, what would work.

FacePaintError
├── PhotoError      a photo that cannot be read or written
├── ClipError       a clip that cannot be read or written
├── NoFaceError     a photo in which no face was found
├── EditError       an edit that cannot be made as asked: face, expression or strength
├── WeightsError    a weights file that is missing, damaged or foreign
├── CredentialsError  a certificate, a key or a signed manifest that cannot be used
└── LabError        the lab's own: a recipe, a data folder or a run that cannot be used
"""


def one_line(message: str) -> str:
    """A message as one line that cannot steer a terminal, whatever names and values it holds."""
    return "".join(c if c.isprintable() else "?" for c in " ".join(message.split()))


class FacePaintError(Exception):
    """Base of all errors that FacePaint raises on purpose."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class PhotoError(FacePaintError):
    """The photo cannot be read or written."""


class ClipError(FacePaintError):
    """The clip cannot be read or written."""


class NoFaceError(FacePaintError):
    """No face was found in the photo."""


class EditError(FacePaintError):
    """The edit cannot be made as asked."""


class WeightsError(FacePaintError):
    """A weights file is missing, damaged, or not one of FacePaint's."""


class CredentialsError(FacePaintError):
    """A certificate, a key or a signed manifest cannot be used."""


class LabError(FacePaintError):
    """A recipe, a data folder or a run of the lab cannot be used."""
