# SPDX-License-Identifier: GPL-2.0-or-later
"""A scripted DNS server on UDP and TCP.

    dns = DnsServer({'a.test': {'MX': [(10, 'mx1.a.test')]},
                     'mx1.a.test': {'A': ['127.0.0.9']},
                     'broken.test': SERVFAIL, 'silent.test': TIMEOUT})

A name that is not there does not exist. A value may be a function of (name, type, how often asked) that gives one of
these. CNAME: 'other.name', followed within the zone. TRUNCATE on UDP says: ask again by TCP, as does whatever is
larger than the other side takes. TXT: texts; TLSA: (usage, selector, matching, octets).

Lame answers: REFERRAL to other servers; EMPTY, without anything but the question; WRONG_ID; OTHER_NAME, the records are
of another name; OTHER_QUESTION, so is the question; LOOP, of CNAMEs within the answer; HALF of the octets; GARBAGE.
 A name with SECURE: True is signed: the answer has the AD bit if every name on
the way is, and the query asked for it (AD or DO); 'secure' of the server says the same for all names.
"""

import socket
import struct
import threading
import time
from collections import Counter

from .paths import free_port

TYPES = {'A': 1, 'NS': 2, 'CNAME': 5, 'SOA': 6, 'PTR': 12, 'MX': 15, 'TXT': 16, 'AAAA': 28, 'TLSA': 52}
NAMES = {number: name for name, number in TYPES.items()}
NXDOMAIN, SERVFAIL, REFUSED, TIMEOUT, GARBAGE, TRUNCATE = (
    'NXDOMAIN', 'SERVFAIL', 'REFUSED', 'TIMEOUT', 'GARBAGE', 'TRUNCATE')
LAME = REFERRAL, EMPTY, WRONG_ID, OTHER_NAME, OTHER_QUESTION, LOOP, HALF = (
    'REFERRAL', 'EMPTY', 'WRONG_ID', 'OTHER_NAME', 'OTHER_QUESTION', 'LOOP', 'HALF')
SECURE = 'SECURE'
CODES = {NXDOMAIN: 3, SERVFAIL: 2, REFUSED: 5}


def encode_name(name):
    labels = [label for label in name.rstrip('.').split('.') if label]
    return b''.join(bytes((len(label),)) + label.encode() for label in labels) + b'\0'


def encode_data(kind, value):
    if kind == 'A':
        return socket.inet_aton(value)
    if kind == 'AAAA':
        return socket.inet_pton(socket.AF_INET6, value)
    if kind == 'MX':
        return struct.pack('!H', value[0]) + encode_name(value[1])
    if kind == 'TXT':
        octets = value.encode()
        return b''.join(bytes((len(octets[n:n + 255]),)) + octets[n:n + 255]
                        for n in range(0, len(octets) or 1, 255))
    if kind == 'TLSA':
        return bytes(value[:3]) + value[3]
    return encode_name(value)


