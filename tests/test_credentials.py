"""Signed marks: what is signed validates, and what was changed afterwards does not."""

from __future__ import annotations

import datetime
import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facepaint import credentials
from facepaint.credentials import Credentials, manifest_of, mime
from facepaint.errors import CredentialsError
from facepaint.inspection import inspect
from facepaint.mark import Mark, MarkedFace
from facepaint.photo import Photo

pytest.importorskip("c2pa", reason="the extra c2pa is not installed")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

MARK = Mark((MarkedFace(0, "happy"),), (("painter", "ab" * 32),))
KEYS = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ED25519": ed25519.Ed25519PrivateKey.generate,
    "PS256": lambda: rsa.generate_private_key(65537, 2048),
}


def certificate(subject, issuer, public, by, authority):
    """A certificate as C2PA wants them; what is signed lies within its ten years."""
    names = [
        x509.Name(
            [
                x509.NameAttribute(NameOID.COMMON_NAME, name),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Drawn"),
            ]
        )
        for name in (subject, issuer)
    ]
    start = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    usage = [not authority, False, False, False, False, authority, authority, False, False]
    by_public = by.public_key()
    builder = (
        x509.CertificateBuilder(names[1], names[0], public, x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=3650))
        .add_extension(x509.BasicConstraints(authority, None), True)
        .add_extension(x509.KeyUsage(*usage), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(by_public), False)
    )
    if not authority:
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purposes, False)
    return builder.sign(by, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module", params=KEYS)
def files(request, tmp_path_factory):
    """A certificate chain and a key that are made for this run, as two files."""
    home = tmp_path_factory.mktemp(request.param)
    root, own = ec.generate_private_key(ec.SECP256R1()), KEYS[request.param]()
    chain = certificate("Drawn signer", "Drawn root", own.public_key(), root, False)
    chain += certificate("Drawn root", "Drawn root", root.public_key(), root, True)
    key = own.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (home / "chain.pem").write_bytes(chain)
    (home / "key.pem").write_bytes(key)
    return home / "chain.pem", home / "key.pem"


def drawing(seed: int = 0) -> Photo:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), np.uint8)
    return Photo(pixels)


def manifest(data: bytes):
    return manifest_of(io.BytesIO(data), mime(data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_signed_picture_validates_and_a_changed_one_does_not(kind, files) -> None:
    credentials = Credentials.read(*files)
    plain, source = drawing().encode(kind), drawing(1).encode(kind)
    signed = credentials.sign(plain, source, MARK)
    found = manifest(signed)
    assert (found.state, found.signer, found.ingredients) == ("valid", "Drawn signer", (1, 0))
    assert found.actions == ("c2pa.opened", "c2pa.edited")
    assert np.array_equal(Photo.read(signed).pixels, Photo.read(plain).pixels)
    damaged = bytearray(signed)
    place = damaged.rindex(plain[len(plain) // 2 :][:40]) + 20  # among the pixels
    damaged[place] ^= 1
    assert manifest(bytes(damaged)).state == "invalid"
    again = credentials.sign(plain, signed, MARK)
    assert manifest(again).ingredients == (1, 1), "the source's own manifest is kept"
    assert manifest(plain) is None


def test_the_manifest_shows_no_face(files) -> None:
    signed = Credentials.read(*files).sign(drawing().encode("JPEG"), drawing(1).encode("PNG"), MARK)
    assert signed.count(b"thumbnail") == 0
    assert len(signed) < len(drawing().encode("JPEG")) + 40_000


def test_command_and_batch_sign(files, portrait, tmp_path: Path) -> None:
    home = tmp_path / "in"
    home.mkdir()
    Image.fromarray(portrait).save(home / "a.jpg")
    signing = ["--to", "neutral", "--certificate", str(files[0]), "--key", str(files[1])]
    base = [sys.executable, "-m", "facepaint"]
    subprocess.run([*base, "batch", str(home), str(tmp_path / "out"), *signing], check=True)
    single = subprocess.run(
        [*base, "edit", "-", *signing], input=(home / "a.jpg").read_bytes(), stdout=subprocess.PIPE
    )
    (tmp_path / "out" / "b.jpg").write_bytes(single.stdout)
    for name in ("a.jpg", "b.jpg"):
        found = inspect(tmp_path / "out" / name)
        assert len(found.marks) == 1
        assert "signed by Drawn signer: valid" in found.credentials
    pixels = [Photo.read(tmp_path / "out" / n).pixels for n in ("a.jpg", "b.jpg")]
    assert np.array_equal(*pixels)


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        {"manifests": {}, "active_manifest": "a"},
        {"manifests": {"a": {"assertions": [{"label": "c2pa.actions"}]}}, "active_manifest": "a"},
        {"manifests": {"a": {"ingredients": 3}}, "active_manifest": "a"},
    ],
)
def test_a_manifest_that_is_not_as_c2pa_says(document, files, monkeypatch) -> None:
    signed = Credentials.read(*files).sign(drawing().encode("PNG"), drawing(1).encode("PNG"), MARK)
    real = credentials._read
    monkeypatch.setattr(credentials, "_read", lambda _: real(document))
    with pytest.raises(CredentialsError, match="cannot be read"):
        manifest(signed)


def test_what_cannot_sign_is_said_before_anything_is_done(files, tmp_path: Path) -> None:
    chain, key = files
    junk = tmp_path / "junk.pem"
    junk.write_text("-----BEGIN nothing")
    for pair in ((junk, key), (chain, junk), (chain, tmp_path / "none"), (key, chain)):
        with pytest.raises(CredentialsError) as error:
            Credentials.read(*pair)
        assert "\n" not in str(error.value)
    base = [sys.executable, "-m", "facepaint", "edit", "none.jpg", "--to", "happy"]
    for flags in (
        ["--key", str(key)],
        ["--no-mark", "--key", str(key), "--certificate", str(chain)],
    ):
        done = subprocess.run([*base, *flags], capture_output=True, text=True)
        assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "PRIVATE" not in repr(Credentials.read(chain, key))
