/*
 * net_test_pair: certificates for mx.sim.test and *.hosts.test, for tests only: their keys are known to all.
 * The second one's handshakes are slow enough for helpers (tls_context_is_heavy()).
 */
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

#define NET_TEST_HEAVY_CERTIFICATE                                       \
    "-----BEGIN CERTIFICATE-----\n"                                      \
    "MIIENTCCAp2gAwIBAgIUKexB9fOheXVGO62Q0/UZYHZMmkYwDQYJKoZIhvcNAQEL\n" \
    "BQAwFjEUMBIGA1UEAwwLbXguc2ltLnRlc3QwIBcNMjYxMTIyMDI0MzExWhgPMjEy\n" \
    "NTA2MTYwMjQzMTFaMBYxFDASBgNVBAMMC214LnNpbS50ZXN0MIIBojANBgkqhkiG\n" \
    "9w0BAQEFAAOCAY8AMIIBigKCAYEAr+jMETcnKiKr00eGgsMUvMxglBlTOCtdWEmu\n" \
    "ww/yiQXP4v0Yc7+9VqU3kW0AyipmJzLIecaAN6gF+uftoo8QrUuP2ExKX1eZsUD+\n" \
    "OooItSNCuM7vb3etnu9Y7pU8B2FDySxjEYaXqCFfea1JDBdBNIbRr0pFZbqX1dan\n" \
    "f7L6hWrepI08edkWXmWgrxcDfHmmbOqjjrLt4G6PVCJ8DeJZJzZymPD1rxlP6iya\n" \
    "/lCynkWU7MULj3SCv4/X3hKrRm6qGlGzIaTR3W3Nlran6N42D1trutyyVgwNmXg9\n" \
    "uIvqttgrlW8fDZtsFRz9bdvii6sybHZmhXlLYzZ9DzkLuQ0AlMwAM/PR9UCb594H\n" \
    "NGUjKCw1LQBCssBjPjt/i6tim1Ia9VIBtZsI6KOiYSwKsrcfCM1MgJFY/9hYW06I\n" \
    "cFUVYOBa31wApN7GjbpsigipQ8ha1tkCDbKRzuEt+zJ75ZSeErT3eSKeHp+4idkN\n" \
    "5joOSKTQyoKv3EVG628sRBM0toNHAgMBAAGjeTB3MB0GA1UdDgQWBBSrceG1oKHa\n" \
    "mZ1h7DUcOQRXL5d4uzAfBgNVHSMEGDAWgBSrceG1oKHamZ1h7DUcOQRXL5d4uzAP\n" \
    "BgNVHRMBAf8EBTADAQH/MCQGA1UdEQQdMBuCC214LnNpbS50ZXN0ggwqLmhvc3Rz\n" \
    "LnRlc3QwDQYJKoZIhvcNAQELBQADggGBAHaygQv/UrjduHZiVGAXj/OPzCKVv/OD\n" \
    "eUPYyyldjsTF/tSSa+6Kms/auCCTD/vvruOrJdbYsaW77Nax1O2wj36E7nHJ2leq\n" \
    "y30ILipuZNY1WXOIlLjUcLXsRgps0oLfHXIK7+Ly1HaXbIHGbjWjADrgANCWc2sw\n" \
    "VinZTRusjhd6v2hN2DbvyVBoYcJQpo7o5GIu/dJQ72RGHNq73QNB5MrxlbrtxeNc\n" \
    "Uv2NgUxpyE6yjiXtD9KhXe9nVpmaMYRhKcLkCfWxUHm1F4vkMYDKP6qYKfkWDJ4N\n" \
    "G9zhmsp54dj6L6OIwAH+aUA2wg3iIZAvDu2bLWkm1YLGGtmdMHiG2i0wsO9QtkRb\n" \
    "CVTTBaI61ObZa0emHFdhnu5SpUx4SWnV0Dh1Vk1tng3icIr9PgKHiZInsqabr3of\n" \
    "gtbbE3DubHPE/g0nwFX/bC657Ra3L9j+6hC5XPM7rlT/g6AH/MiIYe6SCr+lTCLN\n" \
    "PTK57HVbGlpS8Gi1k3P53RWjW6mAPH9mVg==\n"                             \
    "-----END CERTIFICATE-----\n"

