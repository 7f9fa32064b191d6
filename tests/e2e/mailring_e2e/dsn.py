# SPDX-License-Identifier: GPL-2.0-or-later
"""Reading bounces (RFC 3462, RFC 3464), strictly."""

import email
import email.policy
import re


class Dsn:
    """`recipients` maps each final recipient to its fields (names in lower case); `fields` are the
    message's; `text` is for people; `returned` is the third part's octets."""

    def __init__(self, octets):
        self.octets = octets
        # Whatever stands in the returned part, the rest is plain 7-bit text.
        message = email.message_from_bytes(octets, policy=email.policy.SMTP)
        self.message = message
        if message.get_content_type() != 'multipart/report':
            raise AssertionError(f'not a report: {octets[:600]!r}')
        if message.get_param('report-type') != 'delivery-status':
            raise AssertionError(f'report type {message.get_param("report-type")}')
        for name in ('From', 'To', 'Date', 'Message-ID', 'Subject', 'MIME-Version'):
            if len(message.get_all(name, [])) != 1:
                raise AssertionError(f'{name}: {message.get_all(name)}')
        auto = message.get('Auto-Submitted', '')
        if not auto.startswith('auto-replied') and not auto.startswith('auto-generated'):
            raise AssertionError(f'Auto-Submitted: {auto!r} (RFC 3834)')
        parts = message.get_payload()
        kinds = [part.get_content_type() for part in parts]
        if kinds[:2] != ['text/plain', 'message/delivery-status'] or len(kinds) > 3:
            raise AssertionError(f'parts {kinds}')
        if len(kinds) == 3 and kinds[2] not in ('message/rfc822', 'text/rfc822-headers',
                                                'message/global', 'message/global-headers'):
            raise AssertionError(f'third part {kinds[2]}')
        self.text = parts[0].get_content()
        groups = [self._fields(group) for group in parts[1].get_payload()]
        self.fields = groups[0]
        if not re.fullmatch(r'dns; *\S+', self.fields.get('reporting-mta', '')):
            raise AssertionError(f'Reporting-MTA: {self.fields}')
        self.recipients = {}
        for group in groups[1:]:
            kind, _, address = group['final-recipient'].partition(';')
            if kind.strip() not in ('rfc822', 'utf-8'):
                raise AssertionError(group)
            if not re.fullmatch(r'[245]\.\d{1,3}\.\d{1,3}', group['status']):
                raise AssertionError(group)
            self.recipients[address.strip()] = group
        boundary = message.get_boundary().encode()
        pieces = octets.split(b'\r\n--' + boundary)
        self.returned = pieces[3].partition(b'\r\n\r\n')[2] if len(kinds) == 3 else b''

    @staticmethod
    def _fields(group):
        return {name.lower(): re.sub(r'\s+', ' ', str(value)) for name, value in group.items()}
