# SPDX-License-Identifier: GPL-2.0-or-later
"""A case in which mail leaves by MX records, from a scripted name server, to next hops at port 25. For a network of the
test's own (namespace.enter_network())."""

from .case import Case
from .dsn import Dsn
from .smtp import sample, send_message


class Outbound(Case):
    _hops = 0

    def hop(self, answers=None, **options):
        """At an address of its own."""
        Outbound._hops += 1
        options.setdefault('port', 25)
        number = Outbound._hops
        return self.next_hop(answers, address=f'127.5.{number // 250}.{number % 250 + 1}', **options)

    def start(self, zone, settings=None, *, listen=(), relay_from=(), **dns):
        """`listen`: addresses beside the usual one; `dns`: options of the name server."""
        self.dns = self.dns_server(zone, **dns)
        self.server = self.make_server({
            'relay_from': ['127.0.0.0/8', *relay_from],
            'verify': {'recipient_domain': 'no'},       # what delivery makes of it is the matter
            'dns': {'servers': [f'127.0.0.1:{self.dns.port}'], 'timeout': '1s'},
            'retry': {'intervals': ['1s'], 'expire': '60s', 'jitter': 0},
            ('route', '*'): {'to': 'mx', 'timeout': {'connect': '30s', 'response': '5s', 'idle': '300ms'}},
            **(settings or {})})
        self.server.configure({('listener', 'mx'): {
            'address': [f'127.0.0.1:{self.server.port}', *listen], 'role': 'mx'}})
        self.server.start()

    def send(self, recipient, sender='from@local.test', name='routed'):
        send_message(self.server.port, sender, recipient, sample(name))

    def arrived(self, hop, count=1, timeout=15):
        self.wait_for(lambda: len(hop.messages) >= count, lambda: f'{count} at {hop.address}\n'
                      f'{self.server.tail(20)}\n{self.dns.queries[-10:]}', timeout)
        self.assertEqual(len(hop.messages), count)
        return hop.messages[-1]

    def waits(self, recipient, words):
        """It is queued, and this is why."""
        def reason():
            return next((m.get('reason') or '' for m in self.server.queue() if recipient in str(m)), '')
        self.wait_for(lambda: words in reason(), lambda: f'{words!r}: {self.server.queue()}\n{self.server.tail(10)}')
        self.assertEqual(len(self.server.maildir('from')), 0, 'nothing is bounced')

    def bounced(self, recipient, timeout=15):
        octets, = self.server.wait_mail('from', timeout=timeout)
        dsn = Dsn(octets)
        self.assertEqual(list(dsn.recipients), [recipient])
        return dsn.recipients[recipient]