class DnsServer:
    """`negative_ttl`: with an SOA, absence may be remembered for so long; None: no SOA. Without `tcp` nobody
    listens there."""

    def __init__(self, zone, address='127.0.0.1', ttl=60, secure=False, negative_ttl=None, tcp=True,
                 port=None):
        self.zone = zone
        self.negative_ttl = negative_ttl
        self.secure = secure
        self.ttl = ttl
        self.address = address
        self.queries = []         # (name, type, 'udp' or 'tcp', when)
        self._asked = Counter()
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._tcp = socket.socket()
        self._tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.port = port or free_port(address, (socket.SOCK_DGRAM, socket.SOCK_STREAM))
        self._udp.bind((address, self.port))
        if tcp:
            self._tcp.bind((address, self.port))
            self._tcp.listen(64)
        for target in (self._serve_udp, self._serve_tcp) if tcp else (self._serve_udp,):
            threading.Thread(target=target, daemon=True).start()

    def close(self):
        for sock in (self._udp, self._tcp):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()

    @staticmethod
    def question(name, kind):
        """A query, recursion desired, that asks for the AD bit."""
        return struct.pack('!HHHHHH', 4711, 0x0120, 1, 0, 0, 0) + encode_name(name) + struct.pack('!HH', TYPES[kind], 1)

    def count(self, name, kind=None):
        return sum(1 for n, k, _, _ in list(self.queries) if n == name and kind in (None, k))

    def _serve_udp(self):
        while True:
            try:
                query, peer = self._udp.recvfrom(4096)
                if not query:
                    return
                answer = self._answer(query, 'udp')
                if answer:
                    self._udp.sendto(answer, peer)
            except OSError:
                return

    def _serve_tcp(self):
        while True:
            try:
                sock, _ = self._tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._tcp_session, args=(sock,), daemon=True).start()

    def _tcp_session(self, sock):
        with sock, sock.makefile('rb') as stream:
            while True:
                head = stream.read(2)
                if len(head) < 2:
                    return
                answer = self._answer(stream.read(struct.unpack('!H', head)[0]), 'tcp')
                if answer:
                    sock.sendall(struct.pack('!H', len(answer)) + answer)

    def _soa(self):
        if self.negative_ttl is None:
            return ()
        return [('test', 'SOA', encode_name('ns.test') + encode_name('root.test')
                 + struct.pack('!IIIII', 1, 3600, 600, 86400, self.negative_ttl))]

    @staticmethod
    def _udp_size(additional):
        """What the other side takes (RFC 6891 6.2.3)."""
        return struct.unpack('!H', additional[3:5])[0] if additional[:3] == b'\0\0\x29' else 512

    @staticmethod
    def _has_do(additional):
        """An OPT record with the DO bit (RFC 6891 6.1.3)."""
        return additional[:3] == b'\0\0\x29' and len(additional) >= 9 and bool(additional[7] & 0x80)

    def _answer(self, query, via):
        number, flags, questions = struct.unpack('!HHH', query[:6])
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode('ascii', 'replace').lower())
            at += 1 + query[at]
        kind = NAMES.get(struct.unpack('!H', query[at + 1:at + 3])[0], 'other')
        question, name = query[12:at + 5], '.'.join(labels)
        wants_ad = bool(flags & 0x0020) or self._has_do(query[at + 5:])
        secure = True
        self.queries.append((name, kind, via, time.monotonic()))
        self._asked[name, kind] += 1

        def reply(code, records=(), truncated=False, authority=None):
            flag = 0x8180 | code | (0x0200 if truncated else 0) | (flags & 0x0100)
            if secure and wants_ad and code in (0, 3):
                flag |= 0x0020
            if authority is None:
                authority = self._soa() if code in (0, 3) and not any(k == kind for _, k, _ in records) else ()
            octets = (struct.pack('!HHHHHH', number, flag, 1, len(records), len(authority), 0) + question
                      + b''.join(encode_name(owner)
                                 + struct.pack('!HHIH', TYPES[k], 1, self.ttl, len(data)) + data
                                 for owner, k, data in (*records, *authority)))
            if via == 'udp' and len(octets) > self._udp_size(query[at + 5:]):
                return reply(code, truncated=True, authority=())
            return octets

        def lame(word):
            other = {'MX': (10, 'mx.other.test'), 'A': '127.5.5.5'}
            record = (kind, encode_data(kind, other[kind])) if kind in other else ('CNAME', encode_name('other.test'))
            if word == REFERRAL:
                return reply(0, authority=[('test', 'NS', encode_name('ns.elsewhere.test'))])
            if word == EMPTY:
                return reply(0, authority=())
            if word == WRONG_ID:
                return struct.pack('!H', number ^ 1) + reply(0, [(name, *record)])[2:]
            if word == OTHER_NAME:
                return reply(0, [('other.test', *record)])
            if word == LOOP:
                return reply(0, [(name, 'CNAME', encode_name('loop.test')), ('loop.test', 'CNAME', encode_name(name))])
            if word == OTHER_QUESTION:
                octets = reply(0, [(name, *record)])
                return octets[:13] + bytes((octets[13] ^ 1,)) + octets[14:]
            return reply(0, [(name, *record)])[:len(question) + 20]

        records = []
        for _ in range(10):
            value = self.zone.get(name, NXDOMAIN)
            if callable(value):
                value = value(name, kind, self._asked[name, kind])
            if isinstance(value, dict) and kind != 'CNAME' and kind in value and not isinstance(value[kind], list):
                value = value[kind]          # a word for this type alone
            secure = secure and (self.secure or isinstance(value, dict) and value.get(SECURE, False))
            if value == TIMEOUT:
                return None
            if value in LAME:
                return lame(value)
            if value == GARBAGE:
                return struct.pack('!HHHHHH', number, 0x8180, 1, 7, 0, 0) + question + b'\xc0\xff\xc0'
            if value == TRUNCATE or (isinstance(value, dict) and value.get(TRUNCATE) and via == 'udp'):
                return reply(0, truncated=True)
            if isinstance(value, str):
                return reply(CODES[value], records)
            if 'CNAME' in value and kind != 'CNAME':
                records.append((name, 'CNAME', encode_name(value['CNAME'])))
                name = value['CNAME']
                continue
            values = value.get(kind, [])
            records += [(name, kind, encode_data(kind, v)) for v in (values if isinstance(values, list) else [values])]
            return reply(0, records)
        return reply(2)
