/* net_test_pair: a certificate for mx.sim.test and *.hosts.test, for tests only: its key is known to all. */
#ifndef NET_TEST_PAIR_H
#define NET_TEST_PAIR_H

#define NET_TEST_CERTIFICATE                                             \
    "-----BEGIN CERTIFICATE-----\n"                                      \
    "MIIBqDCCAU+gAwIBAgIUDo7eYd2/u4xw0IhP9ndWAY1qjpEwCgYIKoZIzj0EAwIw\n" \
    "FjEUMBIGA1UEAwwLbXguc2ltLnRlc3QwIBcNMjYxMTIyMDIyNDI4WhgPMjEyNTA2\n" \
    "MTYwMjI0MjhaMBYxFDASBgNVBAMMC214LnNpbS50ZXN0MFkwEwYHKoZIzj0CAQYI\n" \
    "KoZIzj0DAQcDQgAE4/rJp/O1yjmtwyGtifsG2/nwnaxa0jQKRzPRjwSOa5oZC6u3\n" \
    "KDXVAsD+CvgIpBgBW0qV8zOq6DFFlF/N2nyCe6N5MHcwHQYDVR0OBBYEFNMaqQJB\n" \
    "YLxeFCLTjGwhnUAimJ3OMB8GA1UdIwQYMBaAFNMaqQJBYLxeFCLTjGwhnUAimJ3O\n" \
    "MA8GA1UdEwEB/wQFMAMBAf8wJAYDVR0RBB0wG4ILbXguc2ltLnRlc3SCDCouaG9z\n" \
    "dHMudGVzdDAKBggqhkjOPQQDAgNHADBEAiBTYEmpJnUBUJibnvl+W3guAB/VI17l\n" \
    "4BsB4opLWCOcigIgJ7y/t/TSShJEc9BXcG8ECV9ThoxNqzVlYePTMbhfCZY=\n"     \
    "-----END CERTIFICATE-----\n"

#define NET_TEST_KEY                                                     \
    "-----BEGIN PRIVATE KEY-----\n"                                      \
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQguOBwBiCdd3lLofAS\n" \
    "7KUFiXs7m5VhKYRt6T72FlortDqhRANCAATj+smn87XKOa3DIa2J+wbb+fCdrFrS\n" \
    "NApHM9GPBI5rmhkLq7coNdUCwP4K+AikGAFbSpXzM6roMUWUX83afIJ7\n"         \
    "-----END PRIVATE KEY-----\n"

#endif
