"""A certificate authority for one test session, by the openssl command."""

import base64
import json
import subprocess
import time


def _openssl(*arguments, **options):
    return subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, **options).stdout


class Authority:
    """`ca.pem`, and NAME.key, NAME.crt and NAME.pem (key and chain in one) for each `issue`d name."""

    def __init__(self, directory):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.ca = directory / "ca.pem"
        if not self.ca.exists():
            _openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                     "-subj", "/CN=sluice test authority", "-keyout", str(directory / "ca.key"),
                     "-out", str(self.ca), "-addext", "basicConstraints=critical,CA:TRUE",
                     "-addext", "keyUsage=critical,keyCertSign,cRLSign")
            for name in ("server", "client"):
                self.issue(name)

    def issue(self, name):
        at = self.directory
        _openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
                 "-keyout", str(at / f"{name}.key"), "-out", str(at / f"{name}.csr"))
        (at / f"{name}.ext").write_text(
            "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n"
            "extendedKeyUsage=serverAuth,clientAuth\n")
        _openssl("x509", "-req", "-in", str(at / f"{name}.csr"), "-CA", str(self.ca), "-CAkey",
                 str(at / "ca.key"), "-CAcreateserial", "-days", "2", "-extfile",
                 str(at / f"{name}.ext"), "-out", str(at / f"{name}.crt"))
        (at / f"{name}.pem").write_text((at / f"{name}.key").read_text()
                                        + (at / f"{name}.crt").read_text()
                                        + self.ca.read_text())

    def path(self, name):
        return str(self.directory / name)


def _base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenIssuer:
    """Signs OAuth access tokens (JWT, RS256) and publishes the key as a JWKS file."""

    ISSUER, AUDIENCE, KEY_ID = "sluice-tests", "kafka", "k1"

    def __init__(self, directory):
        directory.mkdir(parents=True, exist_ok=True)
        self._key = directory / "jwt.key"
        self.jwks = directory / "jwks.json"
        if not self.jwks.exists():
            _openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out",
                     str(self._key))
            modulus = _openssl("rsa", "-in", str(self._key), "-noout", "-modulus")
            number = bytes.fromhex(modulus.decode().strip().split("=")[1])
            self.jwks.write_text(json.dumps({"keys": [{
                "kty": "RSA", "kid": self.KEY_ID, "use": "sig", "alg": "RS256",
                "n": _base64url(number), "e": "AQAB"}]}))

    def token(self, subject, seconds=300):
        now = int(time.time())
        parts = [{"alg": "RS256", "typ": "JWT", "kid": self.KEY_ID},
                 {"iss": self.ISSUER, "aud": self.AUDIENCE, "sub": subject, "iat": now,
                  "exp": now + seconds}]
        signed = ".".join(_base64url(json.dumps(part).encode()) for part in parts)
        signature = _openssl("dgst", "-sha256", "-sign", str(self._key), input=signed.encode())
        return f"{signed}.{_base64url(signature)}"