#define NET_TEST_HEAVY_KEY                                               \
    "-----BEGIN PRIVATE KEY-----\n"                                      \
    "MIIG/wIBADANBgkqhkiG9w0BAQEFAASCBukwggblAgEAAoIBgQCv6MwRNycqIqvT\n" \
    "R4aCwxS8zGCUGVM4K11YSa7DD/KJBc/i/Rhzv71WpTeRbQDKKmYnMsh5xoA3qAX6\n" \
    "5+2ijxCtS4/YTEpfV5mxQP46igi1I0K4zu9vd62e71julTwHYUPJLGMRhpeoIV95\n" \
    "rUkMF0E0htGvSkVlupfV1qd/svqFat6kjTx52RZeZaCvFwN8eaZs6qOOsu3gbo9U\n" \
    "InwN4lknNnKY8PWvGU/qLJr+ULKeRZTsxQuPdIK/j9feEqtGbqoaUbMhpNHdbc2W\n" \
    "tqfo3jYPW2u63LJWDA2ZeD24i+q22CuVbx8Nm2wVHP1t2+KLqzJsdmaFeUtjNn0P\n" \
    "OQu5DQCUzAAz89H1QJvn3gc0ZSMoLDUtAEKywGM+O3+Lq2KbUhr1UgG1mwjoo6Jh\n" \
    "LAqytx8IzUyAkVj/2FhbTohwVRVg4FrfXACk3saNumyKCKlDyFrW2QINspHO4S37\n" \
    "MnvllJ4StPd5Ip4en7iJ2Q3mOg5IpNDKgq/cRUbrbyxEEzS2g0cCAwEAAQKCAYAP\n" \
    "hbRUJJDBKBQPbbVR3pL64fH3v5BXWYRAIShZsBOPwcKJXhoFRLsZZTTVEVBLhphD\n" \
    "BzknfbucrafxbvvKJ2OqVwuXY4wAg8NdH8YPNlT0XuspUaFRLbdVWft3+hU09YE8\n" \
    "xDzts/m37VH2c7MJbRfk4aypEh2zj1aMmQdovkta8IY68PeQLPbLV55pNNeq6TUl\n" \
    "UUMjeWiCMF9XZj+aHgoN6sEL+99CFzK1EECRBl/slWlBx1Vw0DAlZTUANJeGfIdC\n" \
    "Nx20nFM7B6YiIHCmOJSs0TBX/z1mhhd7Yi0a8kTy6NBHhCqsG6PwA6xLWRvOr4sY\n" \
    "Qw/mxdlbQvHIN/8sZvBAZTr/scL6GqRTNL2BNjfnzvbygLNrd1hbQu/o/jBvPx4+\n" \
    "xZxBt4OuPnlHX8NoiVreJmZKIbsN7XAWzLvnx+wVu8JnBqosHwsiMSeSlVsdz/F1\n" \
    "4mb9rp2oXQBgU5PtsfioVjhIcwl4ONYLJNz6ibk1I1zVb+hpSrfqw6kElnjg+IEC\n" \
    "gcEA9Zy3gizdobpZHgfV1fiRv0IeBu06IBg3znOcxOxuw30H9wXN3pqDkomqYzi7\n" \
    "HT8i/R3a+IKNVo/M3beZwXGH6Tq/wkv8LMa5RyqNQ3oNaIOhZcWoxhAxGN+HXsrU\n" \
    "mUZSXr2WpxyNtUXfieQ4LRiS2b0Qe5Qn5NTyHnoQlMyIYcvAB2EIsqme4BS1ORRp\n" \
    "GX90bd5Ev2p7OQPhaeiLj3DR1uCD7Z+Mh9uFfDZyPjqHfBJD541EZOk8T0SVeZaH\n" \
    "mp9BAoHBALdZZYX4El0g4KCWQw9Ybrs7j0FM8gBpO5ZxdhhZPGsnpcBM+jrPJjwH\n" \
    "sMFbQaWbvw2vNskLzt3CId2VeyhApkBJE/VRe7+jswCgUjwvhIFV2g3790cX4O6h\n" \
    "o6CLUgzd/S7d8g79u7WYTdkjT6dF8zd2YoJEAwm6IrgI5OkK7M6R66+a8XLAXZX+\n" \
    "4bEmo/s5v5hOw9qJ/N3nLqwd+D+RWD0ee9ZxaNQ9nSntJj2Xgj7kAQ3G5rLZfJ9I\n" \
    "qAtcmxKIhwKBwQCdO/WSpWxBE83nVrbDIz0Sxp34azfxwe9AAG1U99M03L8Tmaig\n" \
    "oCQo1G661F+dKoUYq1s6CkG3L5nEOrx4xVhvq8eE+CX4+EM2VvxWPTWGOfZB89bG\n" \
    "7SixNrAvtAOEGCu1MQPX+YSSjqe7W9nGrNud/tYldsRPTy+s6RHiYEnS6aAGWU07\n" \
    "KzFlXHxjjTh3NUvw5gD21ZEK//v3VAK8EkqTl+l9Xs2VT6hVy3k5czi26e6EtsAZ\n" \
    "JeMRD+PtEbu/9cECgcEAlDr6ES1V62TBNhNFdAqSu1yTnL+QhzSMsDxataSvbBJJ\n" \
    "twaE5zbCOpYdGLWmhTU9aNrW+ANL440nw/Ut9IUP47kxIYwW+ABon4D9+xqPjeDS\n" \
    "wauLZzau6z5TA2CfnTd7kYBuSiBouY/AoGQj6aBr2dMkIRzLN/n8R70pFB95BCiE\n" \
    "2xvxSEytXK8L2CTdPiaZ95D2VqBohx54ZT51jS78n60dgWl+zthhT5wi5nivHBlJ\n" \
    "oNHFgaLDViNveIAN/xXRAoHBAON0MR7sc0OyQmKZiZ5+m7HpY48JF/woai9gedCM\n" \
    "X5ynk/9QcZmGU6ZL3EGtaVKLLP3wCQ/g22y2MzchZ0BlphtFK9MdsgD8+L80NllZ\n" \
    "njsw4acRbibb10x1yiOQJ/kqSwT+Q/eD8qI8qC4nMidB9RVm72aCpdGVAQSlXhG/\n" \
    "4ODfZXForWDq9NgqQDvfpWug7WzvJciDtyB8tLc4bHpqVkFezZhZ8sg17ZQrw6l4\n" \
    "/y0uJ+rFkVwRk7oDAEi6FqjC7A==\n"                                     \
    "-----END PRIVATE KEY-----\n"

#endif
