# SPDX-License-Identifier: GPL-2.0-or-later
"""Certificates of one's own, by the openssl command.

    ca = Authority(self.directory / 'ca')
    good = ca.issue('mx.test', 'www.mx.test')           .certificate .key (paths), .sha256, .spki_sha256
    old = ca.issue('mx.test', expired=True)
    ca.certificate                                      the bundle that trusts it
"""

import base64
import hashlib
import re
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

KINDS = {'ecdsa': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
         'rsa': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
         'rsa4096': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:4096'],
         'ed25519': ['-algorithm', 'ED25519']}


def openssl(*arguments, octets=None):
    done = subprocess.run(['openssl', *map(str, arguments)], input=octets, capture_output=True)
    if done.returncode != 0:
        raise AssertionError(f'openssl {" ".join(map(str, arguments))}: {done.stderr.decode()}')
    return done.stdout


def ders(pem):
    """The certificates of a PEM text, in DER."""
    return [base64.b64decode(body) for body in re.findall(
        r'-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----', pem, re.S)]


@dataclass
class Pair:
    """A certificate (the leaf first, then its CA unless it is the root) and its key."""
    certificate: Path
    key: Path

    @property
    def der(self):
        return ders(self.certificate.read_text())[0]

    @property
    def sha256(self):
        return hashlib.sha256(self.der).hexdigest()

    @property
    def spki(self):
        pem = openssl('x509', '-in', self.certificate, '-noout', '-pubkey')
        return openssl('pkey', '-pubin', '-outform', 'DER', octets=pem)

    def tlsa(self, usage=3, selector=1, matching=1, of=0):
        """(usage, selector, matching, octets) of the chain's certificate number `of`."""
        der = ders(self.certificate.read_text())[of]
        if selector == 1:
            pem = openssl('x509', '-inform', 'DER', '-noout', '-pubkey', octets=der)
            der = openssl('pkey', '-pubin', '-outform', 'DER', octets=pem)
        data = {0: lambda: der, 1: hashlib.sha256(der).digest, 2: hashlib.sha512(der).digest}[matching]()
        return usage, selector, matching, data

    def server_context(self, **options):
        """For a Python server. minimum, maximum: ssl.TLSVersion; alpn…"""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        for name, value in options.items():
            setattr(context, name, value)
        return context


class Authority:
    def __init__(self, directory, name='test CA'):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.count = 0
        self.key = self._key('ecdsa', 'ca')
        self.certificate = self.directory / 'ca.pem'
        openssl('req', '-x509', '-new', '-key', self.key, '-subj', f'/CN={name}', '-days', 3650,
                '-addext', 'basicConstraints=critical,CA:TRUE', '-addext', 'keyUsage=critical,keyCertSign,cRLSign',
                '-out', self.certificate)

    def _key(self, kind, name):
        path = self.directory / f'{name}.key'
        path.touch(0o600)
        openssl('genpkey', *KINDS[kind], '-out', path)
        return path

    def issue(self, *names, kind='ecdsa', expired=False, future=False, client=False, self_signed=False,
              with_root=False, common_name=None):
        """A certificate for these DNS names."""
        self.count += 1
        stem = f'{self.count}-{(names or ("none",))[0].replace("*", "star")}-{kind}'
        key = self._key(kind, stem)
        request, leaf, extensions = (self.directory / f'{stem}.{part}' for part in ('csr', 'pem', 'ext'))
        openssl('req', '-new', '-key', key, '-subj', f'/CN={common_name or (names or ("none",))[0]}',
                '-out', request)
        rows = ['basicConstraints=CA:FALSE', f'extendedKeyUsage={"clientAuth" if client else "serverAuth"}',
                'subjectKeyIdentifier=hash']
        if names:
            rows.append('subjectAltName=' + ','.join(f'DNS:{name}' for name in names))
        extensions.write_text('\n'.join(rows) + '\n')
        signer = ['-signkey', key] if self_signed else ['-CA', self.certificate, '-CAkey', self.key, '-CAcreateserial']
        if expired or future:
            self._signed_at(request, leaf, extensions, key if self_signed else None, expired)
        else:
            openssl('x509', '-req', '-in', request, *signer, '-days', 365, '-extfile', extensions, '-out', leaf)
        if with_root:
            with open(leaf, 'a', encoding='ascii') as file:
                file.write(self.certificate.read_text())
        return Pair(leaf, key)

    def staple(self, pair):
        """An OCSP response for it, in a file."""
        serial = openssl('x509', '-in', pair.certificate, '-noout', '-serial').decode().strip().split('=')[1]
        index, response = self.directory / 'ocsp.txt', pair.certificate.with_suffix('.ocsp')
        index.write_text(f'V\t400101000000Z\t\t{serial}\tunknown\t/CN=x\n')
        openssl('ocsp', '-index', index, '-CA', self.certificate, '-rsigner', self.certificate, '-rkey', self.key,
                '-issuer', self.certificate, '-cert', pair.certificate, '-ndays', 7, '-resp_no_certs',
                '-no_nonce', '-respout', response)
        return response

    def _signed_at(self, request, leaf, extensions, self_key, expired):
        """`openssl x509` cannot set dates, `openssl ca` can."""
        index = self.directory / 'index.txt'
        index.write_text('')
        config = self.directory / 'ca.cnf'
        config.write_text(f'[ca]\ndefault_ca=d\n[d]\ndatabase={index}\nrand_serial=yes\ndefault_md=sha256\n'
                          f'new_certs_dir={self.directory}\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n')
        start, end = ('20200101000000Z', '20200201000000Z') if expired else ('20400101000000Z', '20400201000000Z')
        signer = (['-selfsign', '-keyfile', self_key] if self_key else
                  ['-cert', self.certificate, '-keyfile', self.key])
        openssl('ca', '-batch', '-config', config, *signer, '-in', request, '-out', leaf, '-notext',
                '-startdate', start, '-enddate', end, '-extfile', extensions)
