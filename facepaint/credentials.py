"""Credentials: marks that are signed, as C2PA manifests (the extra `c2pa`, c2pa-python).

The manifest lists what was done (C2PA 2: c2pa.opened, c2pa.edited) and holds the source as its
parent, with the source's own manifest where it has one. It has no thumbnails: they would show the
old face. Signing takes a time and a random number, so no two signed files are alike.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from facepaint._version import __version__
from facepaint.errors import CredentialsError
from facepaint.mark import COMPOSITE, Mark, marks_in

if TYPE_CHECKING:
    from facepaint.photo import Photo

_SETTINGS = {
    "builder": {"thumbnail": {"enabled": False}},
    # looking at a picture must tell nobody that it was looked at
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}
_HEADS = {b"\xff\xd8": "image/jpeg", b"\x89PNG": "image/png", b"RIFF": "image/webp"}
_HEADS |= {b"II*\0": "image/tiff", b"MM\0*": "image/tiff"}
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


@dataclass(frozen=True)
class Credentials:
    """A certificate chain, the signer's own first, and its private key; both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)

    @classmethod
    def read(cls, certificate: Path, key: Path) -> Credentials:
        """From two files; CredentialsError where they cannot be used to sign."""
        try:
            found = cls(certificate.read_bytes(), key.read_bytes())
        except OSError as error:
            raise CredentialsError(f"{error.filename}: {error.strerror}") from error
        found._signer().close()
        return found

    def signer(self, source: bytes, before: Photo, after: Photo) -> Callable[[bytes], bytes]:
        """What signs the bytes of an edited photo, for `Photo.save`; source: the file before."""
        old, new = (marks_in(photo.metadata.xmp) for photo in (before, after))
        return partial(self.sign, source=source, mark=new[-1] if len(new) > len(old) else None)

    def sign(self, data: bytes, source: bytes, mark: Mark | None) -> bytes:
        """The file `data` with a manifest that says what `mark` does, made from `source`.

        Raises CredentialsError where it cannot be signed.
        """
        c2pa = _library()
        signed = io.BytesIO()
        try:
            with c2pa.Context.from_dict(_SETTINGS) as context:
                builder = c2pa.Builder(_manifest(data, mark), context)
                builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
                parent = {"title": "source", "relationship": "parentOf"}
                builder.add_ingredient(parent, mime(source), io.BytesIO(source))
                with self._signer() as signer:
                    builder.sign(signer, mime(data), io.BytesIO(data), signed)
        except c2pa.C2paError as error:
            raise CredentialsError(f"the picture cannot be signed ({_line(error)})") from error
        return signed.getvalue()

    def _signer(self) -> Any:
        c2pa = _library()
        algorithm = getattr(c2pa.C2paSigningAlg, self._algorithm())
        try:
            information = c2pa.C2paSignerInfo(algorithm, self.certificate, self.key, None)
            return c2pa.Signer.from_info(information)
        except c2pa.C2paError as error:
            what = f"certificate and key cannot be used to sign ({_line(error)})"
            raise CredentialsError(f"{what}; they must be PEM, with the whole chain") from error

    def _algorithm(self) -> str:
        """The signature algorithm that fits the key."""
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(self.key, None)
        except (ValueError, TypeError) as error:  # TypeError: it has a password
            raise CredentialsError("the key is no PEM private key without a password") from error
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
            return _CURVES[key.curve.name]
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return "ED25519"
        if isinstance(key, rsa.RSAPrivateKey):
            return "PS256"
        raise CredentialsError("the key is of a kind that C2PA does not sign with")


@dataclass(frozen=True)
class Manifest:
    """The manifest of a file. state: "trusted", "valid" (whole, but its signer is not on a list of
    those one trusts) or "invalid" (the file or manifest was changed after it was signed).

    signer: whom the certificate names. actions: by their C2PA names. ingredients: how many sources
    it names, and how many of them had a manifest.
    """

    state: str
    signer: str | None
    actions: tuple[str, ...]
    ingredients: tuple[int, int]


def manifest_of(file: IO[bytes], kind: str) -> Manifest | None:
    """The manifest in a binary file of this MIME type, validated; None where there is none.

    Raises CredentialsError where it cannot be read.
    """
    c2pa = _library()
    try:
        with c2pa.Context.from_dict(_SETTINGS) as context:
            reader = c2pa.Reader.try_create(kind, file, context=context)
            if reader is None:
                return None
            with reader:
                return _read(json.loads(reader.json()))
    except (c2pa.C2paError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise CredentialsError(f"its C2PA manifest cannot be read ({_line(error)})") from error


def mime(data: bytes) -> str:
    """The MIME type of a picture that FacePaint writes."""
    kinds = (kind for head, kind in _HEADS.items() if data.startswith(head))
    found = next(kinds, None)
    if found is None:
        raise CredentialsError("only JPEG, PNG, WebP and TIFF can be signed")
    return found


def _library() -> Any:
    try:
        import c2pa
    except ImportError as error:
        what = "signed marks need c2pa-python"
        raise CredentialsError(f"{what}; install it with: pip install 'facepaint[c2pa]'") from error
    return c2pa


def _manifest(data: bytes, mark: Mark | None) -> dict[str, Any]:
    program = {"name": "FacePaint", "version": __version__}
    edited = {"action": "c2pa.edited", "digitalSourceType": COMPOSITE, "softwareAgent": program}
    said = "; ".join(f"face {f.index}: {f}" for f in mark.faces) if mark else ""
    networks = dict(mark.models) if mark else {}
    edited["parameters"] = {"description": said, "facepaint.networks": networks}
    actions = {"actions": [edited] if mark else []}
    return {
        "claim_generator_info": [program],
        "format": mime(data),
        "assertions": [{"label": "c2pa.actions.v2", "data": actions}],
    }


def _read(document: Any) -> Manifest:
    active = document["manifests"][document["active_manifest"]]
    actions = [
        str(action.get("action"))
        for assertion in active.get("assertions", [])
        if assertion["label"].startswith("c2pa.actions")
        for action in assertion["data"]["actions"]
    ]
    sources = active.get("ingredients", [])
    with_manifest = sum("active_manifest" in source for source in sources)
    signature = active.get("signature_info", {})
    return Manifest(
        str(document.get("validation_state", "invalid")).lower(),
        signature.get("common_name") or signature.get("issuer"),
        tuple(actions),
        (len(sources), with_manifest),
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
