#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Makes the keys and certificates of the tests anew: tls_certs.c and tls_certs.h, beside this file.

    tests/tls/make_certs.py          (needs the program openssl)

They are committed, because making RSA keys takes longer than all tests together, and so that a failure can be
repeated. They are valid until 2120, but for those that are not meant to be. The keys are for tests only.
"""

import hashlib
import pathlib
import subprocess
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
LONG_AGO, FAR_AWAY = '20200101000000Z', '21200101000000Z'

CONFIG = '''
[ca]
default_ca = this
[this]
dir = {dir}
database = {dir}/index.txt
serial = {dir}/serial
new_certs_dir = {dir}
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = optional
[req]
distinguished_name = name
[name]
'''
LEAF = 'basicConstraints = CA:FALSE\nkeyUsage = digitalSignature, keyEncipherment\nextendedKeyUsage = serverAuth\n'
CLIENT = 'basicConstraints = CA:FALSE\nkeyUsage = digitalSignature\nextendedKeyUsage = clientAuth\n'
CA = 'basicConstraints = critical, CA:TRUE{}\nkeyUsage = critical, keyCertSign, cRLSign\n'
IDS = 'subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n'

# name: key, issuer (None: itself), extensions, DNS names (common name first), from, until
KEYS = {'rsa': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
        'rsa4096': ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:4096'],
        'p256': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
        'p384': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
        'ed25519': ['-algorithm', 'ED25519']}
MX = ['mx.example.org', '*.wild.example.org']
CERTS = [
    ('root', 'p256', None, CA.format(''), ['Test Root'], LONG_AGO, FAR_AWAY),
    ('middle', 'rsa', 'root', CA.format(''), ['Test Intermediate'], LONG_AGO, FAR_AWAY),
    ('stranger', 'p384', None, CA.format(''), ['Unknown Root'], LONG_AGO, FAR_AWAY),
    ('short', 'p256', 'root', CA.format(', pathlen:0'), ['Signs leaves only'], LONG_AGO, FAR_AWAY),
    ('below', 'p256', 'short', CA.format(''), ['Below'], LONG_AGO, FAR_AWAY),
    ('fenced', 'p256', 'root', CA.format('') + 'nameConstraints = critical, permitted;DNS:example.com\n',
     ['Fenced'], LONG_AGO, FAR_AWAY),
    ('dead', 'p256', 'root', CA.format(''), ['Dead Intermediate'], LONG_AGO, '20210101000000Z'),
    ('mx_rsa', 'rsa', 'middle', LEAF, MX, LONG_AGO, FAR_AWAY),
    ('mx_ecdsa', 'p256', 'middle', LEAF, MX, LONG_AGO, FAR_AWAY),
    ('mx_ed25519', 'ed25519', 'root', LEAF, MX, LONG_AGO, FAR_AWAY),
    ('mx_rsa4096', 'rsa4096', 'middle', LEAF, MX, LONG_AGO, FAR_AWAY),
    ('other', 'p256', 'middle', LEAF, ['other.example.net'], LONG_AGO, FAR_AWAY),
    ('expired', 'p256', 'middle', LEAF, MX, LONG_AGO, '20210101000000Z'),
    ('future', 'p256', 'middle', LEAF, MX, '21000101000000Z', FAR_AWAY),
    ('self', 'p256', None, LEAF, MX, LONG_AGO, FAR_AWAY),
    ('self_expired', 'p256', None, LEAF, ['nobody.example'], LONG_AGO, '20210101000000Z'),
    ('untrusted', 'p256', 'stranger', LEAF, MX, LONG_AGO, FAR_AWAY),
    ('by_leaf', 'p256', 'mx_rsa', LEAF, ['victim.example'], LONG_AGO, FAR_AWAY),
    ('by_below', 'p256', 'below', LEAF, MX, LONG_AGO, FAR_AWAY),
    ('by_fenced', 'p256', 'fenced', LEAF, MX, LONG_AGO, FAR_AWAY),
    ('by_short', 'p256', 'short', LEAF, MX, LONG_AGO, FAR_AWAY),
    ('by_dead', 'p256', 'dead', LEAF, MX, LONG_AGO, FAR_AWAY),
    ('common_name', 'p256', 'middle', LEAF, ['cn.example.org'], LONG_AGO, FAR_AWAY),
    ('client', 'p256', 'middle', CLIENT, ['client.example.org'], LONG_AGO, FAR_AWAY),
]


def openssl(*arguments, **options):
    subprocess.run(['openssl', *arguments], check=True, capture_output=True, **options)


def make(folder):
    (folder / 'openssl.cnf').write_text(CONFIG.format(dir=folder))
    (folder / 'index.txt').write_text('')
    (folder / 'serial').write_text('1000\n')
    config = ['-config', str(folder / 'openssl.cnf')]
    for name, key, issuer, extensions, names, start, end in CERTS:
        paths = {kind: str(folder / f'{name}.{kind}') for kind in ('key', 'csr', 'pem', 'ext')}
        openssl('genpkey', *KEYS[key], '-out', paths['key'])
        openssl('req', '-new', *config, '-key', paths['key'], '-subj', f'/CN={names[0]}', '-out', paths['csr'])
        if 'CA:TRUE' not in extensions and name != 'common_name':
            extensions += 'subjectAltName = ' + ', '.join(f'DNS:{n}' for n in names) + '\n'
        pathlib.Path(paths['ext']).write_text(extensions + IDS)
        signer = ['-selfsign', '-keyfile', paths['key']] if issuer is None else [
            '-keyfile', str(folder / f'{issuer}.key'), '-cert', str(folder / f'{issuer}.pem')]
        openssl('ca', '-batch', *config, *signer, '-in', paths['csr'], '-out', paths['pem'], '-notext',
                '-startdate', start, '-enddate', end, '-extfile', paths['ext'])
    openssl('pkcs8', '-topk8', '-in', str(folder / 'mx_ecdsa.key'), '-passout', 'pass:secret',
            '-out', str(folder / 'encrypted.key'))


def literal(name, text):
    lines = '\n'.join(f'    "{line}\\n"' for line in text.strip().splitlines())
    return f'const char {name}[] =\n{lines};\n'


def spki_sha256(folder, name):
    """What a TLSA record with selector 1 and matching type 1 holds, by somebody else's reckoning."""
    public = subprocess.run(['openssl', 'x509', '-in', str(folder / f'{name}.pem'), '-noout', '-pubkey'], check=True,
                            capture_output=True).stdout
    der = subprocess.run(['openssl', 'pkey', '-pubin', '-outform', 'DER'], check=True, capture_output=True,
                         input=public).stdout
    return hashlib.sha256(der).hexdigest()


