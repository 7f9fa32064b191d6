/* Made by make_certs.py. Keys for tests, known to everybody. */
#include "tls_certs.h"

// clang-format off
const char cert_root[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBXTCCAQKgAwIBAgICEAAwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJVGVzdCBS\n"
    "b290MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAUMRIwEAYDVQQD\n"
    "DAlUZXN0IFJvb3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARBrNsJr+NLq9ja\n"
    "Y5ogCyiwX8vBYDEeHTZ0Pz2dyLvlkjM1OaIXZHTe62JGMhSMR9TCZcD/xymD7/vY\n"
    "6ImBvrZxo0IwQDAPBgNVHRMBAf8EBTADAQH/MA4GA1UdDwEB/wQEAwIBBjAdBgNV\n"
    "HQ4EFgQUr1h5hlTgdoSMui70hSYIdF/+Lv4wCgYIKoZIzj0EAwIDSQAwRgIhAI1H\n"
    "5iKnng1Fef+xrFSD9Ouo0GQ+3oKX2Z+ZaQUxy546AiEA7AwJmMfPJWGgf0IrlXq8\n"
    "8IrcCXPH6CYE1IirWVdr/d0=\n"
    "-----END CERTIFICATE-----\n";
const char key_root[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgloZ8Hn/5Meb11w8w\n"
    "g2tqliCunNpjeHGXJMX8MTAazHyhRANCAARBrNsJr+NLq9jaY5ogCyiwX8vBYDEe\n"
    "HTZ0Pz2dyLvlkjM1OaIXZHTe62JGMhSMR9TCZcD/xymD7/vY6ImBvrZx\n"
    "-----END PRIVATE KEY-----\n";
const char cert_middle[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIICUDCCAfagAwIBAgICEAEwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJVGVzdCBS\n"
    "b290MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAcMRowGAYDVQQD\n"
    "DBFUZXN0IEludGVybWVkaWF0ZTCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoC\n"
    "ggEBALF9RVSLnleIb08qhSt1T8By7iimRbG1JjsDoqK6vlntWP50zT1V/10O6FBM\n"
    "cggNYwlmH+CWE/2L6forGJovac9fJFRTODfJcUavqYJswFRU0i2mVc954HT7El7J\n"
    "ktJPOHIsI8dGCQb1pmQGC0PkYi3pTGTwGLGjDrho4kd8ZuGHpLlzxzALg7S9LpGF\n"
    "euoZemCg+MaJVXUWPuhujbtBgiPPQ0JgiXN9oIYDK4i3ziMotunvEZJRcEyMGr2M\n"
    "d8wHNHOsE8jv5BjgrRVBcmfQfmNc8lvelXBlvv/ahvuF+/Dg6rKZpW0L8rdlFTs1\n"
    "l6E4m3cKFZ1ZPz4iorEa32C5wsUCAwEAAaNjMGEwDwYDVR0TAQH/BAUwAwEB/zAO\n"
    "BgNVHQ8BAf8EBAMCAQYwHQYDVR0OBBYEFG0iPowJTRXoR27/r5/LAFBdFjnzMB8G\n"
    "A1UdIwQYMBaAFK9YeYZU4HaEjLou9IUmCHRf/i7+MAoGCCqGSM49BAMCA0gAMEUC\n"
    "IHF3sGkwiZs69+bpidKq3LqbEMRhyNifyfTtQ8n+3+9bAiEAmSlzckHSDzNocY+O\n"
    "fMx/dKGv/0vyKxQLmlCe1ehBY7k=\n"
    "-----END CERTIFICATE-----\n";
const char key_middle[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCxfUVUi55XiG9P\n"
    "KoUrdU/Acu4opkWxtSY7A6Kiur5Z7Vj+dM09Vf9dDuhQTHIIDWMJZh/glhP9i+n6\n"
    "KxiaL2nPXyRUUzg3yXFGr6mCbMBUVNItplXPeeB0+xJeyZLSTzhyLCPHRgkG9aZk\n"
    "BgtD5GIt6Uxk8Bixow64aOJHfGbhh6S5c8cwC4O0vS6RhXrqGXpgoPjGiVV1Fj7o\n"
    "bo27QYIjz0NCYIlzfaCGAyuIt84jKLbp7xGSUXBMjBq9jHfMBzRzrBPI7+QY4K0V\n"
    "QXJn0H5jXPJb3pVwZb7/2ob7hfvw4OqymaVtC/K3ZRU7NZehOJt3ChWdWT8+IqKx\n"
    "Gt9gucLFAgMBAAECggEACF+0qax8p/yT49RJvCcowBesDNbratr1FsuxHKRa3rtH\n"
    "+5lfJYmtJqLRaxhwONkI1ySuVFZAUzIKs/bcjkm2YEZI3IGgoWErqv4WrUScPl5S\n"
    "HD1Axy0k3eAKmdZAyxNZwmk6tugi/OUSGJ4AYg+gYjIjnI+HWroqs6CfLGg+Il3D\n"
    "1o3HJUW7dlhEP1Rs9I1Mehr7ThLDtbYz9KSJ/sGXUr8aRq8G8muLTKKuWHIoSeSb\n"
    "zmdLYw8SeD/fUMqoB7a2/XJ56Tke2cMyNtZ5aDtyuYCIh57dF4OHTRsuA1S54F7m\n"
    "44FCLMQI4utBZDCtGGGEsLsvMWLm2xFMQ1AvyXJZcQKBgQDWcK/S/9bYoyAge17s\n"
    "/t4S28PmGnzGuhOPr7x/bM5zyS4lpRDMgDZjF87TM5pAFNKZji0QvvSqvt3ZqIA/\n"
    "smKXp9mqfzahbM3onCEeKRiatXfMeeEOL4Sfg1eZ9vBevBh0OGx50m31Cq111u9X\n"
    "aje+OHSHVchUZ4ewclQ3UObANwKBgQDT40qaL81HtZGUk/E2E3L0+yN/NfqGvin0\n"
    "3T/pmqeKhHzuxUapSoC48dlbDd7mzq0S17FLztp+E0hJo0pplJ0aTIdJhRWnHIEN\n"
    "Ker9QKJzABaoBc7F+vMazB6m7n/801o9+lRw+8zhnHpUQqeCsadbkWON5rBb8Bfb\n"
    "AyB64vA+4wKBgBBd5W2LTVCXkron8GTSRwzVbSxA1UktppSO6yommdNIhZcl9BRH\n"
    "rN7/UC/afmlprXE+4r2mdXIawz/7ll5GNTQyAXD76KWFcmnQkM6GgHQ+aXhXzQ+S\n"
    "HOM32RXNPSdd39fu/oiFwRK0z+xwjS/00XBZSruRloqqpDaZY0gdip8dAoGBALjG\n"
    "aiVBcFOLe/PEe8H7ffEzHIZvzRQ5ux7k3jpZ+qbp2ITkFjXFWbFufmxQEUTXkMhw\n"
    "vhTsw07Ug+JrepXN2p63g/bSDsrXKZcQKfNFrSR6PEe0INg3ek6xGD3cmFIjAXww\n"
    "0/hfLRDFw0u9gJSRVe+dPuLc/IiAPF1qQaXIR1efAoGAQn/4yFCVv+eSWFzV75Ht\n"
    "WyDD5oTt4xb+hb/Vpy9TdpZgnlQ88qQVDt6P8owYPG6GKDHWujauNDqayZFkJEIL\n"
    "6L36CxG9Es0HL+iMvvHaQ6reZ7jWCg4b3zH8hKqNWruEX76tXPoI13Pr+B0dKar5\n"
    "3Z4MbJGsV2y8uj5ApMZ+7o8=\n"
    "-----END PRIVATE KEY-----\n";
const char cert_stranger[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBnzCCASWgAwIBAgICEAIwCgYIKoZIzj0EAwIwFzEVMBMGA1UEAwwMVW5rbm93\n"
    "biBSb290MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAXMRUwEwYD\n"
    "VQQDDAxVbmtub3duIFJvb3QwdjAQBgcqhkjOPQIBBgUrgQQAIgNiAAQxKNDNyM8P\n"
    "B17kablNcrIjVmFepWFL32gDCm/1xgJppqs8HLx7P0UReVw/+4rGxteDedSosH6K\n"
    "bhveLeyNSMa+a6KpkBu4sPAxF286E+B83OAAsoPs/aAh/btG/mgHk3GjQjBAMA8G\n"
    "A1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgEGMB0GA1UdDgQWBBRvtEXZKAaG\n"
    "YFNCHoPne1Tx7s8CwzAKBggqhkjOPQQDAgNoADBlAjA5jEHM69xQgqcYTTjTMgcc\n"
    "mdfIFJ1SlYuQuAzcKyR1tWP9KTzMZ0EQOTjBzA1JCCUCMQCVx8syC8gQOuiYa71e\n"
    "i1W90AH+4G6mdeOqeg/zXtINptrXt9BDXZJ2nUQRGs/pQMc=\n"
    "-----END CERTIFICATE-----\n";
const char key_stranger[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDA0vzXJviIbOLkl2j3j\n"
    "TxUKhUgnxAmNTsVTfIjk4Vz9hloh64OYjMoRGk2NdewQ/jahZANiAAQxKNDNyM8P\n"
    "B17kablNcrIjVmFepWFL32gDCm/1xgJppqs8HLx7P0UReVw/+4rGxteDedSosH6K\n"
    "bhveLeyNSMa+a6KpkBu4sPAxF286E+B83OAAsoPs/aAh/btG/mgHk3E=\n"
    "-----END PRIVATE KEY-----\n";
const char cert_short[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBiDCCAS6gAwIBAgICEAMwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJVGVzdCBS\n"
    "b290MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAcMRowGAYDVQQD\n"
    "DBFTaWducyBsZWF2ZXMgb25seTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABN3P\n"
    "ClXZ3J7C4NKstliZLthgxYvZH8guxPUwY6xuIl61/8ay0f3kwPG7nQxNN73FK1sn\n"
    "z1DC0m9l7hd73HHnBQejZjBkMBIGA1UdEwEB/wQIMAYBAf8CAQAwDgYDVR0PAQH/\n"
    "BAQDAgEGMB0GA1UdDgQWBBTHvPZC4BQXZjpdkGK9gZcEZiVLYzAfBgNVHSMEGDAW\n"
    "gBSvWHmGVOB2hIy6LvSFJgh0X/4u/jAKBggqhkjOPQQDAgNIADBFAiEAizApivF4\n"
    "SLQhkeZmWAIz72PDjvJfi0NIPMPg3fcrKrACICzfXm7zo3EIj2u6bbB0ouf9tVhB\n"
    "ecpyzhnrWlrhNoss\n"
    "-----END CERTIFICATE-----\n";
const char key_short[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgaKq1+0Os2cwZu2eR\n"
    "SGxZr+lVlLxQDJe2uqAs4iorigShRANCAATdzwpV2dyewuDSrLZYmS7YYMWL2R/I\n"
    "LsT1MGOsbiJetf/GstH95MDxu50MTTe9xStbJ89QwtJvZe4Xe9xx5wUH\n"
    "-----END PRIVATE KEY-----\n";
const char cert_below[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBgjCCASegAwIBAgICEAQwCgYIKoZIzj0EAwIwHDEaMBgGA1UEAwwRU2lnbnMg\n"
    "bGVhdmVzIG9ubHkwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBAx\n"
    "DjAMBgNVBAMMBUJlbG93MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEiz10ODKZ\n"
    "PeFrEaAuSHB8T8xOWuP72IYjFUgmeLxQT2y6tKPDbK6YShP/pzompwbSiIsKRdBC\n"
    "iyYa/LvnCRXiFqNjMGEwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAQYw\n"
    "HQYDVR0OBBYEFFip8CiqfNSIBX882LGyPGJ/8WocMB8GA1UdIwQYMBaAFMe89kLg\n"
    "FBdmOl2QYr2BlwRmJUtjMAoGCCqGSM49BAMCA0kAMEYCIQDP4r6RGeNVweXPefYI\n"
    "UK3hLUYJ61/6CTrtKBtp1LGPIQIhAIJ0uhv4Mwrs+LY8fFCvA2qBcNOxxRkqv3u8\n"
    "kgIgM8GO\n"
    "-----END CERTIFICATE-----\n";
const char key_below[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjgJn6fWn0a2ssS0N\n"
    "7C2lB59u8ocgTmWIn3sWFQGDVayhRANCAASLPXQ4Mpk94WsRoC5IcHxPzE5a4/vY\n"
    "hiMVSCZ4vFBPbLq0o8NsrphKE/+nOianBtKIiwpF0EKLJhr8u+cJFeIW\n"
    "-----END PRIVATE KEY-----\n";
const char cert_fenced[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBmzCCAUGgAwIBAgICEAUwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJVGVzdCBS\n"
    "b290MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjARMQ8wDQYDVQQD\n"
    "DAZGZW5jZWQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQFxP/HsmF0WxLOPWAO\n"
    "1iSRP9fxHyprnIERedNjSfiZ3pdnADrlVAZqiqhtxAA0ecfQ8OuDhvlTf8iw6iNP\n"
    "vTOno4GDMIGAMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgEGMB0GA1Ud\n"
    "HgEB/wQTMBGgDzANggtleGFtcGxlLmNvbTAdBgNVHQ4EFgQUq33HskTi95cp99hR\n"
    "IpCYvwZwxvIwHwYDVR0jBBgwFoAUr1h5hlTgdoSMui70hSYIdF/+Lv4wCgYIKoZI\n"
    "zj0EAwIDSAAwRQIhALYIyEOn6FT2bN73oCE3rCuEMBt4r8Qg/eo/TiKSk1NoAiBq\n"
    "M9VL5SAP+6qE24gxIzvXB+4tjE6+IX87odBiBjoufA==\n"
    "-----END CERTIFICATE-----\n";
const char key_fenced[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgYe32zSNV4UYcaU1P\n"
    "NUwbA+nlXs6N+9/ogfhiUmAzIC+hRANCAAQFxP/HsmF0WxLOPWAO1iSRP9fxHypr\n"
    "nIERedNjSfiZ3pdnADrlVAZqiqhtxAA0ecfQ8OuDhvlTf8iw6iNPvTOn\n"
    "-----END PRIVATE KEY-----\n";
const char cert_dead[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBgzCCASmgAwIBAgICEAYwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJVGVzdCBS\n"
    "b290MB4XDTIwMDEwMTAwMDAwMFoXDTIxMDEwMTAwMDAwMFowHDEaMBgGA1UEAwwR\n"
    "RGVhZCBJbnRlcm1lZGlhdGUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAR/aFqd\n"
    "Mi+3L5SodCzx0Dz00qIjKqewjnBCl8RVNgZz9Y5rFNWmXqW8d7ZFRshwZOCHdI3L\n"
    "7kGTo+nV+QM1FEvio2MwYTAPBgNVHRMBAf8EBTADAQH/MA4GA1UdDwEB/wQEAwIB\n"
    "BjAdBgNVHQ4EFgQUKPTRhaT3l1P3bvAAnbf58Hp6YnMwHwYDVR0jBBgwFoAUr1h5\n"
    "hlTgdoSMui70hSYIdF/+Lv4wCgYIKoZIzj0EAwIDSAAwRQIhAIUHpUZt3p4oKJug\n"
    "b5wNi9FaktmksAx/1azBMViDS4EBAiAvGantAAVxdycM0DFskE8L/rY9Vgr1bbzQ\n"
    "1sXtpfWOVA==\n"
    "-----END CERTIFICATE-----\n";
const char key_dead[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgBu0cAdI0qD9mpUdj\n"
    "IuMmCRIHmrXNfDOQlNtE3Izn8cWhRANCAAR/aFqdMi+3L5SodCzx0Dz00qIjKqew\n"
    "jnBCl8RVNgZz9Y5rFNWmXqW8d7ZFRshwZOCHdI3L7kGTo+nV+QM1FEvi\n"
    "-----END PRIVATE KEY-----\n";
const char cert_mx_rsa[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIDUzCCAjugAwIBAgICEAcwDQYJKoZIhvcNAQELBQAwHDEaMBgGA1UEAwwRVGVz\n"
    "dCBJbnRlcm1lZGlhdGUwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBa\n"
    "MBkxFzAVBgNVBAMMDm14LmV4YW1wbGUub3JnMIIBIjANBgkqhkiG9w0BAQEFAAOC\n"
    "AQ8AMIIBCgKCAQEArWezS6c1IfjAV9M7QepsHTtEw1Zlq5QutpC2/7blBMVttBRo\n"
    "nJRGeqEAyD7hyRSjz0y6WYVe98sXFwgy9MIDC8rUo7mcsT2y0+k5D+N7afW9i9sb\n"
    "Ya6xmJAKQM2Z9PcHRuFwb9aieqrfKrz6IJCPwgzMNPREr8kEvtFvIZn2LKdjBUcW\n"
    "5HlWdETH/wtoxjWhRR/UmSnCkVJkK++Z+lCXihb94f8nFM5eCgL/RpXlekJOwpM5\n"
    "xm80MV4/04jqEGqUBSnoRu4IDySSwqLfOMhItPl8OO8MiFFUnjxYb08XojGJot6U\n"
    "NLRAjuLKLfIwdnnJidi+QT+Y6+ot75iV62UAhwIDAQABo4GfMIGcMAkGA1UdEwQC\n"
    "MAAwCwYDVR0PBAQDAgWgMBMGA1UdJQQMMAoGCCsGAQUFBwMBMC0GA1UdEQQmMCSC\n"
    "Dm14LmV4YW1wbGUub3JnghIqLndpbGQuZXhhbXBsZS5vcmcwHQYDVR0OBBYEFIJ0\n"
    "e1KSWnNJB7Q3LyKllLHpYEjrMB8GA1UdIwQYMBaAFG0iPowJTRXoR27/r5/LAFBd\n"
    "FjnzMA0GCSqGSIb3DQEBCwUAA4IBAQBQPqdXRs13lExIQbwnyCjIcCL9+RwqvK73\n"
    "RtIbpGOjAW/mIW8HSwFJ58iu64LEcpYpUTnhReuSKDBX8/ulQuPEWPYoAF3tFixf\n"
    "oNCzbYe1Y6NCqyY/kWOEEp9aldwccSx0ViM8idBCArKfWH6+cvpq8xbCTLVSgX9L\n"
    "cuoY6OhB8T5oIiiSS3PjzsTTMhXhB2LXH/RQba/hkfWhAcCmVZEop+6oXQgioA7d\n"
    "iTKvlDIyxPrj5iWVkd8WWTP5mPHeAFfOucgf7F0/UEqz4Yv5EbLcE015IjZ7h7Cl\n"
    "tFSjXIYOAbyBjQq8mN+rKST3U6fD2fY+1iRQQPewdv188OkWFMU2\n"
    "-----END CERTIFICATE-----\n";
const char key_mx_rsa[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCtZ7NLpzUh+MBX\n"
    "0ztB6mwdO0TDVmWrlC62kLb/tuUExW20FGiclEZ6oQDIPuHJFKPPTLpZhV73yxcX\n"
    "CDL0wgMLytSjuZyxPbLT6TkP43tp9b2L2xthrrGYkApAzZn09wdG4XBv1qJ6qt8q\n"
    "vPogkI/CDMw09ESvyQS+0W8hmfYsp2MFRxbkeVZ0RMf/C2jGNaFFH9SZKcKRUmQr\n"
    "75n6UJeKFv3h/ycUzl4KAv9GleV6Qk7CkznGbzQxXj/TiOoQapQFKehG7ggPJJLC\n"
    "ot84yEi0+Xw47wyIUVSePFhvTxeiMYmi3pQ0tECO4sot8jB2ecmJ2L5BP5jr6i3v\n"
    "mJXrZQCHAgMBAAECggEACoXVeozOC561xV6bJPfd0bRMCvKOPuhCIXAMut3VbgGx\n"
    "E5F9e6r/z+c/TeeK+hHXkvfcAxy106GuaAZmWTYAy1Fmr/zOhm7xEC0B+nXagmaY\n"
    "Nwl30uiv/EsZZC9V3Wi0N1fs48yJlZoS6twG7bz4DFWMetYr6OLw98dr0AUwzCrO\n"
    "eN0+CGArg7hf9KRIwyTZU++StN7co3lVXetK/gSLQcy9GaElDhH2YBd3RUXUt1SI\n"
    "UkeKAOxg9evGrANB82bIIxIUXkrqVtv7d4YP18GK/Au8wqg8bqZENHQdDzR18wq9\n"
    "ZKJAFAdztLsF7KJgWhxmcgeQ1h2hbERsdA0RNS0AyQKBgQDsXebRol3Z7HEQIX2d\n"
    "7A7Ziba8W+oQ/3lO7zj6iU/G2ApVKMwFLRbplwT3UFYYZ7lBrYpz4D7pGt/1kHW9\n"
    "Txvp6JBeSPt2KuFdktxeX4WMMwbp74F5Vno4vwmYO17OkXR7oTpIa8YeWGXd9sC0\n"
    "8i6dZaMrTRp3C/9ZIXsxY+3uiwKBgQC7zvtowDIF50uIKoZtndyYbxLtFSyK/Yp/\n"
    "TYku5wYC8kqGdG/KFygCcjrm5Hn+DDYJO2hoqVWSMpNdhbPYUs0Ngjnrz4S2udJp\n"
    "CU/5bPceP3iaPkrPMeyNsj9VleBgRUjWsDyMx928fwzw308HfYz8vMQIpI2y+LWt\n"
    "9ZrE4CdRdQKBgDreABiBuaIGsvnzfVeRbPlcxPgQZDErj0jLZ4NuI0JAmAIxkO5R\n"
    "Fn3CsOfvSCH34zmqQOsvFDv2B4UfH1OwmiEdXKc+wfHiKBKn+t4+KAKMytIEZliT\n"
    "4wiy+27AipIjw8DunJdg0AzKs0QeqkvmbRmiMIsePtMbV9MY9ZeNbbqVAoGAacc6\n"
    "ctVNV2XedOL+s96l0HU/A6lZXS9QQkM5cOFN0XsF3pTWIczJDBeqdUFaNGxMQwbi\n"
    "15AIUj+KILKdiMmaFHG0jcxjw0cF64MDOEjXJoI5Oya6m9hSk7xBT8MKjS54x/Kb\n"
    "J++qQ/CLKV+c82sTbYYkI3oLFTJfoYsjkJ9vhcECgYEAyVzOXw7/wiAh0OkzFbfQ\n"
    "icvOctwvkYl87bqV7mcm4PGgib0DdI7hRrFT+Wv6Ee21MhnMgbfOQ/Y/HDDRvF8n\n"
    "3uUrpMcfx+bXy0XR1C2jS3QWC1nIhvtJaGFGgfmFY5nWSchxWJO4lGayIHfAalQ5\n"
    "izj7kSE3+/XJlv+oXIcQHtY=\n"
    "-----END PRIVATE KEY-----\n";
const char cert_mx_ecdsa[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIICiDCCAXCgAwIBAgICEAgwDQYJKoZIhvcNAQELBQAwHDEaMBgGA1UEAwwRVGVz\n"
    "dCBJbnRlcm1lZGlhdGUwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBa\n"
    "MBkxFzAVBgNVBAMMDm14LmV4YW1wbGUub3JnMFkwEwYHKoZIzj0CAQYIKoZIzj0D\n"
    "AQcDQgAEPtBnGxoy2HaHchW51VuZJuz4mZtqUSsNiQeEL7tDTS+3OkM+j6PM/l6u\n"
    "tTWGRK3326FgZ01O2BWq+t/3cVkEAaOBnzCBnDAJBgNVHRMEAjAAMAsGA1UdDwQE\n"
    "AwIFoDATBgNVHSUEDDAKBggrBgEFBQcDATAtBgNVHREEJjAkgg5teC5leGFtcGxl\n"
    "Lm9yZ4ISKi53aWxkLmV4YW1wbGUub3JnMB0GA1UdDgQWBBTdWnW4BkdOlsbHK1e8\n"
    "mg8vvilA5zAfBgNVHSMEGDAWgBRtIj6MCU0V6Edu/6+fywBQXRY58zANBgkqhkiG\n"
    "9w0BAQsFAAOCAQEAkKui2WZ+n7/SbrfK8M/7ocdoAZr6YCsX7cJbMrto6cWLIDEk\n"
    "R2TpZLtvQXICrbdtm4hQuNekMhkdTfWFI0VgCfrbIYS6ccXATIBHuf+sNBCPK1Uh\n"
    "aAbsiv78X2mFCosDvaW3YA1pqDw+oq7FkjWGupL1p87mLYzKDqS7dPb/xSAXgQEV\n"
    "UYR8gampyNtfLJ2Hzkwq3Y5J4GcRDKq5Iy15bkHI6n114OGyEKD6I9luBxeYtncG\n"
    "UQj1Q9c6Gav96v9izd2gTNpfD7D4qfb8GdvcCc8b96+6/b3Z7WEhL8dmHopiXXOM\n"
    "jblGByzxoReaGzN1evZ368jSbEF/Uf5z0SCamg==\n"
    "-----END CERTIFICATE-----\n";
const char key_mx_ecdsa[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg8zZas752YK/LFhzP\n"
    "vkKMvUDh3dg82VbgxkTTf3KD0cOhRANCAAQ+0GcbGjLYdodyFbnVW5km7PiZm2pR\n"
    "Kw2JB4Qvu0NNL7c6Qz6Po8z+Xq61NYZErffboWBnTU7YFar63/dxWQQB\n"
    "-----END PRIVATE KEY-----\n";
const char cert_mx_ed25519[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBjzCCATagAwIBAgICEAkwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJVGVzdCBS\n"
    "b290MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAZMRcwFQYDVQQD\n"
    "DA5teC5leGFtcGxlLm9yZzAqMAUGAytlcAMhAIqqrefCFP3caGPL85PWMRxs56JO\n"
    "NbcESeLMcQRYcwBio4GfMIGcMAkGA1UdEwQCMAAwCwYDVR0PBAQDAgWgMBMGA1Ud\n"
    "JQQMMAoGCCsGAQUFBwMBMC0GA1UdEQQmMCSCDm14LmV4YW1wbGUub3JnghIqLndp\n"
    "bGQuZXhhbXBsZS5vcmcwHQYDVR0OBBYEFIiMERbztFBT+qqdcpuxX6gdFhoVMB8G\n"
    "A1UdIwQYMBaAFK9YeYZU4HaEjLou9IUmCHRf/i7+MAoGCCqGSM49BAMCA0cAMEQC\n"
    "IDsGygdVHn5qHkW5ROZvnQU8PGRFZBZhCWwQeS4pP8SgAiAZUdELOXgk4+EFE57w\n"
    "TuTfwUwajiyW6Am6WN7zdlYtiQ==\n"
    "-----END CERTIFICATE-----\n";
const char key_mx_ed25519[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIN1PIvkRw7+EPNL0DxYBEJ/SjjFUA5GjK7XHi6pRufYg\n"
    "-----END PRIVATE KEY-----\n";
const char cert_mx_rsa4096[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIEUzCCAzugAwIBAgICEAowDQYJKoZIhvcNAQELBQAwHDEaMBgGA1UEAwwRVGVz\n"
    "dCBJbnRlcm1lZGlhdGUwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBa\n"
    "MBkxFzAVBgNVBAMMDm14LmV4YW1wbGUub3JnMIICIjANBgkqhkiG9w0BAQEFAAOC\n"
    "Ag8AMIICCgKCAgEAtjETQ1GChcgAsYERrj++/U3LBZ6XsNGaMDVVJkG+bS5mABJt\n"
    "ekFHovIliQYJ+jq4iUwU7RCZk508Oh80hEmdVy9ZJs+LH1sIbdx1CsKF6qyEMxzB\n"
    "LpIPqUQ9VJdeTk8/ERYkbp/ragTcXSUp9+CeAU3bTCn7qxLd6yExT/NGxzKEzpt4\n"
    "XgYIrc++4x2LQji7AngDg4ylWkL4AX/8gvowvOWG3UU4IMbLJsLB2tI5M99nZhGj\n"
    "rVjDSws9vswgTnhmv4/01YF4/Kub3gJrQGKrZAwuH+3pmjvh5RpA5Li0E8pCQw4J\n"
    "RF4p6XYuVvbSe+t+GLFdqZLj/7DNfeIfQT4xl8044hopkQb88is+rgq85f26dcWJ\n"
    "j1ST6EqyPVCJSNaZkq2C0/X0Q7mePk3+cXuaEQ5TITTNO89JKJUdiOaNecp30ytt\n"
    "D0yfoQp5U2oNSNhK21tU8Zc1ylFmSJV7IvTpHhU4DFIeAEApSUsF+3RHp0Tx373H\n"
    "u/dSpPu8EewiWC9nzMDA1YH60VKQDt9UsBioG6Jz5dzo2KSNYOzUyC9Pe3Z3O0Z9\n"
    "V66QvSC/FVFcxt9BojtQ2oulziMbbl9SPhdB9EAZSCe3E8Mg3tdcg+us38+5dwIq\n"
    "1CikuT9QLTFJyfHy+DQ1mi2jaoLfa/5ernyUpg0iF/6VZRRuAzhb0d/FTr8CAwEA\n"
    "AaOBnzCBnDAJBgNVHRMEAjAAMAsGA1UdDwQEAwIFoDATBgNVHSUEDDAKBggrBgEF\n"
    "BQcDATAtBgNVHREEJjAkgg5teC5leGFtcGxlLm9yZ4ISKi53aWxkLmV4YW1wbGUu\n"
    "b3JnMB0GA1UdDgQWBBTvi/WF6oClm3t2lTW8kGavbVk13DAfBgNVHSMEGDAWgBRt\n"
    "Ij6MCU0V6Edu/6+fywBQXRY58zANBgkqhkiG9w0BAQsFAAOCAQEAfwUROT8zJzFD\n"
    "61VbHyL7DfCYTEzatILa5f/73hmnorTyZWwIS/LWk+YlP4YlSxsKRraE/B3k32fh\n"
    "zHxBt3Cdwf7OllX1M7CFqNwOwUUn5gLXP2zeRa0O3kcFvxfXdbvUeMTUwifPbqSO\n"
    "A2bMLC7FSaSmsPXExf/6/xwUIzV7fXskwHjYGCaUZhmQODXghZsWrPt0xeAJzJxy\n"
    "z9U/3uRa9LGzeYNnBnIP2+NEnrKiZIPuyUpyH3XS0z+q/uHI4lFxiMOXIWQcjMqw\n"
    "G06YIkItIZ8Qba+q0/WZ+7BWzRKivVwDEna+hDzwAsQToTVMiAibd2RfoAJp8GP0\n"
    "mtbeBPL2kQ==\n"
    "-----END CERTIFICATE-----\n";
const char key_mx_rsa4096[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIJQQIBADANBgkqhkiG9w0BAQEFAASCCSswggknAgEAAoICAQC2MRNDUYKFyACx\n"
    "gRGuP779TcsFnpew0ZowNVUmQb5tLmYAEm16QUei8iWJBgn6OriJTBTtEJmTnTw6\n"
    "HzSESZ1XL1kmz4sfWwht3HUKwoXqrIQzHMEukg+pRD1Ul15OTz8RFiRun+tqBNxd\n"
    "JSn34J4BTdtMKfurEt3rITFP80bHMoTOm3heBgitz77jHYtCOLsCeAODjKVaQvgB\n"
    "f/yC+jC85YbdRTggxssmwsHa0jkz32dmEaOtWMNLCz2+zCBOeGa/j/TVgXj8q5ve\n"
    "AmtAYqtkDC4f7emaO+HlGkDkuLQTykJDDglEXinpdi5W9tJ7634YsV2pkuP/sM19\n"
    "4h9BPjGXzTjiGimRBvzyKz6uCrzl/bp1xYmPVJPoSrI9UIlI1pmSrYLT9fRDuZ4+\n"
    "Tf5xe5oRDlMhNM07z0kolR2I5o15ynfTK20PTJ+hCnlTag1I2ErbW1TxlzXKUWZI\n"
    "lXsi9OkeFTgMUh4AQClJSwX7dEenRPHfvce791Kk+7wR7CJYL2fMwMDVgfrRUpAO\n"
    "31SwGKgbonPl3OjYpI1g7NTIL097dnc7Rn1XrpC9IL8VUVzG30GiO1Dai6XOIxtu\n"
    "X1I+F0H0QBlIJ7cTwyDe11yD66zfz7l3AirUKKS5P1AtMUnJ8fL4NDWaLaNqgt9r\n"
    "/l6ufJSmDSIX/pVlFG4DOFvR38VOvwIDAQABAoICAB5LIKnT1sEJ1VuuW1M+1DHo\n"
    "CnbfvNcwstOLOqJG0jPzQBCI/90RF6k3XBhhga0ysFZb6SrV1MNfpJEBeUj5uIiz\n"
    "nb4/SiGnkEo8GtX0LDIuBzk8cb6dmK8LYqs7E/ovYQwlQ1+Fha42KrHuKQFHPt52\n"
    "pJ0QagEy/OVIuptRlxYuBzkXTrdLh4vm/BVlZy9WoXmynNr1utS8R+Jv9nuMwCfY\n"
    "fkkyZjfE9ih2v6bzx4Ehh17IVg/Pr4E92EFuTXzeti7p78rEYWqZ2iva+RxWi6rx\n"
    "/4VdmLcFd/URHXMqZv7XZZcisVXF1nA0L1ZUagEi0e+nJiy4+OId8r0YqRu/DJ2p\n"
    "7ZwVvDE4cLlJWS1xFeduFJy+bsRAg8ZBvzTs0/W1hct+NJ2aQolmv+JHjVgiOAtd\n"
    "nu9SO9xlJESjUkq7dV89tgwA/llhvjNgMc4oYVNjFox5GYO6ss7ZSrU9XC+LuJ7m\n"
    "9JiqxICtbvkjkphe/cTPaGK3y1UlvCQuwwlTWrQsLLu5iv/LIddYR9KFsvvKOFHN\n"
    "pm+ToSlvinfm+tx+xgv+FcMzgl0Bz5OVsQEOHgGjiWDXdxXijSI8nz4oQgcWa+Og\n"
    "2NszuiAfLEuieNW4+2sXjJje451RRekEeUW/VsKJMj+NtDTMFMAExsmeqzV9MlJp\n"
    "UsmERP+sm/WnPhk765lJAoIBAQDsKpv0iXfTxb66ir2W8nx3nn2Lf76Y4JlZw6Qv\n"
    "vsRGXdC4mZwYvDHk8WLtmeNnqrbS/+QI5gVSpmet06FlQs/hKUUlAbiiCFIGJkyE\n"
    "JTr9kTLaQZNNBjYa5o8W6Q6dVQIgik5exCXBaSffvPXcqvT0yrI7Wxbgk+uhsbbN\n"
    "NYuUwaT9PHm7vmZUyQ2BCmvpinhNnm6AtiN++nqzRBKGGVxWfg/poIF2HWVkeOay\n"
    "KrjBlyMDNMIUj+x2deNA2c1Holbyn2CDTrFhvrMCwDKSCEIovi6e3ZxjF+10A9Gl\n"
    "Yl1mnmKfO7vGu3qzQrZrNSyiBYHPMfoMtdW8oqn/rkCBMEOFAoIBAQDFfg1PXYtu\n"
    "IvrqREiLNGwz0DW0wJKQnTsH05bZNiYWgYHSU8MbutaHSJbikx/6UuCYKUhHksPp\n"
    "smGgb7PrwhWNj6Liub+VJuqxmi2WER/1Ie3c6K+j2EprgkXWlnmNBUJIRwpvLVMJ\n"
    "pcgiTLYmTbH65LbF6vFqQTpaOSa/EvZmhVyjqtrp7hUBUiI+8F8sIS9TOxEeTQqY\n"
    "wsRcgSVypgvbl4DkryekYsVkoe1VMSsLz6dNKTI+xeTUAlhE4G9MBJW+gv7Q2Scf\n"
    "8k2wX7O36ns8eROKl/F78SZrgv8WndMFPTcGYYfBDuKkh/S2Z7xXT1IztsZo4A36\n"
    "U1FwyM7lezJzAoIBACuGFsPUad7/fI0IcLRW8BVjgiOpYUjva5OdeK7L64REWekL\n"
    "djcgx9k3m1HKoJxEW/k6652wNp7qyATDEeWFkKYgYvvU+1/xRJyZhlR8QAjnL4YF\n"
    "u83gLSx7/TbtsKHSPtgcZSEV6Rdh99VGD9GhOA+9I2fI+8hbuntMMzJSgeziWzPI\n"
    "Z27wQg+yFekIMKcTu+QiJJ9X8ea+5soO65MHLXtLNEeMKw/Hjx4bIfkH4pDa97rp\n"
    "iDMd6yhRxZX4Ddr70iZYtQK+B/bJnFgPb8J1/ytfEVx53w5sJHjTE1n1bN0yp15N\n"
    "NegEOTK8Qr4zSIx7k1bKERkykbd4Cvhx9rVYXbkCggEAEBIa2St+jh7QlkGqOZGx\n"
    "gGHgDO5ivtvckt13+AL9BHXTb58bUGVa0bVpedSJFKCr4BXz6McbpCe85AZS+MtZ\n"
    "X6Shl5uP6H47OOqX7Q9Fr3fsWD6jFE0keS0nq7eg+oXECAen5LYmfLF94LSnWeSW\n"
    "qBj2epKMxJ28Nt1Rtti/LkaJ7FOZ7tFN6kaZvM9onzmwFTDIStPwGdA3lGN5/aNf\n"
    "caYZegJ60lirQW4f1v/iRdrG/XNtwEfwQARU1H4C8Ieq+87DF5GkKmhYRBL1l/C/\n"
    "yIL9wRhuMSzFeJg3U8rSAioiESXcmywv6z2Y/0Lfw6cTxFuKN7yLxqQDC497rpbg\n"
    "2wKCAQAC/SYaJVnPDTklXIeiRdW5eyYq4oG83x+VIXHf6q4tA8BvhSi1IXR7aXD5\n"
    "ViPayv3kA1DqLCBifH9ZsEMffRYbXlnj7esQyhId++TilfrCi0zD02bn9PYEUFjJ\n"
    "F1UGXmULx7Hr3mWs3S4TDcwDGaWbZGr0OUB8hhUDE1mCH352p1OSXaDkOu3VCxhP\n"
    "SCpELCpLQJDIkK9yXwHE8ideHcvaUxKL0nbxaNzsW33tp+rbAQh2ANudZzW1mSeK\n"
    "3um/7zTKmW3djBm/p3kYvBZeanc+TMDJRu6VhhhuDDsGgWhFvma6GfEid9v8qpP7\n"
    "eru9+oJTYErj+itONGZ+5ycM2Si9\n"
    "-----END PRIVATE KEY-----\n";
const char cert_other[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIICejCCAWKgAwIBAgICEAswDQYJKoZIhvcNAQELBQAwHDEaMBgGA1UEAwwRVGVz\n"
    "dCBJbnRlcm1lZGlhdGUwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBa\n"
    "MBwxGjAYBgNVBAMMEW90aGVyLmV4YW1wbGUubmV0MFkwEwYHKoZIzj0CAQYIKoZI\n"
    "zj0DAQcDQgAEqFLqyUlzTEQQSRK/DZZw7fhv5tg4M5VNh3K92JfVwMx1NcCXwl/N\n"
    "LdJ1MpU44MtQxGgCZ7i3ohZp8hFg5i/7P6OBjjCBizAJBgNVHRMEAjAAMAsGA1Ud\n"
    "DwQEAwIFoDATBgNVHSUEDDAKBggrBgEFBQcDATAcBgNVHREEFTATghFvdGhlci5l\n"
    "eGFtcGxlLm5ldDAdBgNVHQ4EFgQUd0ONtG2SlF9ECm9csKVPxnjTFzAwHwYDVR0j\n"
    "BBgwFoAUbSI+jAlNFehHbv+vn8sAUF0WOfMwDQYJKoZIhvcNAQELBQADggEBAFRn\n"
    "laqRwt2iDn46pFapkL52BulkGa5VjlR8QLIg68RYhpqeyudoYa8KyAlk7xwDsNai\n"
    "Mm/Sh/2Kv9+2FdkwPhSv0FhwkrXgmMIN4uugs+KbA2GMhwCs8h/YndBbEtlY7zsl\n"
    "A3w+VqWIdO0PFqTfe1aecc0rTIFinyZGcdqItQxtBArcQB2F+kltn7K8l9Lo77YF\n"
    "LtpU5CsBDTHsOU+5Odk69aL9o9UrNgn4IGSKn9Hy8QRmai7VBpQi1jj5swr7ef8P\n"
    "6bW8LhxCEJ88HLYE37EDeISKEUvK3EtGNg9aqPlq+2MgILCZ/TBHIWOHodh9naoa\n"
    "jk3xz36skLbmpSAwl08=\n"
    "-----END CERTIFICATE-----\n";
const char key_other[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg/79erHzpxNlHi78H\n"
    "YsntCynpvJnXE/v2POKz99B+5K2hRANCAASoUurJSXNMRBBJEr8NlnDt+G/m2Dgz\n"
    "lU2Hcr3Yl9XAzHU1wJfCX80t0nUylTjgy1DEaAJnuLeiFmnyEWDmL/s/\n"
    "-----END PRIVATE KEY-----\n";
const char cert_expired[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIChjCCAW6gAwIBAgICEAwwDQYJKoZIhvcNAQELBQAwHDEaMBgGA1UEAwwRVGVz\n"
    "dCBJbnRlcm1lZGlhdGUwHhcNMjAwMTAxMDAwMDAwWhcNMjEwMTAxMDAwMDAwWjAZ\n"
    "MRcwFQYDVQQDDA5teC5leGFtcGxlLm9yZzBZMBMGByqGSM49AgEGCCqGSM49AwEH\n"
    "A0IABDsVUuUSndf+XdGIaT8FRkgTVTk/+Vr7S057awhBh4R5+VFJqvraVdxGvlKd\n"
    "LPrAkgUnsPoVrMo6oK0oxRIzExSjgZ8wgZwwCQYDVR0TBAIwADALBgNVHQ8EBAMC\n"
    "BaAwEwYDVR0lBAwwCgYIKwYBBQUHAwEwLQYDVR0RBCYwJIIObXguZXhhbXBsZS5v\n"
    "cmeCEioud2lsZC5leGFtcGxlLm9yZzAdBgNVHQ4EFgQUHUFyzFi9Xv3arJC6a3w4\n"
    "+TYpMF4wHwYDVR0jBBgwFoAUbSI+jAlNFehHbv+vn8sAUF0WOfMwDQYJKoZIhvcN\n"
    "AQELBQADggEBACo1tCT+hNQ4zYDC7w+OLTP4zqB42wDhV3ZtYj18nVSc06tiekW9\n"
    "RgLrEdGC4IsTfzR363wywQMmekJY5kFtmtHhFA8ZZ64pR+0pkOOL9sa4UANKuBFl\n"
    "7l/wAesIo06KDQh1BGYDPf4d9TroPRyb9I6HImN6xUJ5cQ8rERxbtIaTxpjpyD2e\n"
    "sPdH5O0QkHUucnO7FYKPPED7NmOoTU/WFI0TL8uZgcG+ONHaMPDheX0eu6ej51n/\n"
    "P2m/hvRa/v7PNrTuVRwAL8xFP5ajWCScIw0TNcvVb/iNVEruzDBrpsu2rVdoYFMd\n"
    "scKcsqu7/wqbHhbocKeCukDH4sj8zSNsGb0=\n"
    "-----END CERTIFICATE-----\n";
const char key_expired[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgM1486rILFyulipZA\n"
    "nEKds1lkI3q2AcUiQjgDMD+jB6qhRANCAAQ7FVLlEp3X/l3RiGk/BUZIE1U5P/la\n"
    "+0tOe2sIQYeEeflRSar62lXcRr5SnSz6wJIFJ7D6FazKOqCtKMUSMxMU\n"
    "-----END PRIVATE KEY-----\n";
const char cert_future[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIICijCCAXKgAwIBAgICEA0wDQYJKoZIhvcNAQELBQAwHDEaMBgGA1UEAwwRVGVz\n"
    "dCBJbnRlcm1lZGlhdGUwIhgPMjEwMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAw\n"
    "MFowGTEXMBUGA1UEAwwObXguZXhhbXBsZS5vcmcwWTATBgcqhkjOPQIBBggqhkjO\n"
    "PQMBBwNCAARxq9lTm5VMvh+bWTY/NjYUpgnmed+8THwS5istI1I5r8Dp9DTK7Sx0\n"
    "gqBD403t3s4EjiduNpx3+/geJp15T6yGo4GfMIGcMAkGA1UdEwQCMAAwCwYDVR0P\n"
    "BAQDAgWgMBMGA1UdJQQMMAoGCCsGAQUFBwMBMC0GA1UdEQQmMCSCDm14LmV4YW1w\n"
    "bGUub3JnghIqLndpbGQuZXhhbXBsZS5vcmcwHQYDVR0OBBYEFJFPUZ7VXTWD29/G\n"
    "q1llMJ1bUrlcMB8GA1UdIwQYMBaAFG0iPowJTRXoR27/r5/LAFBdFjnzMA0GCSqG\n"
    "SIb3DQEBCwUAA4IBAQA8JsybbMi1dBx1GPIhGi4cOMx0egybNSuhlbu7PP+BEg+J\n"
    "Ow3Ebtd9+Do/UKjE4oPCpDTeFDbqmQbD9gPQID/prJmtHOWM7rH5ft10lkRGtYH9\n"
    "fiujUd/1OOGY7dLnJU1r7ikMcx9UM+e0nyLqUdUooVsty3qYbq2G1hucoIXtm/rO\n"
    "WbdWjnIP13hyabwkv089oqz0srLKJ+XfnsCGJq+DUIaUpW7viet+M7vtQDMDYHCM\n"
    "U2Rs3hC6xxc9mfS0tvveGzvFfnNunUaVRAfAO45DJROJE1Zwjb9EZO0AFAwrWr/k\n"
    "3HfGupDauz9x0wf8gCxC+v8EMnPeV7E4bHpYANhe\n"
    "-----END CERTIFICATE-----\n";
const char key_future[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgnA1LEYXULfp2sbL1\n"
    "/7+QUWK9f0ypYgqJQClwoeVr0BChRANCAARxq9lTm5VMvh+bWTY/NjYUpgnmed+8\n"
    "THwS5istI1I5r8Dp9DTK7Sx0gqBD403t3s4EjiduNpx3+/geJp15T6yG\n"
    "-----END PRIVATE KEY-----\n";
const char cert_self[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBojCCAUegAwIBAgICEA4wCgYIKoZIzj0EAwIwGTEXMBUGA1UEAwwObXguZXhh\n"
    "bXBsZS5vcmcwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBkxFzAV\n"
    "BgNVBAMMDm14LmV4YW1wbGUub3JnMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n"
    "2O4IhtyF9QgkGBjdZLWg6vc24UlB5FTkzh+MRpoGtCgFo0xGQKLpepIubY3zV9Bp\n"
    "lmbtHUVCEUibz0NcmfqLA6N9MHswCQYDVR0TBAIwADALBgNVHQ8EBAMCBaAwEwYD\n"
    "VR0lBAwwCgYIKwYBBQUHAwEwLQYDVR0RBCYwJIIObXguZXhhbXBsZS5vcmeCEiou\n"
    "d2lsZC5leGFtcGxlLm9yZzAdBgNVHQ4EFgQULsCYMrJMn8or04M5MZo0kKRhq4ww\n"
    "CgYIKoZIzj0EAwIDSQAwRgIhAPJlGzClA+wRMHxpC4TRt58/h6+O7HijGymV5vql\n"
    "P6p5AiEAx7bsjUaVKZvY2PbIfmtYjQbMSAeTALZIgM571IqTMAk=\n"
    "-----END CERTIFICATE-----\n";
const char key_self[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgyUu0QKO1U+uUEx+L\n"
    "YD5lzoFg5lM4g4FxKBHVCAjtN2mhRANCAATY7giG3IX1CCQYGN1ktaDq9zbhSUHk\n"
    "VOTOH4xGmga0KAWjTEZAoul6ki5tjfNX0GmWZu0dRUIRSJvPQ1yZ+osD\n"
    "-----END PRIVATE KEY-----\n";
const char cert_self_expired[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBizCCATGgAwIBAgICEA8wCgYIKoZIzj0EAwIwGTEXMBUGA1UEAwwObm9ib2R5\n"
    "LmV4YW1wbGUwHhcNMjAwMTAxMDAwMDAwWhcNMjEwMTAxMDAwMDAwWjAZMRcwFQYD\n"
    "VQQDDA5ub2JvZHkuZXhhbXBsZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABH5s\n"
    "wXjF4IqLR5XYnjswa+HYtGX6pGLHc9bpX+dET7OBvTNYliNUrTDb+KNgt5CS602M\n"
    "EzffAQtQo1ftCLaa5vmjaTBnMAkGA1UdEwQCMAAwCwYDVR0PBAQDAgWgMBMGA1Ud\n"
    "JQQMMAoGCCsGAQUFBwMBMBkGA1UdEQQSMBCCDm5vYm9keS5leGFtcGxlMB0GA1Ud\n"
    "DgQWBBSFsTqYfWsx7yeraT4JUb7EofzvdDAKBggqhkjOPQQDAgNIADBFAiAzvkIT\n"
    "nTjku4qERdVt6H46Pp8gsE2xsWGiNvKEPz/hHAIhAKS9GPkfl7srlVDLVFR2Q1Z6\n"
    "nfXLZ2MaUf6YqMH9ERTV\n"
    "-----END CERTIFICATE-----\n";
const char key_self_expired[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg1JAn/jCzSlhIyLIh\n"
    "oASPaKWvnTR4HOBUj5LjkgA0LdOhRANCAAR+bMF4xeCKi0eV2J47MGvh2LRl+qRi\n"
    "x3PW6V/nRE+zgb0zWJYjVK0w2/ijYLeQkutNjBM33wELUKNX7Qi2mub5\n"
    "-----END PRIVATE KEY-----\n";
const char cert_untrusted[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIB4jCCAWigAwIBAgICEBAwCgYIKoZIzj0EAwIwFzEVMBMGA1UEAwwMVW5rbm93\n"
    "biBSb290MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAZMRcwFQYD\n"
    "VQQDDA5teC5leGFtcGxlLm9yZzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABDqw\n"
    "3Pp/8LNEt2KkW9D2o6TyT+PvhN5baJ4OTbcUqdzgEC8uXyv4oa5kMKdYWcm1xwn6\n"
    "jG+fBJWD6rN+e1ceIX6jgZ8wgZwwCQYDVR0TBAIwADALBgNVHQ8EBAMCBaAwEwYD\n"
    "VR0lBAwwCgYIKwYBBQUHAwEwLQYDVR0RBCYwJIIObXguZXhhbXBsZS5vcmeCEiou\n"
    "d2lsZC5leGFtcGxlLm9yZzAdBgNVHQ4EFgQUDSfBiglGTPNQ42TMGxkixfrp8YIw\n"
    "HwYDVR0jBBgwFoAUb7RF2SgGhmBTQh6D53tU8e7PAsMwCgYIKoZIzj0EAwIDaAAw\n"
    "ZQIxAI3p3nUDYWMs5h9aLbQyJKVGNXETRBLGO3PrQMVtlRLkKw6kW8xYhfg82B0y\n"
    "lNeneQIwPHDr0zmQ3c0g34nkexn24GFROTy8Lq26mE4RoW5ToFXCkkfbr4DKJ4Sy\n"
    "W2eC8KoV\n"
    "-----END CERTIFICATE-----\n";
const char key_untrusted[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgg3ZlZB+B/Ge2mlJW\n"
    "oC0sdAFlfXbkGiHURg3XVrJNqVihRANCAAQ6sNz6f/CzRLdipFvQ9qOk8k/j74Te\n"
    "W2ieDk23FKnc4BAvLl8r+KGuZDCnWFnJtccJ+oxvnwSVg+qzfntXHiF+\n"
    "-----END PRIVATE KEY-----\n";
const char cert_by_leaf[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIICcTCCAVmgAwIBAgICEBEwDQYJKoZIhvcNAQELBQAwGTEXMBUGA1UEAwwObXgu\n"
    "ZXhhbXBsZS5vcmcwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBkx\n"
    "FzAVBgNVBAMMDnZpY3RpbS5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD\n"
    "QgAEBK1wrtxD6hSBwxve18twONh3UCtsp4wK3kaFOSJX2XQwXvo04CJoA6nCwXhk\n"
    "R6AV+N3AhQgiyFQwbcRDddcUe6OBizCBiDAJBgNVHRMEAjAAMAsGA1UdDwQEAwIF\n"
    "oDATBgNVHSUEDDAKBggrBgEFBQcDATAZBgNVHREEEjAQgg52aWN0aW0uZXhhbXBs\n"
    "ZTAdBgNVHQ4EFgQUJ23h67tuHKzNPlD92rf9YaWK+sEwHwYDVR0jBBgwFoAUgnR7\n"
    "UpJac0kHtDcvIqWUselgSOswDQYJKoZIhvcNAQELBQADggEBAD0rWNzOLexk/Z0/\n"
    "Y6kWpX7Pttf11XfQ5G+66V6HA8wbfI2dnw7O0O0lw49FN6L0A5B1y510u95srnJv\n"
    "8gEX1OTMFL2iW+0a0TsuRqdJzj1E/I1hVpiox9c0Qh/kKLJk6HZIkolJhKLE+1SM\n"
    "7MW5llmQCVXMSrerNsaRXpAy5jfYp4oLHzDDtqJiiP9FFYVlXOQFr4mVYQJ+34nV\n"
    "VaFiXPxHfFJPG4EF2rr9/rlVUMmjkvsNq8YXca81CHuoREGAux9YxLyPGlmPI1m7\n"
    "LUlYg1i7sYciqWWjwx+rjhhwLbFIiAhe8dh0EDAr1XBGTvUGKUJQ6n0cL2XXyy6P\n"
    "7dme1wg=\n"
    "-----END CERTIFICATE-----\n";
const char key_by_leaf[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgmwYvrT9MJ7XnvNen\n"
    "X9c1VHIVicSDbWe8/83n8WnBjoKhRANCAAQErXCu3EPqFIHDG97Xy3A42HdQK2yn\n"
    "jAreRoU5IlfZdDBe+jTgImgDqcLBeGRHoBX43cCFCCLIVDBtxEN11xR7\n"
    "-----END PRIVATE KEY-----\n";
const char cert_by_below[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBvDCCAWGgAwIBAgICEBIwCgYIKoZIzj0EAwIwEDEOMAwGA1UEAwwFQmVsb3cw\n"
    "IBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBkxFzAVBgNVBAMMDm14\n"
    "LmV4YW1wbGUub3JnMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMA60c+GP2zK7\n"
    "2LHb/iUh37u0tgMA885D6f1VuOriTa21DXLfKThiTkJfdAQPIGB2c6W/RTa0U/WC\n"
    "db3syovGGKOBnzCBnDAJBgNVHRMEAjAAMAsGA1UdDwQEAwIFoDATBgNVHSUEDDAK\n"
    "BggrBgEFBQcDATAtBgNVHREEJjAkgg5teC5leGFtcGxlLm9yZ4ISKi53aWxkLmV4\n"
    "YW1wbGUub3JnMB0GA1UdDgQWBBTsuHIxfiDIzq9U48KWeVkJnXKQnDAfBgNVHSME\n"
    "GDAWgBRYqfAoqnzUiAV/PNixsjxif/FqHDAKBggqhkjOPQQDAgNJADBGAiEA24o5\n"
    "qA8NSjY6TKbt/oPHW84wBQ5Y/p+YNCtQGMvmH20CIQDacyxEg3Ajeq4guukBft0Q\n"
    "imiZHpu4IfyilvQFICPR0A==\n"
    "-----END CERTIFICATE-----\n";
const char key_by_below[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgWRrjkC/mA/EvtSXb\n"
    "bJiIOSClEgcAjfSBhF6hPgGIquuhRANCAAQwDrRz4Y/bMrvYsdv+JSHfu7S2AwDz\n"
    "zkPp/VW46uJNrbUNct8pOGJOQl90BA8gYHZzpb9FNrRT9YJ1vezKi8YY\n"
    "-----END PRIVATE KEY-----\n";
const char cert_by_fenced[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBvDCCAWKgAwIBAgICEBMwCgYIKoZIzj0EAwIwETEPMA0GA1UEAwwGRmVuY2Vk\n"
    "MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAZMRcwFQYDVQQDDA5t\n"
    "eC5leGFtcGxlLm9yZzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABFy5OZngfQpT\n"
    "XHsXSXqQPeiazG5w6szOFM1sw8jqjkmr5Lq1RVdi9hk16iizuhI0dle0JU4qD6jc\n"
    "LoyHAbhAUZGjgZ8wgZwwCQYDVR0TBAIwADALBgNVHQ8EBAMCBaAwEwYDVR0lBAww\n"
    "CgYIKwYBBQUHAwEwLQYDVR0RBCYwJIIObXguZXhhbXBsZS5vcmeCEioud2lsZC5l\n"
    "eGFtcGxlLm9yZzAdBgNVHQ4EFgQUTwCBoUw60FROuUVO9rGV3n4yCxQwHwYDVR0j\n"
    "BBgwFoAUq33HskTi95cp99hRIpCYvwZwxvIwCgYIKoZIzj0EAwIDSAAwRQIgejx0\n"
    "a4mQw+YubjOHmTc5/ZLa/TfztkBDr3OI0Hm3JzACIQCHJi9CEPJg+KBJpV4NkN5/\n"
    "qd4G4cQKGOA8Wvh/48szUA==\n"
    "-----END CERTIFICATE-----\n";
const char key_by_fenced[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgs4NmDi2I5qETOMaR\n"
    "kZfdQ28LteygZd78sk4oZpOVwBOhRANCAARcuTmZ4H0KU1x7F0l6kD3omsxucOrM\n"
    "zhTNbMPI6o5Jq+S6tUVXYvYZNeoos7oSNHZXtCVOKg+o3C6MhwG4QFGR\n"
    "-----END PRIVATE KEY-----\n";
const char cert_by_dead[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBxjCCAW2gAwIBAgICEBQwCgYIKoZIzj0EAwIwHDEaMBgGA1UEAwwRRGVhZCBJ\n"
    "bnRlcm1lZGlhdGUwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBkx\n"
    "FzAVBgNVBAMMDm14LmV4YW1wbGUub3JnMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD\n"
    "QgAER9CwuFonU+ADSAYmsYIB4/AJ5fDSNdqvH+5uSWR0Ik1LsODJx+CSb+lnMjB8\n"
    "BN6Y+eJCgH5isrRAbRvfaQPqw6OBnzCBnDAJBgNVHRMEAjAAMAsGA1UdDwQEAwIF\n"
    "oDATBgNVHSUEDDAKBggrBgEFBQcDATAtBgNVHREEJjAkgg5teC5leGFtcGxlLm9y\n"
    "Z4ISKi53aWxkLmV4YW1wbGUub3JnMB0GA1UdDgQWBBRixt4Aar0+mmsuJNs6Cvgx\n"
    "9JlFKTAfBgNVHSMEGDAWgBQo9NGFpPeXU/du8ACdt/nwenpiczAKBggqhkjOPQQD\n"
    "AgNHADBEAiAOD8AkRgdbbPARWVV9BuEdw0hGsJcNOo3HMuZ9bJX6kQIgIJcFRYi6\n"
    "YCFWRZ54hhOQwWnK12itVf7PAK3pL3sNKqI=\n"
    "-----END CERTIFICATE-----\n";
const char key_by_dead[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgk/QDayGHsZKkcqWx\n"
    "9GZDCgUKFWG75vFw2Cogx/dZksKhRANCAARH0LC4WidT4ANIBiaxggHj8Anl8NI1\n"
    "2q8f7m5JZHQiTUuw4MnH4JJv6WcyMHwE3pj54kKAfmKytEBtG99pA+rD\n"
    "-----END PRIVATE KEY-----\n";
const char cert_common_name[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIICVzCCAT+gAwIBAgICEBUwDQYJKoZIhvcNAQELBQAwHDEaMBgGA1UEAwwRVGVz\n"
    "dCBJbnRlcm1lZGlhdGUwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBa\n"
    "MBkxFzAVBgNVBAMMDmNuLmV4YW1wbGUub3JnMFkwEwYHKoZIzj0CAQYIKoZIzj0D\n"
    "AQcDQgAE1gmVmUr11/QQP8YWbxZohCnz7Mamr9wAMKbhWDvFXXKg5+9RGvG88Sf7\n"
    "in+NTaRxAwql/2aeyTG0vT/hO59+3aNvMG0wCQYDVR0TBAIwADALBgNVHQ8EBAMC\n"
    "BaAwEwYDVR0lBAwwCgYIKwYBBQUHAwEwHQYDVR0OBBYEFOOCkerTUAHUPal912w4\n"
    "2qXDn/knMB8GA1UdIwQYMBaAFG0iPowJTRXoR27/r5/LAFBdFjnzMA0GCSqGSIb3\n"
    "DQEBCwUAA4IBAQBRxjBcbtnufB2mh8vI9p6IEmslvyHcf3dElporLoJAUQwALewO\n"
    "aW/6Oa4k57JMz0VS7wb9T0g+rhtRof/bz/Ue4Qv36YGAZdq5G2AsPD3UTilLvN/Z\n"
    "QgcracdPkv0G+Uwpbq62c/I5yKMHmbbaK75jQCNZ1etQ8cZD1huuZRWIOdGZzbgv\n"
    "ly0vwo78t6quQHWRCC0csP++ukrpC4KAksJLg1ZsWuLBwIo61041/rxWx9okB78E\n"
    "+WpL14D8yHS+PF/NWFLglmFfSJvF61g1TvTFVoKDY46tgUy2TWj+13E7+cKOVcxP\n"
    "hZQ1nhwb1AbzOCAOWZVRQNzfVeC0FDhfRpr/\n"
    "-----END CERTIFICATE-----\n";
const char key_common_name[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgHf1baUfTpLbNWBOO\n"
    "ORzvkspaM+nYRgU4ihxkeQhQo1GhRANCAATWCZWZSvXX9BA/xhZvFmiEKfPsxqav\n"
    "3AAwpuFYO8VdcqDn71Ea8bzxJ/uKf41NpHEDCqX/Zp7JMbS9P+E7n37d\n"
    "-----END PRIVATE KEY-----\n";
const char cert_client[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIICfDCCAWSgAwIBAgICEBYwDQYJKoZIhvcNAQELBQAwHDEaMBgGA1UEAwwRVGVz\n"
    "dCBJbnRlcm1lZGlhdGUwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBa\n"
    "MB0xGzAZBgNVBAMMEmNsaWVudC5leGFtcGxlLm9yZzBZMBMGByqGSM49AgEGCCqG\n"
    "SM49AwEHA0IABL1wd/6G7NdG6eWGu7eqKrD1VJA4uuxofmMlFYYj6BvYSa/kSzgr\n"
    "6qCRV9Ow+19Pw5+NM7pTDciQkTYdO03iOg+jgY8wgYwwCQYDVR0TBAIwADALBgNV\n"
    "HQ8EBAMCB4AwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RBBYwFIISY2xpZW50\n"
    "LmV4YW1wbGUub3JnMB0GA1UdDgQWBBRqvqz0A/dKkYwJE/UODx5SzbdtLzAfBgNV\n"
    "HSMEGDAWgBRtIj6MCU0V6Edu/6+fywBQXRY58zANBgkqhkiG9w0BAQsFAAOCAQEA\n"
    "FVbXx+k7m4hyBhjeAOat3AZ5aQBdzzwtWHGjjRJffos5Nn8iJ6rDnKOzZVYE5Nf7\n"
    "kDz2SDkMNE2cz46GcgcaeLUNCokqnjxRhgAS0jx4h5eUH0BIJ81PQMk9GN0+CeMX\n"
    "U/eBqwz/IlAHKmkRnuJZoYoufx8d4MftUdivLDxIrzR8Em9PFDYZf/3PH/KW8Et1\n"
    "rxU2jqz3RsGMFs6r0abumAnQaZFB++uO9cQcyfOOc1ucndl2YmQEOsooHi7NuU6h\n"
    "4ya+flMjrouaP88T4bgC40l1KUbLeHD3q9JCX76ZajPEhJ4xH8u2BpECwMZ6fjcB\n"
    "+aut0PQEoeSPf6y/y+evjA==\n"
    "-----END CERTIFICATE-----\n";
const char key_client[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgyl4P6BiDCy+Gq1IQ\n"
    "XI3tOOJbLGY3bCv5KoWudXzelgChRANCAAS9cHf+huzXRunlhru3qiqw9VSQOLrs\n"
    "aH5jJRWGI+gb2Emv5Es4K+qgkVfTsPtfT8OfjTO6Uw3IkJE2HTtN4joP\n"
    "-----END PRIVATE KEY-----\n";
const char key_encrypted[] =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
    "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhomX4Nj/1o3AICCAAw\n"
    "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEKk6VqTDc7m8Fv1qRd7xabgEgZCC\n"
    "kBuWr+DL7P1rGD5FnNPgVQqsbxid327NqOOp3rMuCmy61+TX39px6j5ZzBTOwSIn\n"
    "hfxah9IXypFII6kb2cGAOd02CEEEH6rwKo/p/HoK7LYGRRyZtFk1Gel34dkD7ULJ\n"
    "SfiSLe7J9gdBYbtXmhOhl+2Nv9oubblFyX9HHARijlI+q1J2hqUpmfC0RKh31ys=\n"
    "-----END ENCRYPTED PRIVATE KEY-----\n";
const unsigned char ocsp_mx_ecdsa[1106] = {
    0x30, 0x82, 0x04, 0x4e, 0x0a, 0x01, 0x00, 0xa0, 0x82, 0x04, 0x47, 0x30, 0x82, 0x04, 0x43, 0x06,
    0x09, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01, 0x04, 0x82, 0x04, 0x34, 0x30, 0x82,
    0x04, 0x30, 0x30, 0x81, 0xbd, 0xa1, 0x1e, 0x30, 0x1c, 0x31, 0x1a, 0x30, 0x18, 0x06, 0x03, 0x55,
    0x04, 0x03, 0x0c, 0x11, 0x54, 0x65, 0x73, 0x74, 0x20, 0x49, 0x6e, 0x74, 0x65, 0x72, 0x6d, 0x65,
    0x64, 0x69, 0x61, 0x74, 0x65, 0x18, 0x0f, 0x32, 0x30, 0x32, 0x36, 0x31, 0x31, 0x32, 0x32, 0x30,
    0x32, 0x32, 0x34, 0x31, 0x34, 0x5a, 0x30, 0x65, 0x30, 0x63, 0x30, 0x3b, 0x30, 0x09, 0x06, 0x05,
    0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14, 0x10, 0x1a, 0xed, 0x0f, 0xe7, 0x95, 0xde,
    0xc1, 0x82, 0x3c, 0xe5, 0xa4, 0x28, 0xec, 0x21, 0x09, 0xa2, 0x2c, 0x74, 0x63, 0x04, 0x14, 0x6d,
    0x22, 0x3e, 0x8c, 0x09, 0x4d, 0x15, 0xe8, 0x47, 0x6e, 0xff, 0xaf, 0x9f, 0xcb, 0x00, 0x50, 0x5d,
    0x16, 0x39, 0xf3, 0x02, 0x02, 0x10, 0x08, 0x80, 0x00, 0x18, 0x0f, 0x32, 0x30, 0x32, 0x36, 0x31,
    0x31, 0x32, 0x32, 0x30, 0x32, 0x32, 0x34, 0x31, 0x34, 0x5a, 0xa0, 0x11, 0x18, 0x0f, 0x32, 0x31,
    0x31, 0x39, 0x31, 0x32, 0x32, 0x35, 0x30, 0x32, 0x32, 0x34, 0x31, 0x34, 0x5a, 0xa1, 0x23, 0x30,
    0x21, 0x30, 0x1f, 0x06, 0x09, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x02, 0x04, 0x12,
    0x04, 0x10, 0x76, 0xdf, 0xc9, 0xdd, 0x36, 0x72, 0xe5, 0xfe, 0xe0, 0x59, 0xa4, 0x59, 0x4b, 0xf3,
    0xa7, 0xbe, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05,
    0x00, 0x03, 0x82, 0x01, 0x01, 0x00, 0x89, 0x8b, 0xe6, 0x49, 0xeb, 0x06, 0x24, 0x02, 0x62, 0x12,
    0xce, 0x6b, 0xdf, 0xbf, 0xe7, 0x3e, 0xff, 0x76, 0x55, 0xce, 0x30, 0xd5, 0xbf, 0x89, 0xae, 0xdc,
    0xb2, 0x76, 0x78, 0xd2, 0x79, 0x7a, 0x65, 0x3d, 0xfb, 0x1d, 0x3e, 0xb7, 0x7b, 0xbc, 0x94, 0x8e,
    0xa5, 0x2c, 0x10, 0xf3, 0xfd, 0xee, 0x37, 0xc9, 0x6c, 0x39, 0xf2, 0x18, 0x39, 0xcf, 0xc7, 0xda,
    0x46, 0x64, 0xfb, 0x3f, 0xc7, 0x63, 0xeb, 0x54, 0xcc, 0xd2, 0x77, 0xf2, 0xc9, 0xfc, 0xc0, 0x85,
    0x16, 0x01, 0xed, 0xec, 0x0e, 0xef, 0x3a, 0xf3, 0x61, 0x1f, 0x02, 0xca, 0x88, 0x5a, 0xd0, 0x66,
    0x1c, 0x2b, 0xf2, 0xb1, 0xc7, 0xab, 0xbc, 0x0f, 0x1d, 0x14, 0xac, 0xb6, 0xd6, 0x27, 0x0a, 0x30,
    0x53, 0x7f, 0xe2, 0x35, 0x22, 0x69, 0x86, 0x3c, 0xdc, 0x3b, 0x58, 0x9e, 0x49, 0xff, 0x6b, 0xf7,
    0xdb, 0xc3, 0xf6, 0x72, 0x9e, 0x44, 0xa4, 0x3e, 0x8a, 0xeb, 0xac, 0xdf, 0x6a, 0xba, 0x1a, 0x9c,
    0x2b, 0x68, 0x66, 0x42, 0x9c, 0xfc, 0x1f, 0x02, 0x36, 0xe8, 0xaf, 0xbd, 0xb5, 0x56, 0x22, 0x2c,
    0x1f, 0xb2, 0x85, 0xf9, 0xc7, 0x56, 0x60, 0xec, 0xbd, 0xd6, 0xfc, 0x89, 0x38, 0x18, 0x09, 0x18,
    0x09, 0x4a, 0x6b, 0x5d, 0x72, 0x7a, 0x01, 0x98, 0xf1, 0x07, 0xf7, 0x80, 0xe3, 0x95, 0x13, 0x9c,
    0x81, 0xfb, 0x38, 0xfd, 0x7b, 0xe1, 0x3a, 0x1a, 0x5e, 0xad, 0x8b, 0x93, 0x3c, 0xfd, 0x8e, 0xfb,
    0x3e, 0xf7, 0x0c, 0xdd, 0xbd, 0x8f, 0x94, 0xa6, 0x09, 0x6c, 0x46, 0x2f, 0x78, 0x30, 0x6e, 0x48,
    0x8a, 0x42, 0x2e, 0x1b, 0xdb, 0xcd, 0x08, 0x13, 0x05, 0x35, 0xcd, 0xf4, 0x44, 0xcc, 0x8e, 0xbf,
    0xc4, 0x88, 0xb1, 0xec, 0x10, 0xa1, 0x73, 0x5f, 0xc5, 0xcb, 0x49, 0x8c, 0x5c, 0xc9, 0xea, 0x30,
    0x48, 0x6e, 0x21, 0xcf, 0x91, 0xdc, 0xa0, 0x82, 0x02, 0x58, 0x30, 0x82, 0x02, 0x54, 0x30, 0x82,
    0x02, 0x50, 0x30, 0x82, 0x01, 0xf6, 0xa0, 0x03, 0x02, 0x01, 0x02, 0x02, 0x02, 0x10, 0x01, 0x30,
    0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02, 0x30, 0x14, 0x31, 0x12, 0x30,
    0x10, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x09, 0x54, 0x65, 0x73, 0x74, 0x20, 0x52, 0x6f, 0x6f,
    0x74, 0x30, 0x20, 0x17, 0x0d, 0x32, 0x30, 0x30, 0x31, 0x30, 0x31, 0x30, 0x30, 0x30, 0x30, 0x30,
    0x30, 0x5a, 0x18, 0x0f, 0x32, 0x31, 0x32, 0x30, 0x30, 0x31, 0x30, 0x31, 0x30, 0x30, 0x30, 0x30,
    0x30, 0x30, 0x5a, 0x30, 0x1c, 0x31, 0x1a, 0x30, 0x18, 0x06, 0x03, 0x55, 0x04, 0x03, 0x0c, 0x11,
    0x54, 0x65, 0x73, 0x74, 0x20, 0x49, 0x6e, 0x74, 0x65, 0x72, 0x6d, 0x65, 0x64, 0x69, 0x61, 0x74,
    0x65, 0x30, 0x82, 0x01, 0x22, 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01,
    0x01, 0x01, 0x05, 0x00, 0x03, 0x82, 0x01, 0x0f, 0x00, 0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01,
    0x01, 0x00, 0xb1, 0x7d, 0x45, 0x54, 0x8b, 0x9e, 0x57, 0x88, 0x6f, 0x4f, 0x2a, 0x85, 0x2b, 0x75,
    0x4f, 0xc0, 0x72, 0xee, 0x28, 0xa6, 0x45, 0xb1, 0xb5, 0x26, 0x3b, 0x03, 0xa2, 0xa2, 0xba, 0xbe,
    0x59, 0xed, 0x58, 0xfe, 0x74, 0xcd, 0x3d, 0x55, 0xff, 0x5d, 0x0e, 0xe8, 0x50, 0x4c, 0x72, 0x08,
    0x0d, 0x63, 0x09, 0x66, 0x1f, 0xe0, 0x96, 0x13, 0xfd, 0x8b, 0xe9, 0xfa, 0x2b, 0x18, 0x9a, 0x2f,
    0x69, 0xcf, 0x5f, 0x24, 0x54, 0x53, 0x38, 0x37, 0xc9, 0x71, 0x46, 0xaf, 0xa9, 0x82, 0x6c, 0xc0,
    0x54, 0x54, 0xd2, 0x2d, 0xa6, 0x55, 0xcf, 0x79, 0xe0, 0x74, 0xfb, 0x12, 0x5e, 0xc9, 0x92, 0xd2,
    0x4f, 0x38, 0x72, 0x2c, 0x23, 0xc7, 0x46, 0x09, 0x06, 0xf5, 0xa6, 0x64, 0x06, 0x0b, 0x43, 0xe4,
    0x62, 0x2d, 0xe9, 0x4c, 0x64, 0xf0, 0x18, 0xb1, 0xa3, 0x0e, 0xb8, 0x68, 0xe2, 0x47, 0x7c, 0x66,
    0xe1, 0x87, 0xa4, 0xb9, 0x73, 0xc7, 0x30, 0x0b, 0x83, 0xb4, 0xbd, 0x2e, 0x91, 0x85, 0x7a, 0xea,
    0x19, 0x7a, 0x60, 0xa0, 0xf8, 0xc6, 0x89, 0x55, 0x75, 0x16, 0x3e, 0xe8, 0x6e, 0x8d, 0xbb, 0x41,
    0x82, 0x23, 0xcf, 0x43, 0x42, 0x60, 0x89, 0x73, 0x7d, 0xa0, 0x86, 0x03, 0x2b, 0x88, 0xb7, 0xce,
    0x23, 0x28, 0xb6, 0xe9, 0xef, 0x11, 0x92, 0x51, 0x70, 0x4c, 0x8c, 0x1a, 0xbd, 0x8c, 0x77, 0xcc,
    0x07, 0x34, 0x73, 0xac, 0x13, 0xc8, 0xef, 0xe4, 0x18, 0xe0, 0xad, 0x15, 0x41, 0x72, 0x67, 0xd0,
    0x7e, 0x63, 0x5c, 0xf2, 0x5b, 0xde, 0x95, 0x70, 0x65, 0xbe, 0xff, 0xda, 0x86, 0xfb, 0x85, 0xfb,
    0xf0, 0xe0, 0xea, 0xb2, 0x99, 0xa5, 0x6d, 0x0b, 0xf2, 0xb7, 0x65, 0x15, 0x3b, 0x35, 0x97, 0xa1,
    0x38, 0x9b, 0x77, 0x0a, 0x15, 0x9d, 0x59, 0x3f, 0x3e, 0x22, 0xa2, 0xb1, 0x1a, 0xdf, 0x60, 0xb9,
    0xc2, 0xc5, 0x02, 0x03, 0x01, 0x00, 0x01, 0xa3, 0x63, 0x30, 0x61, 0x30, 0x0f, 0x06, 0x03, 0x55,
    0x1d, 0x13, 0x01, 0x01, 0xff, 0x04, 0x05, 0x30, 0x03, 0x01, 0x01, 0xff, 0x30, 0x0e, 0x06, 0x03,
    0x55, 0x1d, 0x0f, 0x01, 0x01, 0xff, 0x04, 0x04, 0x03, 0x02, 0x01, 0x06, 0x30, 0x1d, 0x06, 0x03,
    0x55, 0x1d, 0x0e, 0x04, 0x16, 0x04, 0x14, 0x6d, 0x22, 0x3e, 0x8c, 0x09, 0x4d, 0x15, 0xe8, 0x47,
    0x6e, 0xff, 0xaf, 0x9f, 0xcb, 0x00, 0x50, 0x5d, 0x16, 0x39, 0xf3, 0x30, 0x1f, 0x06, 0x03, 0x55,
    0x1d, 0x23, 0x04, 0x18, 0x30, 0x16, 0x80, 0x14, 0xaf, 0x58, 0x79, 0x86, 0x54, 0xe0, 0x76, 0x84,
    0x8c, 0xba, 0x2e, 0xf4, 0x85, 0x26, 0x08, 0x74, 0x5f, 0xfe, 0x2e, 0xfe, 0x30, 0x0a, 0x06, 0x08,
    0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02, 0x03, 0x48, 0x00, 0x30, 0x45, 0x02, 0x20, 0x71,
    0x77, 0xb0, 0x69, 0x30, 0x89, 0x9b, 0x3a, 0xf7, 0xe6, 0xe9, 0x89, 0xd2, 0xaa, 0xdc, 0xba, 0x9b,
    0x10, 0xc4, 0x61, 0xc8, 0xd8, 0x9f, 0xc9, 0xf4, 0xed, 0x43, 0xc9, 0xfe, 0xdf, 0xef, 0x5b, 0x02,
    0x21, 0x00, 0x99, 0x29, 0x73, 0x72, 0x41, 0xd2, 0x0f, 0x33, 0x68, 0x71, 0x8f, 0x8e, 0x7c, 0xcc,
    0x7f, 0x74, 0xa1, 0xaf, 0xff, 0x4b, 0xf2, 0x2b, 0x14, 0x0b, 0x9a, 0x50, 0x9e, 0xd5, 0xe8, 0x41,
    0x63, 0xb9,
};