def ocsp(folder):
    """A response for mx_ecdsa by its issuer, good for some ninety years."""
    index = folder / 'ocsp.txt'
    serial = subprocess.run(['openssl', 'x509', '-in', str(folder / 'mx_ecdsa.pem'), '-noout', '-serial'], check=True,
                            capture_output=True, text=True).stdout.strip().split('=')[1]
    index.write_text(f'V\t21200101000000Z\t\t{serial}\tunknown\t/CN=mx.example.org\n')
    openssl('ocsp', '-index', str(index), '-CA', str(folder / 'middle.pem'), '-rsigner', str(folder / 'middle.pem'),
            '-rkey', str(folder / 'middle.key'), '-issuer', str(folder / 'middle.pem'),
            '-cert', str(folder / 'mx_ecdsa.pem'), '-ndays', '34000', '-resp_no_certs', '-no_nonce', '-respout', str(folder / 'ocsp.der'))
    data = (folder / 'ocsp.der').read_bytes()
    rows = '\n'.join('    ' + ', '.join(f'0x{b:02x}' for b in data[i:i + 16]) + ','
                     for i in range(0, len(data), 16))
    return f'const unsigned char ocsp_mx_ecdsa[{len(data)}] = {{\n{rows}\n}};\n', len(data)


def main():
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        make(folder)
        body, declared = '', ''
        for name, *_ in CERTS:
            for kind, prefix in (('pem', 'cert'), ('key', 'key')):
                body += literal(f'{prefix}_{name}', (folder / f'{name}.{kind}').read_text())
                declared += f'extern const char {prefix}_{name}[];\n'
        body += literal('key_encrypted', (folder / 'encrypted.key').read_text())
        declared += 'extern const char key_encrypted[];\n'
        for name in ('mx_rsa', 'mx_ecdsa', 'mx_ed25519', 'middle'):
            body += f'const char spki_sha256_{name}[] = "{spki_sha256(folder, name)}";\n'
            declared += f'extern const char spki_sha256_{name}[];\n'
        text, size = ocsp(folder)
        body += text
        declared += f'extern const unsigned char ocsp_mx_ecdsa[{size}]; /* DER */\n'
    note = '/* Made by make_certs.py. Keys for tests, known to everybody. */\n'
    (HERE / 'tls_certs.h').write_text(f'{note}#ifndef TLS_CERTS_H\n#define TLS_CERTS_H\n\n{declared}\n#endif\n')
    (HERE / 'tls_certs.c').write_text(f'{note}#include "tls_certs.h"\n\n// clang-format off\n{body}')


if __name__ == '__main__':
    main()
