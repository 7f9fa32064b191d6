/* Made by make_certs.py. Keys for tests, known to everybody. */
#include "tls_certs.h"

// clang-format off
const char cert_root[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBXTCCAQKgAwIBAgICEAAwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJVGVzdCBS\n"
    "b290MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAUMRIwEAYDVQQD\n"
    "DAlUZXN0IFJvb3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASSbrKwz5GgxqD+\n"
    "q59XgedInlhjWdVw/W83Oi2rzX9mbZpQAhgicXhmMAhbqNDC/ZiyuoAzqUglel4X\n"
    "TVz/OeLHo0IwQDAPBgNVHRMBAf8EBTADAQH/MA4GA1UdDwEB/wQEAwIBBjAdBgNV\n"
    "HQ4EFgQUq5DI8nmLAeHu972H6kBkUFvwEpkwCgYIKoZIzj0EAwIDSQAwRgIhAOa9\n"
    "gcbVIBJ4SBSkTclKdaZ6mctSgBmuS0wJdynlE/OvAiEAq3uR1h+7uczZKcAelgbv\n"
    "f11PGuSC2aRsYWad3HvSeRU=\n"
    "-----END CERTIFICATE-----\n";
const char key_root[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgfSTt2gHiNDe/y+mA\n"
    "ol8dtWK/CcVT6Bfs5WMtzXJ04+mhRANCAASSbrKwz5GgxqD+q59XgedInlhjWdVw\n"
    "/W83Oi2rzX9mbZpQAhgicXhmMAhbqNDC/ZiyuoAzqUglel4XTVz/OeLH\n"
    "-----END PRIVATE KEY-----\n";
const char cert_middle[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIICUTCCAfagAwIBAgICEAEwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJVGVzdCBS\n"
    "b290MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAcMRowGAYDVQQD\n"
    "DBFUZXN0IEludGVybWVkaWF0ZTCCASIwDQYJKoZIhvcNAQEBBQADggEPADCCAQoC\n"
    "ggEBAMgheY4x96G0cq74Iu8dTTTm1uZ9PIdxtpjmFfZB68bqRpF6/R1AFaeV2tiJ\n"
    "l4tYb+ybgQMBRxnnXfRJzP3vfuIIgW9XuphSxr1yfCT6XQz8QM+KufhbrED/5o25\n"
    "w+sJbsBUl0IlqUbFd0G1Wk2BGwKrFLYm9xsnRM9Nz1Tk1dqhANRX17isN5vEuCDS\n"
    "BbizRLvCgoXOj+g47RFBJi4h7+UprSUnwamWlsuX8J3N4Fy3j7yMYdXDEnMDyyJ1\n"
    "MeUJYsLX5MpkdfM2X/0bRnyZAOriqLIbUfSHMfvl1YmI6hyMjP8VHy9C8JNPp96f\n"
    "cQD1ICfN/mVfw/R9S7TQ1oiKcTkCAwEAAaNjMGEwDwYDVR0TAQH/BAUwAwEB/zAO\n"
    "BgNVHQ8BAf8EBAMCAQYwHQYDVR0OBBYEFC+gIbI8yn8wINc/bn1T6EZGGhS5MB8G\n"
    "A1UdIwQYMBaAFKuQyPJ5iwHh7ve9h+pAZFBb8BKZMAoGCCqGSM49BAMCA0kAMEYC\n"
    "IQDlOB1C8n+p2S/UYQLAGNAAzu6ziREJKXsa245WeUeEmwIhANLDJ1qPg0LEkshr\n"
    "tdIvE8J5qs5dJb1GIoxYR5ib1egV\n"
    "-----END CERTIFICATE-----\n";
const char key_middle[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQDIIXmOMfehtHKu\n"
    "+CLvHU005tbmfTyHcbaY5hX2QevG6kaRev0dQBWnldrYiZeLWG/sm4EDAUcZ5130\n"
    "Scz9737iCIFvV7qYUsa9cnwk+l0M/EDPirn4W6xA/+aNucPrCW7AVJdCJalGxXdB\n"
    "tVpNgRsCqxS2JvcbJ0TPTc9U5NXaoQDUV9e4rDebxLgg0gW4s0S7woKFzo/oOO0R\n"
    "QSYuIe/lKa0lJ8GplpbLl/CdzeBct4+8jGHVwxJzA8sidTHlCWLC1+TKZHXzNl/9\n"
    "G0Z8mQDq4qiyG1H0hzH75dWJiOocjIz/FR8vQvCTT6fen3EA9SAnzf5lX8P0fUu0\n"
    "0NaIinE5AgMBAAECggEAAMfK7I8tCeX3iIZJMk3NqbPdUmPsou6Uu9p6/XHa7/Sl\n"
    "EhdPHs9d4a4jNaCuBQoXraT2K7D43rlrQWDETJijyL66UVj7PAP6DQCCAW3Eg/wE\n"
    "/UEP9E+PNWf3x8VsHJisrXZ5RayfERYDw3iMlAfwbgapoCg4vi9dclReEHlm1c7+\n"
    "A6Y6lknNQDn37m24bNmlWKozesTLVvndBrbNiwdIXR5j0+lQx5IxoEHsZsw+1J5s\n"
    "cg+xATZEIg8/oWb6aNfyPZ3U36gzZOafswppjjb1V56xKf5h3bAT37H2564JCfbm\n"
    "cgFzwA+0Rz/3G5rgKM07/jOApMcnwDE47mgAYsX8DQKBgQDvE/qjdyT4WcWFzKvM\n"
    "TaZlhq7VSntg8DIE+GcbS1uOFaDcckVVI8R0SMnugGzOF8ILxLKpEqcBUsQOWpUX\n"
    "hjckdZhNIrQY82Tv0hsX7aJcwtBG7iimq41E3eCV2Fce2v2gPbh6mJV2w2tFA55X\n"
    "IFhr52iYdOMy84UKPQIx0Qqh+wKBgQDWS8hu1j7fWtGtR8M0aR5rRiEgT8y0/oyO\n"
    "gzNdDJcyVG6J/kvENiSBEzYYSanZvTEfUJOJx7QeiXjbd4+VwVg9mE1EmU4BLCj8\n"
    "BfhJZ6tjCmqaUTWixauE4l455TLKinSdJQ9UOezQSdpMGrLrjRQb/Vwb9rKzJFdv\n"
    "M54OQu8HWwKBgQDDURoxk7PTZVvWbJhqB4IKbZbFz9yuHG1w3BM4HD+G+6p4jq6P\n"
    "2PG1YoX+YFMDqCsyfBbNw9xGW3yqkVw+ZLsGAUBUvCZQQABVYNwbl1tO1yVa3VS+\n"
    "nWaDPZUuNhkurxAHaoUdOyzYYtxu/H7OhTFXri0oaE35ITOuYps5YaODIwKBgDNq\n"
    "Q1C0fqlANQaKLT+p6O58CP6jps3WNQsMV4p/ttcQguUA6lTNWLzPSy9QnTvstJh6\n"
    "0KtCCuk4upKNgRnBJdbBb+iBj8GgQsUU+ZlDEk/U8/bKfT/shVaAqXLilukZhxkd\n"
    "ByyCKVtgHMwdq8fwNV7xzuO2sPFiSsgXblilnov5AoGBAICyF+M9zNU+yHZeZAd9\n"
    "ZhRT/5mKqvkCqpF9N+tyS+MngkdPfbO9HqtBD0HskZaOomalP25oZ6UwD9wHTsyk\n"
    "bnyRENVnboaMVKoOFasf/Bod8Pm9pD1FAzLTN+/w3iSuodeSYNXqLz9ocR9b6Rxi\n"
    "q/UzP0HhHHD9tHjlCi6APcRe\n"
    "-----END PRIVATE KEY-----\n";
const char cert_stranger[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBnzCCASWgAwIBAgICEAIwCgYIKoZIzj0EAwIwFzEVMBMGA1UEAwwMVW5rbm93\n"
    "biBSb290MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAXMRUwEwYD\n"
    "VQQDDAxVbmtub3duIFJvb3QwdjAQBgcqhkjOPQIBBgUrgQQAIgNiAAQN+FMUb37j\n"
    "lUJTtfF3pynjryiXiVTSydlar5hQ/nGYYI9jlSsRKC3wX4xZORINbm2Y22vEdH1t\n"
    "80s8HcPVT6AyEluRl4LT3m7aD+g1u32Uqm6O8SjUN6jHuIXdrd+hhxyjQjBAMA8G\n"
    "A1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgEGMB0GA1UdDgQWBBR61yj0ErRF\n"
    "1baOf294WdU+cbiWtTAKBggqhkjOPQQDAgNoADBlAjBkHfAH5U6sUgxwXaKD+wfR\n"
    "qUcxocnCB2qANUbZNNbUer/4WzlAJRD7K8o9n1ly4SgCMQDixMqLzPzXqCn3kQ/b\n"
    "8dyOSCW655M+hRn1dB1I85qNVXsDLmQ8HxnMqlGgu5SJyQs=\n"
    "-----END CERTIFICATE-----\n";
const char key_stranger[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDBTLawVjUJboKl3gEFl\n"
    "HrhEAkPvhTOe3mR0cgYjldFC9ZSRTJfdtZNrnjhWPc7kCOuhZANiAAQN+FMUb37j\n"
    "lUJTtfF3pynjryiXiVTSydlar5hQ/nGYYI9jlSsRKC3wX4xZORINbm2Y22vEdH1t\n"
    "80s8HcPVT6AyEluRl4LT3m7aD+g1u32Uqm6O8SjUN6jHuIXdrd+hhxw=\n"
    "-----END PRIVATE KEY-----\n";
const char cert_short[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBiDCCAS6gAwIBAgICEAMwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJVGVzdCBS\n"
    "b290MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAcMRowGAYDVQQD\n"
    "DBFTaWducyBsZWF2ZXMgb25seTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABD+D\n"
    "S6PycYB96s8lBhpSArK0s9rV/14ljg/xvfjFfneY/PVbidqVzh2TWH3ibPBAfTAD\n"
    "6bEP7wgqxmmwmtfA6DWjZjBkMBIGA1UdEwEB/wQIMAYBAf8CAQAwDgYDVR0PAQH/\n"
    "BAQDAgEGMB0GA1UdDgQWBBSL3hBAtYg01ZMWA2K6Udet7tYoZTAfBgNVHSMEGDAW\n"
    "gBSrkMjyeYsB4e73vYfqQGRQW/ASmTAKBggqhkjOPQQDAgNIADBFAiEAt0Tq5Wnm\n"
    "nPMNG3F/KdYgYoWINEIyVc5S9qCmSaPUf5YCICgerTllDgpPvuGlIaYIVmSNdmm7\n"
    "ZAY2dY6JzDo1yxBy\n"
    "-----END CERTIFICATE-----\n";
const char key_short[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgvHHJ8pzD/765hTm5\n"
    "M0zP/ESeYXD2QDqz/3mjTR7K8O2hRANCAAQ/g0uj8nGAferPJQYaUgKytLPa1f9e\n"
    "JY4P8b34xX53mPz1W4nalc4dk1h94mzwQH0wA+mxD+8IKsZpsJrXwOg1\n"
    "-----END PRIVATE KEY-----\n";
const char cert_below[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBgTCCASegAwIBAgICEAQwCgYIKoZIzj0EAwIwHDEaMBgGA1UEAwwRU2lnbnMg\n"
    "bGVhdmVzIG9ubHkwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBAx\n"
    "DjAMBgNVBAMMBUJlbG93MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEmovxgJOd\n"
    "Jpusb/nxb41++V1nzOmC4vUUUOEtt2M5JyI9jELjTP2RoioemFTs3KQ/oFKOaRZy\n"
    "opmLqVmf2Ekn7qNjMGEwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAQYw\n"
    "HQYDVR0OBBYEFKgZoSEkPX5H2c6gfqg4JFodk8peMB8GA1UdIwQYMBaAFIveEEC1\n"
    "iDTVkxYDYrpR163u1ihlMAoGCCqGSM49BAMCA0gAMEUCIBeEGbwkEY+lqXe/R6Eq\n"
    "EjAOOvPLpNb+gXr9/YgOb5rpAiEAv82UirJKlB9DyAhoaWyI/+FLjYOoEKldgd6s\n"
    "yke128w=\n"
    "-----END CERTIFICATE-----\n";
const char key_below[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg0BEICYgDFdcpqPDz\n"
    "tZ83KYmSP4qXAD3aoVqQo87H6ZWhRANCAASai/GAk50mm6xv+fFvjX75XWfM6YLi\n"
    "9RRQ4S23YzknIj2MQuNM/ZGiKh6YVOzcpD+gUo5pFnKimYupWZ/YSSfu\n"
    "-----END PRIVATE KEY-----\n";
const char cert_fenced[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBmjCCAUGgAwIBAgICEAUwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJVGVzdCBS\n"
    "b290MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjARMQ8wDQYDVQQD\n"
    "DAZGZW5jZWQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAR/31tYHrOAxjd6xdyp\n"
    "jWIWHpvc2bvIH7mA52rIVC1a0enXCtMlx/cB768g2sMS44B3W/Nf2zNAxy6pkZVz\n"
    "24HUo4GDMIGAMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgEGMB0GA1Ud\n"
    "HgEB/wQTMBGgDzANggtleGFtcGxlLmNvbTAdBgNVHQ4EFgQUpsp06253HD+9Iel6\n"
    "yJAZAQlS3tgwHwYDVR0jBBgwFoAUq5DI8nmLAeHu972H6kBkUFvwEpkwCgYIKoZI\n"
    "zj0EAwIDRwAwRAIgeCXe33urqx4pAW75gLWAH/GGzBx808e/HJMC1xUiKpUCIDHr\n"
    "TMb79Il9JvETSMQ85Z056x2tNrxwl/oI2Xqm4kar\n"
    "-----END CERTIFICATE-----\n";
const char key_fenced[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg8rYL1Yq6aUx/Z/78\n"
    "SHadpxWX7b+ag6M2eEgwszJ2N1mhRANCAAR/31tYHrOAxjd6xdypjWIWHpvc2bvI\n"
    "H7mA52rIVC1a0enXCtMlx/cB768g2sMS44B3W/Nf2zNAxy6pkZVz24HU\n"
    "-----END PRIVATE KEY-----\n";
const char cert_dead[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBgzCCASmgAwIBAgICEAYwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJVGVzdCBS\n"
    "b290MB4XDTIwMDEwMTAwMDAwMFoXDTIxMDEwMTAwMDAwMFowHDEaMBgGA1UEAwwR\n"
    "RGVhZCBJbnRlcm1lZGlhdGUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATr1GrC\n"
    "u2/ENcRga/u8A5bAt1mUpQV5yU+CBSt7i7GNV8b1bc/+t97SvjrIAsVbQW0OikDl\n"
    "rCg5s9oe0EV22EGOo2MwYTAPBgNVHRMBAf8EBTADAQH/MA4GA1UdDwEB/wQEAwIB\n"
    "BjAdBgNVHQ4EFgQUo0yzVl5rlJcNqhwwWeS85r58ysYwHwYDVR0jBBgwFoAUq5DI\n"
    "8nmLAeHu972H6kBkUFvwEpkwCgYIKoZIzj0EAwIDSAAwRQIhAIozxOLHNyGFxtuo\n"
    "rnva/GychUhygPzgNjnjvsm45RyeAiAxC1Mvt4vgwctBAkkyjSpB6yOZhlehoayv\n"
    "Tny6ItV6bg==\n"
    "-----END CERTIFICATE-----\n";
const char key_dead[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg4iLQr7MlzZ4bvSQk\n"
    "b62ScI81s0jKMnRj1ElDZhLAvwihRANCAATr1GrCu2/ENcRga/u8A5bAt1mUpQV5\n"
    "yU+CBSt7i7GNV8b1bc/+t97SvjrIAsVbQW0OikDlrCg5s9oe0EV22EGO\n"
    "-----END PRIVATE KEY-----\n";
const char cert_mx_rsa[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIDUzCCAjugAwIBAgICEAcwDQYJKoZIhvcNAQELBQAwHDEaMBgGA1UEAwwRVGVz\n"
    "dCBJbnRlcm1lZGlhdGUwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBa\n"
    "MBkxFzAVBgNVBAMMDm14LmV4YW1wbGUub3JnMIIBIjANBgkqhkiG9w0BAQEFAAOC\n"
    "AQ8AMIIBCgKCAQEAolfmmMeATExvSwDdiC110j5bZ+ZtLfpS8FXGc0Zr3AgEK/kh\n"
    "sAak4h93MRRCaFJrfU3r1z6X8cgQfnvxVj54M8SReO6Pdh//wVulpzXeQ/ZL5YFF\n"
    "6unuXQkKrYPX7Qsya0khSyitHr/mvQhAqAu79IzR/XkPO6Cxd/in2ZqDKml9IdUP\n"
    "W08CpgouISTpachmOXw2Z4UTgFPKvqAv5OhEXuIBbr/dayjlLWxVwGwybXH17OIx\n"
    "PWsqWhEYEcnyGpWsgHfzbNoB0EUrYBWOhpQ3UdrV1SKuea+Omy64kpfuLujtDHTR\n"
    "naYysjyixflNiLepiNl8tJkkPMq8V2HEvPw7SwIDAQABo4GfMIGcMAkGA1UdEwQC\n"
    "MAAwCwYDVR0PBAQDAgWgMBMGA1UdJQQMMAoGCCsGAQUFBwMBMC0GA1UdEQQmMCSC\n"
    "Dm14LmV4YW1wbGUub3JnghIqLndpbGQuZXhhbXBsZS5vcmcwHQYDVR0OBBYEFMue\n"
    "dxLT49gRsurGKd2TQVvL1TMnMB8GA1UdIwQYMBaAFC+gIbI8yn8wINc/bn1T6EZG\n"
    "GhS5MA0GCSqGSIb3DQEBCwUAA4IBAQClY8TxIAOB1WOGquBRXKfqQEzhxuHANb5p\n"
    "yxe+yye8GyRky8Eq9EHECCOfICb5YWNm9qogoSMu5rSUi8jGdQmOF3r+eMOuTrQH\n"
    "CVvWAzJkzQXWm7rnJXCJER6d+851Y/Vws6YCVTkdLGKjt2/+VpN6BKZq+Xn8KO/1\n"
    "xwwqggptRqSN6X4MW6VC6mVjwFetYEBZfNJ8K40jXqVmSny5MWgGw+XQsieaE4KI\n"
    "sSlHfuheDJ/aUAysiMstFozr39i0HMJNf/FLsDrgE7OfN3tRRtFRkkzPuBdJTFdy\n"
    "7j0BVMpNTD3qnGRV89KsH8nT/DFKeVQLInw2ZI4QZYFRanmps+nD\n"
    "-----END CERTIFICATE-----\n";
const char key_mx_rsa[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCiV+aYx4BMTG9L\n"
    "AN2ILXXSPltn5m0t+lLwVcZzRmvcCAQr+SGwBqTiH3cxFEJoUmt9TevXPpfxyBB+\n"
    "e/FWPngzxJF47o92H//BW6WnNd5D9kvlgUXq6e5dCQqtg9ftCzJrSSFLKK0ev+a9\n"
    "CECoC7v0jNH9eQ87oLF3+KfZmoMqaX0h1Q9bTwKmCi4hJOlpyGY5fDZnhROAU8q+\n"
    "oC/k6ERe4gFuv91rKOUtbFXAbDJtcfXs4jE9aypaERgRyfIalayAd/Ns2gHQRStg\n"
    "FY6GlDdR2tXVIq55r46bLriSl+4u6O0MdNGdpjKyPKLF+U2It6mI2Xy0mSQ8yrxX\n"
    "YcS8/DtLAgMBAAECggEAD+/fJF/EDuQbXNqV5NjJoz0Z42ZHO5HtHcjd4CfT+NgU\n"
    "nhh+n8rXLuz12iyUpFcgVD8XsvFjIIo1DFBbOHiOJk7av8DI9p4HkSd6aKLXfLEr\n"
    "cY6yRXB3mkyD7tVtl3NXnMP4xRRrglmbwNzpiVW1kDlZeAUFY3jP/ei8LuwwijOE\n"
    "D49PlDwYHDQZdd4bzeRxqZ8V0RClNkovARkF+EN7vnp1fevuxufrZblCbylWgBAI\n"
    "X0rvQtZmdOnkjeteprWyKq3dApmD137Se79zH+MHTkQ9qPutIq4MvjGa3SZDhkYI\n"
    "5M6UVxyzFv3PzPp+t4trXBQIaW3E7/1CDliZHb4leQKBgQDdfp6wz3N59FHSP8Ug\n"
    "pDGNHYDr2d1L1gU8pkKeJ04+GePlT62WBEOpn/NY6sMUkkhgpDiWxD8WuDxvN01t\n"
    "qp8ve8eprwHL8L+e8w+qFYyv4biJ0O1ofqnjztZFbyn6GQX7muO7tL8h8cIx6E2H\n"
    "u6/PDuidzoOCGnlU/92jRyBo7QKBgQC7okhLz0oLpZNd8AH78U8wg3lUp3lz2vtN\n"
    "HnqZvYs42FDxJUMI1LQKDc+sB43OoVNLAhn2qgWnWWXS63C0DOWRp530+BBgmDrq\n"
    "Uo02WAjmmwh5x7MZnO+y/EQkFYYy7vLurYaWl4QLf5+WTdRD4ftPVcTQ8L2/ZzAY\n"
    "2cBlK6pGFwKBgCPA87bQ1fAiuy54MsbxGjqQP6ZStcEvHAtNP0WuTJgDr+DtOrUT\n"
    "nSR9eFerFbB1aI+JEsVrik+Nj9vYDnycZTPSBEnkwSJ9i0EKNUYcUmh1xEci3Z/X\n"
    "im8GjVoJ9rmzXl7eAtLi+1NsZg+OUy2M43VGD9ChbGMNCPbqkolvytCFAoGBAJB8\n"
    "PLOz4c7qJ3q0sLJzdYlkFHAtroaaX91Y1QvCO40AdgPbr60DLch4LizIfFhbPiqK\n"
    "abfZ4RSm8JPknRrou3bX3fifdO0NDIEYJIlubRw20eYE81OL18C6JTasJHTgL82/\n"
    "bd5UumeoVRmGwSeswrqqzy4d09+p9A2O0GqXnzztAoGAW900l8wBqDuWabm4E8Sh\n"
    "edg6315jvqQv8bYt+esCuLv4IyZRS6Y2rUkZPAHtZCI8GZhdSPW1d47DnW7rMc0F\n"
    "4uhbppTa7em/ewvAov8o/oNGl1STFO5YhoKWg8/8wzVRBklAiKVNx0nayMEt0+zV\n"
    "p8PWtEgn0qfKYvR1rC3Dn0c=\n"
    "-----END PRIVATE KEY-----\n";
const char cert_mx_ecdsa[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIICiDCCAXCgAwIBAgICEAgwDQYJKoZIhvcNAQELBQAwHDEaMBgGA1UEAwwRVGVz\n"
    "dCBJbnRlcm1lZGlhdGUwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBa\n"
    "MBkxFzAVBgNVBAMMDm14LmV4YW1wbGUub3JnMFkwEwYHKoZIzj0CAQYIKoZIzj0D\n"
    "AQcDQgAEkvtc1RG9X+kmZOypP8AfmLf/EJWQGWq5qg60edVj1prm/4ywtLCotjA7\n"
    "bkrqOARg89vU+1Hi38X20ZmipA8XR6OBnzCBnDAJBgNVHRMEAjAAMAsGA1UdDwQE\n"
    "AwIFoDATBgNVHSUEDDAKBggrBgEFBQcDATAtBgNVHREEJjAkgg5teC5leGFtcGxl\n"
    "Lm9yZ4ISKi53aWxkLmV4YW1wbGUub3JnMB0GA1UdDgQWBBSKg4uKbkga4qe1kqum\n"
    "Ckc0VO5kAzAfBgNVHSMEGDAWgBQvoCGyPMp/MCDXP259U+hGRhoUuTANBgkqhkiG\n"
    "9w0BAQsFAAOCAQEAYzkq4d2ElVHGhYH/HkoUJoWOOEzsw1+g5v+yq8xVz+ffcIAf\n"
    "5Rb+y68DU5e675c2m9ZLoCibat94ZzZfnz8Nhsa/vg3qfYXGlH88zBsnVQ6ZsNR3\n"
    "GWiIC9K81IY/eTNGEUmlls6IMmGNy6w4jUzJbBtxZ0YDhV1if4FxF7t/LORyr7fN\n"
    "1MkgLCvBvKy+F2Mt2ZoOHjuLuxbQ7N5RqNmGwMBVIyI1AHmiNe47Lxls1zg2IIqH\n"
    "aWRjVEgoUf+OGFKNATNJLoEJM4VGqdtd3zwdvI9rn4SCgrgeb7Mn8vAksWiVNYHz\n"
    "w13mgKIPfcyLNk9DuW705eVmXeYEzY6yuQTQrw==\n"
    "-----END CERTIFICATE-----\n";
const char key_mx_ecdsa[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgcVms0VwK4kzIX0BD\n"
    "stgljnogb3fWnt+WGVsstw95CJ+hRANCAASS+1zVEb1f6SZk7Kk/wB+Yt/8QlZAZ\n"
    "armqDrR51WPWmub/jLC0sKi2MDtuSuo4BGDz29T7UeLfxfbRmaKkDxdH\n"
    "-----END PRIVATE KEY-----\n";
const char cert_mx_ed25519[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBkDCCATagAwIBAgICEAkwCgYIKoZIzj0EAwIwFDESMBAGA1UEAwwJVGVzdCBS\n"
    "b290MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAZMRcwFQYDVQQD\n"
    "DA5teC5leGFtcGxlLm9yZzAqMAUGAytlcAMhAMzgMYGAZy3YqT7kuHWRnjxX5eOT\n"
    "2smY6nsZpXyMP1Vqo4GfMIGcMAkGA1UdEwQCMAAwCwYDVR0PBAQDAgWgMBMGA1Ud\n"
    "JQQMMAoGCCsGAQUFBwMBMC0GA1UdEQQmMCSCDm14LmV4YW1wbGUub3JnghIqLndp\n"
    "bGQuZXhhbXBsZS5vcmcwHQYDVR0OBBYEFMu9ViPlA/rlE4popEgFtsqhwzbwMB8G\n"
    "A1UdIwQYMBaAFKuQyPJ5iwHh7ve9h+pAZFBb8BKZMAoGCCqGSM49BAMCA0gAMEUC\n"
    "IFc/6efOa9qrlrIN+t48i8MYsn2dzNfsk0tV/nKpO5SOAiEAmkMQirJrEmO5G+2b\n"
    "/0dM8kChQfC9P7CUUH3aS6oBZMA=\n"
    "-----END CERTIFICATE-----\n";
const char key_mx_ed25519[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIOBb6VCBTxdlYSUhPmdYUohU4XS4/KJ/2l/0r/yE+Mid\n"
    "-----END PRIVATE KEY-----\n";
const char cert_mx_rsa4096[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIEUzCCAzugAwIBAgICEAowDQYJKoZIhvcNAQELBQAwHDEaMBgGA1UEAwwRVGVz\n"
    "dCBJbnRlcm1lZGlhdGUwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBa\n"
    "MBkxFzAVBgNVBAMMDm14LmV4YW1wbGUub3JnMIICIjANBgkqhkiG9w0BAQEFAAOC\n"
    "Ag8AMIICCgKCAgEAmF19k28vjxeS1JjNrVQvmQAuSe9iJhmLED12dXxhhpcJS2Wg\n"
    "FUf9+0nafWXEjQ38KaAwpugctYPsnv6ay021A3gLUesvpI+MjgYaZgypPlV6rXmt\n"
    "a133Dq/tDzbtRZRnjTgsPu71U4As72QDOLRg+8B+H00hVQePyVJO6sKz+jdOILdP\n"
    "3YZAh9mJntI9hwJt1q4BTCpp0FHsVfiX54ILXIJj4gV/SRwMaF6uic2AHZO3bokP\n"
    "wGoQUSlhAlk7urz5RC6T3kkVtIgcFN8HgYk0VPBNenwmJfixNDTZVlY2O464RJkv\n"
    "FyXAuxXuS/0dOyKmX3QjJNhl6wZ01aF4tOkAS+rOfL+Y2qT0YQGco+QXe3QPR2Dw\n"
    "ErrMsqvhHVs3DcOgOqt23Ee2H6GI59Lq11H96+j/sE3blNjSIqSC0FUq/Plq5OWf\n"
    "J8M4P9PHhNmB95iMWqc6Vq85BgsOsg0Ak5zi3GgkWzDijpRWWqDXQoMi5jIDU+o+\n"
    "b0AzOQ3K5Zp6ExCxpQArj4b/Xk0kmXz6Tuo9OVBP8S91FUzT8m9K5fdgKbjIl9v+\n"
    "Ucc9fQbE6YtnfA8A7fxuttG/mEYI3QqTJ8n2QEDVn6t4o0NfJWPe/P3Ul5vgirmG\n"
    "dRH0139wJFnkULTgvrMOfssy8VRvHEvlcD+caReHnFfIhI/uFvienFS+kwUCAwEA\n"
    "AaOBnzCBnDAJBgNVHRMEAjAAMAsGA1UdDwQEAwIFoDATBgNVHSUEDDAKBggrBgEF\n"
    "BQcDATAtBgNVHREEJjAkgg5teC5leGFtcGxlLm9yZ4ISKi53aWxkLmV4YW1wbGUu\n"
    "b3JnMB0GA1UdDgQWBBRQDPEYasThyqrMPvFavdLN82JatTAfBgNVHSMEGDAWgBQv\n"
    "oCGyPMp/MCDXP259U+hGRhoUuTANBgkqhkiG9w0BAQsFAAOCAQEAH3q0o3I5OaBj\n"
    "Q52P2iTBT6MyOyFJ9vTMhfBjMvmMmAdyC6fsY44UuODZUljJjy4yeijEgZ/MhoZg\n"
    "Ih/yUCJCB8f0oz+3ahuNfkY3BIXEMVqUbft60bVH1dowhGUBxmPitShbF9dRaSKj\n"
    "5C7B1Ew565nnHtL18HHPeb/ZUM4EnsJ4hO05600H0gilOY/zVNJg0RKSSTqR9Vfb\n"
    "bjRHsmtUmsl6eHurHlon99dE8nI7rzoK54Tc75NIGadZCPvAfZAw1EtJGhR9mHyn\n"
    "RlNjDFlkARvixDL9Ja6SVI2WG+byPkEuYpb1MMMCm4aK+ajvytrNTPCGZUXtOZeY\n"
    "ZpH22rmMRA==\n"
    "-----END CERTIFICATE-----\n";
const char key_mx_rsa4096[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIJQwIBADANBgkqhkiG9w0BAQEFAASCCS0wggkpAgEAAoICAQCYXX2Tby+PF5LU\n"
    "mM2tVC+ZAC5J72ImGYsQPXZ1fGGGlwlLZaAVR/37Sdp9ZcSNDfwpoDCm6By1g+ye\n"
    "/prLTbUDeAtR6y+kj4yOBhpmDKk+VXqtea1rXfcOr+0PNu1FlGeNOCw+7vVTgCzv\n"
    "ZAM4tGD7wH4fTSFVB4/JUk7qwrP6N04gt0/dhkCH2Yme0j2HAm3WrgFMKmnQUexV\n"
    "+JfnggtcgmPiBX9JHAxoXq6JzYAdk7duiQ/AahBRKWECWTu6vPlELpPeSRW0iBwU\n"
    "3weBiTRU8E16fCYl+LE0NNlWVjY7jrhEmS8XJcC7Fe5L/R07IqZfdCMk2GXrBnTV\n"
    "oXi06QBL6s58v5japPRhAZyj5Bd7dA9HYPASusyyq+EdWzcNw6A6q3bcR7YfoYjn\n"
    "0urXUf3r6P+wTduU2NIipILQVSr8+Wrk5Z8nwzg/08eE2YH3mIxapzpWrzkGCw6y\n"
    "DQCTnOLcaCRbMOKOlFZaoNdCgyLmMgNT6j5vQDM5DcrlmnoTELGlACuPhv9eTSSZ\n"
    "fPpO6j05UE/xL3UVTNPyb0rl92ApuMiX2/5Rxz19BsTpi2d8DwDt/G620b+YRgjd\n"
    "CpMnyfZAQNWfq3ijQ18lY978/dSXm+CKuYZ1EfTXf3AkWeRQtOC+sw5+yzLxVG8c\n"
    "S+VwP5xpF4ecV8iEj+4W+J6cVL6TBQIDAQABAoICAB670P5B0bqP2z7F+crqLdWz\n"
    "ayLfxhEAWwQyGah2J+fxpF7Qh3tzc6BSE9/yfLSlKwWsedPZAx18GGkz2z6CFK63\n"
    "8rSZ95i+me/1/DI0gJkBvgarAhejsxeD1hIZFsBPwJmESKyDH/oxYx8AsgOoot11\n"
    "RRuEP+J6bX8C+scw8gPZTwmbYGFDWNXuQ+vE5cNLcqN4outdrM1oEP+Abwe0PB1z\n"
    "cblgOX4iScBtxNAoIx0UNE54GDTMUDFG4voJzNoMj005BfuzC01InT16hXWUGvm9\n"
    "JSu9SiajpP7uYB6hsjvOPI4dxhlptJgoQtKSImjQwvWDJCmk+t3vBfcnpIT9cOEP\n"
    "nnH0q3fYDl33AqwWoZ2D6whxdAo4EaU6lAuzHIvEgwDVChdr87F9yVXz1fVPOh44\n"
    "fmNjBxQtN04DAfezMobaDfmL+AZsBa57ds3ffshwIYmT7Gs3//IRNbNyyirf5bmK\n"
    "UTB2otMYXkBYVT1FFJONP76CzsXQvRQHSIFrMt20Ut6ps4IqOMDOlyOvloks/1Bd\n"
    "e1CAZ51V1MtKwBUDxMDpkonR+irEruR9bmqiitHesKk0moIRhmY8QwfY09ssuWZb\n"
    "vpsOTdU6KAjDkiN5rimJy1k3bMCAZaxkDI5OgOqWnYC7fgWtHONsUOoKUbjllsUt\n"
    "MsCYQph6AQK4Tom3QW/LAoIBAQDPGy/MrgzASriuEouznse1QgnGYhCzpAxUKtDn\n"
    "QPtbdtlTCCUNhVjbPsa1qUZIVAUSgS/oUSMJGluRMCo+R9FtkQ0oO+t4KgTM35bH\n"
    "/gPdycCQZ/ws9gYzrRjHvkb+0Ys2zLcFVsqNnn4g+Dkq+2+gMiHkZbQfpsJo5sG3\n"
    "FANgmUrzDWrEKCoLScdxNDISfAIQENloOep1lO/B0G+PEQbJVhBKoRzKkAyJqI4b\n"
    "LimFLJIUCWeei5/FlNJ8YCTiU/6T90ZI1yDcV1GwpuspugNFI9Fw+5AJr5+9wbMp\n"
    "jRHteHWB8Gq9GS+m+g/rZiUmoDs7DO3jYFAzEhdJaYgrV5SvAoIBAQC8VfBZ8TbE\n"
    "BLQGfebv+yJtXpvzrxmVcrxbTwmNaYVKZFJYnjDK1nAzxlpzowx/ce1fGtIhMQfo\n"
    "CArjBq8rJhiCM2BahrcFIpLieWfNgtSGIqZgkJ/21AF0kH+cla7nqeXXGG/lkszw\n"
    "s+qWDXaAIwkewJginjTgc5VhK4HYS/zccLdNuhNqPHSIp8wTuo5fFHNf5UbcXbrV\n"
    "MN8S2UAtgEg8gMPhf4IGdDEv1dFTXFsi6+tBKYts8P2ccNMRHVnm6nVls5+YlbmY\n"
    "B4w1/rfjxwOJD2ncYMu9AO4Yof43OIoq5R4nCudFJ631rvGcCmFy554h4s2dALYt\n"
    "Ij3+8uM6wqiLAoIBAQCgUTA4JcbzFyRMg0inG1MGaX89lO3O0T9F6/rX+EJas+5Y\n"
    "yuY7yCxXUwno14bzOC7Q+zXFhQE067VT90/L9DYWtYDU00VcOFKM8Ms8NtJxXdp1\n"
    "LjlT6II2gFi9TfqRCE3WdrN6K4wSAk0qYluGfSoUfJolveCn26OEJpRvjstqfF87\n"
    "M/igrWKWaF89ryTPkDTckN5qQuLOcCMECcBBo/F36uojiwHJf6Zk7RhLy/kSAMV3\n"
    "Qyx12ykrfh9NbfM/S7u2eGRswDLMvb8bmqpRG4+qdqaK6gC+rrdd4VI56Nym0WdM\n"
    "1XkatiNgAxRNqT064C/ZbxG6v/R1BB0Ik+t3eY07AoIBAQChlM3ALN5CsJJPm4cd\n"
    "z4WK9gewu0Kk4KpPYHEenTCZUZcApr/P1siu8ve5jGL1mKYB2X38shdJcFT+0EZL\n"
    "K8UNN8zr/fZZ9n60xVpUjHGPn3zFDm/fkaap/isuCZHk+fPSZgnimd8wh/u0v1oy\n"
    "t1xkwPIFiVxuUVwQ4QXmr9MCwcXSbtmnZLTKZcQGDSGG24Hc/VWdTOE1dVd90Vxp\n"
    "bU0Mc6Ea/41rwhZNJxIPhgY+4M+WuXEAh4XeyUGcxmTSY8dS+RftDlAL6jXWQXI9\n"
    "fwo+djXpuDY0Mu8TvS/g6qZIBQiokIc44sEyLuTlblaLAcK+6dpkYC7sbBtqd7KS\n"
    "QF3fAoIBAHaA0NQDcYIEsTxCrYAI2KrkUe6aqSrq9e7wTmLtezfoIobmTCN063T6\n"
    "JueRMuyvK7qFgIqoO/fCpwfwgORgPctap6EwHDBdVAoBlp1a9D38lh/HP1GHWmzX\n"
    "zX76wEpQY1olesjkQO2u13eaGBPvc+eHeZMVsbiYdnmEGvs/9dKHY5B9IyM6Qj+7\n"
    "KxtixURDIsyIaeLfKYqZovhePok7g5LC4405crGXh2ksxvJ61mbPWnenMZhzufqW\n"
    "B4EUs5tM2mTna/kkidqSUUfZ/n/cdv9KcTKDLQ4nMe/v4OeambbyJ8iAMwGUWoPy\n"
    "AeNx5iqdtFQw5+u5SjJ2Mut6BdHPTCE=\n"
    "-----END PRIVATE KEY-----\n";
const char cert_other[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIICejCCAWKgAwIBAgICEAswDQYJKoZIhvcNAQELBQAwHDEaMBgGA1UEAwwRVGVz\n"
    "dCBJbnRlcm1lZGlhdGUwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBa\n"
    "MBwxGjAYBgNVBAMMEW90aGVyLmV4YW1wbGUubmV0MFkwEwYHKoZIzj0CAQYIKoZI\n"
    "zj0DAQcDQgAEuwmmnk+0TuDuYS5kHZBGZJh5G1J4zyihNo+Pi87HwmfQFBI+RQOV\n"
    "Mqs835bUvbTws0BH+6xlAKL5rfpbcBOO16OBjjCBizAJBgNVHRMEAjAAMAsGA1Ud\n"
    "DwQEAwIFoDATBgNVHSUEDDAKBggrBgEFBQcDATAcBgNVHREEFTATghFvdGhlci5l\n"
    "eGFtcGxlLm5ldDAdBgNVHQ4EFgQUB9drAJQtjcVLYVaXsXegcKRxzXAwHwYDVR0j\n"
    "BBgwFoAUL6AhsjzKfzAg1z9ufVPoRkYaFLkwDQYJKoZIhvcNAQELBQADggEBACXw\n"
    "WuJSfIjMrn4HLlfwKsNQ8HjShpLwFeJiB7B3q5Ezs1mtrq1cVd41+GMrfrgTrGBF\n"
    "UnDxX/7BXg8BVzHUASxNkr9Me/8HBBNWpieV48OUwPyEqOq4g2834f0/CxkyRNAz\n"
    "6Dw8mSalJKPgXS5Wn07u4fkAl4ldwvmDnLeyWJnVHhuBgZDI9ovUrg20m3VDKV9a\n"
    "aFSqNvVNWljZeDf3Rbh8WBHaZNzKxa+J3MW/4l9A6SzfKUc3j42f5u1LsA/L2NrB\n"
    "W3ogfXiB/I2E//qlA2miuBbmRstkIdGvFokiyvBxBCZYd49F8EVX2vinnckgvfcW\n"
    "jqbWkPkQkfEJJ5wf6bo=\n"
    "-----END CERTIFICATE-----\n";
const char key_other[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgTe+BT4OdPtUyGBhX\n"
    "rraIuXRQ82Qjrr55sb/C1nyrAHOhRANCAAS7CaaeT7RO4O5hLmQdkEZkmHkbUnjP\n"
    "KKE2j4+LzsfCZ9AUEj5FA5UyqzzfltS9tPCzQEf7rGUAovmt+ltwE47X\n"
    "-----END PRIVATE KEY-----\n";
const char cert_expired[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIChjCCAW6gAwIBAgICEAwwDQYJKoZIhvcNAQELBQAwHDEaMBgGA1UEAwwRVGVz\n"
    "dCBJbnRlcm1lZGlhdGUwHhcNMjAwMTAxMDAwMDAwWhcNMjEwMTAxMDAwMDAwWjAZ\n"
    "MRcwFQYDVQQDDA5teC5leGFtcGxlLm9yZzBZMBMGByqGSM49AgEGCCqGSM49AwEH\n"
    "A0IABJOhZ6rFLrq31oVbjvGX3mbG4Z8T+VE9viaOrdHIwWhukGvfGu+rDPAx7V+v\n"
    "iDtIu+MyippRz29TBolamecgdHKjgZ8wgZwwCQYDVR0TBAIwADALBgNVHQ8EBAMC\n"
    "BaAwEwYDVR0lBAwwCgYIKwYBBQUHAwEwLQYDVR0RBCYwJIIObXguZXhhbXBsZS5v\n"
    "cmeCEioud2lsZC5leGFtcGxlLm9yZzAdBgNVHQ4EFgQUPT5aQTGeCDaa+BMP0rEz\n"
    "L++1kY8wHwYDVR0jBBgwFoAUL6AhsjzKfzAg1z9ufVPoRkYaFLkwDQYJKoZIhvcN\n"
    "AQELBQADggEBAJuaDENi53HPdGFk+EheOJYqHZNnVdUBdWbLbwDNdbrNJa4L7ylj\n"
    "CWjZGBN7VyTU8svsMV6yhnjZ/EtS4/FCPQa8Ii3Y0P+Z3KaMPtzJ6/mja6kFJNAQ\n"
    "o+UKhTB0KvHOvissS2+5x0OiNaer9ZTmS1mOE9IprNfNjAqQGjBu9jid5jilHfnk\n"
    "V9ovVchDlyG9UWZZZs+wMJgo+r7b+Hf0tBJBggx23FKkDmNHBrwPEzw6ezhkC6cZ\n"
    "0arR1nkrrPOHQaRKpj0wGQKJdxI0l8gTe/fQVmyL4f1BJkuvWJbhd0H9FFZ6NpsF\n"
    "R76qq7Gwx6L3++uMAtT86mOZb97HrZ23Uw4=\n"
    "-----END CERTIFICATE-----\n";
const char key_expired[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgKN/ISh/v2gsDSei5\n"
    "nZmQNEqwaFMcnyeXLk2jRao0S9mhRANCAASToWeqxS66t9aFW47xl95mxuGfE/lR\n"
    "Pb4mjq3RyMFobpBr3xrvqwzwMe1fr4g7SLvjMoqaUc9vUwaJWpnnIHRy\n"
    "-----END PRIVATE KEY-----\n";
const char cert_future[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIICijCCAXKgAwIBAgICEA0wDQYJKoZIhvcNAQELBQAwHDEaMBgGA1UEAwwRVGVz\n"
    "dCBJbnRlcm1lZGlhdGUwIhgPMjEwMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAw\n"
    "MFowGTEXMBUGA1UEAwwObXguZXhhbXBsZS5vcmcwWTATBgcqhkjOPQIBBggqhkjO\n"
    "PQMBBwNCAAQkfBVri528fMxAWz74PORvG9ZExiNL9jEEgw8J7qvUrOcFPSpn/q+F\n"
    "ZldTQOdX8CQJi3LUSOemOYk8EEon94Fmo4GfMIGcMAkGA1UdEwQCMAAwCwYDVR0P\n"
    "BAQDAgWgMBMGA1UdJQQMMAoGCCsGAQUFBwMBMC0GA1UdEQQmMCSCDm14LmV4YW1w\n"
    "bGUub3JnghIqLndpbGQuZXhhbXBsZS5vcmcwHQYDVR0OBBYEFAdYmnO8MzlwD352\n"
    "RDNjNYgtZxnTMB8GA1UdIwQYMBaAFC+gIbI8yn8wINc/bn1T6EZGGhS5MA0GCSqG\n"
    "SIb3DQEBCwUAA4IBAQBl57OSOLTBVdJN/N96YzNEce7XTRanCIqFLlkaqlKGxg+M\n"
    "nusRzhjdP22Zb0UIyhVF7Aoffz982MYkqoJkxbWYOPUTYq6xZcVy6Aq1BQgoREyv\n"
    "zCLcfRZGqDekDfd3N0ihNwx1q0UIdK/eNelyBFmG+YemJ2Duhd5sULrtVRNvMSBG\n"
    "LXI9p/KvHj7r9bjHLnqRd6fyatmrkU+xAisLfhB+RukQSWQL4vBw5RQSSCVa3AU+\n"
    "+SUwC2rSkQoL932FCJskCs6mixUch99sClNcuNOiVf03QHr+IogaDzrDJIq4sM/q\n"
    "7i8zgtCshpDeFIdZw4Py2z/AlJuodfAVR3/btKN4\n"
    "-----END CERTIFICATE-----\n";
const char key_future[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgE08286bJG93vj/zY\n"
    "gtTGjCDGL29AZHVfLutBhCxGzPShRANCAAQkfBVri528fMxAWz74PORvG9ZExiNL\n"
    "9jEEgw8J7qvUrOcFPSpn/q+FZldTQOdX8CQJi3LUSOemOYk8EEon94Fm\n"
    "-----END PRIVATE KEY-----\n";
const char cert_self[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBoTCCAUegAwIBAgICEA4wCgYIKoZIzj0EAwIwGTEXMBUGA1UEAwwObXguZXhh\n"
    "bXBsZS5vcmcwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBkxFzAV\n"
    "BgNVBAMMDm14LmV4YW1wbGUub3JnMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n"
    "AP1tsMO5FiQY5SqhkaL9qWW+BLscQ1iZowCa1WMdJRbdYif3q2Ml0tsr9DIu3tde\n"
    "/v3ffaINK2xaBi/G+dG4cKN9MHswCQYDVR0TBAIwADALBgNVHQ8EBAMCBaAwEwYD\n"
    "VR0lBAwwCgYIKwYBBQUHAwEwLQYDVR0RBCYwJIIObXguZXhhbXBsZS5vcmeCEiou\n"
    "d2lsZC5leGFtcGxlLm9yZzAdBgNVHQ4EFgQULeHeRLu3tSL+/GYxWGQkzWbjpfow\n"
    "CgYIKoZIzj0EAwIDSAAwRQIhANbdUy6n/vWWzYRmXHn9PfgV5l5TWVOoh+RQouKG\n"
    "h9yQAiB3jG6NaVVkYctSA/nxQE3rZcrLju0EMJeDLz2UVjY6oA==\n"
    "-----END CERTIFICATE-----\n";
const char key_self[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgYXke1odK/E76gYR4\n"
    "pyiMJgO6ubPEPBdjXOurkHnS0L+hRANCAAQA/W2ww7kWJBjlKqGRov2pZb4EuxxD\n"
    "WJmjAJrVYx0lFt1iJ/erYyXS2yv0Mi7e117+/d99og0rbFoGL8b50bhw\n"
    "-----END PRIVATE KEY-----\n";
const char cert_self_expired[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBizCCATGgAwIBAgICEA8wCgYIKoZIzj0EAwIwGTEXMBUGA1UEAwwObm9ib2R5\n"
    "LmV4YW1wbGUwHhcNMjAwMTAxMDAwMDAwWhcNMjEwMTAxMDAwMDAwWjAZMRcwFQYD\n"
    "VQQDDA5ub2JvZHkuZXhhbXBsZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABJFr\n"
    "H4iZjN/F1w9xDF2xYlog6ilTezzjOkjtz8SFHfzXdU87Bhes6vwPZ7GQ03wwmiBk\n"
    "fTU91casjht7JB5GLxCjaTBnMAkGA1UdEwQCMAAwCwYDVR0PBAQDAgWgMBMGA1Ud\n"
    "JQQMMAoGCCsGAQUFBwMBMBkGA1UdEQQSMBCCDm5vYm9keS5leGFtcGxlMB0GA1Ud\n"
    "DgQWBBQsYBhLb93rTIIt9whpy9t0QfpKVDAKBggqhkjOPQQDAgNIADBFAiEAvyCi\n"
    "vY/4uh70mcXeJvDOQY10QzHPxyP7lwT3JfxAgDsCIAIFM3oDXAMSbqRjJ2Eq+Me6\n"
    "H1l0p1INkT2WDLWOgzOT\n"
    "-----END CERTIFICATE-----\n";
const char key_self_expired[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg+ANtfDPlExBzrepz\n"
    "qtAc9jJm9kWoedcfoSS5o5BvU5yhRANCAASRax+ImYzfxdcPcQxdsWJaIOopU3s8\n"
    "4zpI7c/EhR3813VPOwYXrOr8D2exkNN8MJogZH01PdXGrI4beyQeRi8Q\n"
    "-----END PRIVATE KEY-----\n";
const char cert_untrusted[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIB4jCCAWigAwIBAgICEBAwCgYIKoZIzj0EAwIwFzEVMBMGA1UEAwwMVW5rbm93\n"
    "biBSb290MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAZMRcwFQYD\n"
    "VQQDDA5teC5leGFtcGxlLm9yZzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABKC6\n"
    "tpyCb4rxiSnaMcDbj3kupwt4f5+S2Mf+XynXWUWMOMJRKrrFAy4jX1WQe5MHtFSh\n"
    "NoxuwXPhDYzLn4yjmsGjgZ8wgZwwCQYDVR0TBAIwADALBgNVHQ8EBAMCBaAwEwYD\n"
    "VR0lBAwwCgYIKwYBBQUHAwEwLQYDVR0RBCYwJIIObXguZXhhbXBsZS5vcmeCEiou\n"
    "d2lsZC5leGFtcGxlLm9yZzAdBgNVHQ4EFgQUiURIkQk7O5XyFuuG09QGLWJCPWww\n"
    "HwYDVR0jBBgwFoAUetco9BK0RdW2jn9veFnVPnG4lrUwCgYIKoZIzj0EAwIDaAAw\n"
    "ZQIxAJ9QwNA4NqPZBZ3vHYbngK40oxKgCZ3idjs0p06RR4bupucE7jtDm+TdrGZ3\n"
    "wKb/cgIwDsB4KeWJ6ThyTqDJXgN6AtXi9sZWeTK1cft4OU1KxBMpCJ4Ba5hcdI6p\n"
    "/PTTsoXp\n"
    "-----END CERTIFICATE-----\n";
const char key_untrusted[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgYe2zTmyhGmJo1IBJ\n"
    "CsEh7GD9e/qY8llsvUelRnV39JqhRANCAASguracgm+K8Ykp2jHA2495LqcLeH+f\n"
    "ktjH/l8p11lFjDjCUSq6xQMuI19VkHuTB7RUoTaMbsFz4Q2My5+Mo5rB\n"
    "-----END PRIVATE KEY-----\n";
const char cert_by_leaf[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIICcTCCAVmgAwIBAgICEBEwDQYJKoZIhvcNAQELBQAwGTEXMBUGA1UEAwwObXgu\n"
    "ZXhhbXBsZS5vcmcwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBkx\n"
    "FzAVBgNVBAMMDnZpY3RpbS5leGFtcGxlMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD\n"
    "QgAEYXPV22KPUGeif8inplfn7pd+/bDzUPN4J7Y6Je59cTP/EapJT1DADK1lkd6q\n"
    "ou6Pf4Ikx4WKhy9XG5lYM31Xk6OBizCBiDAJBgNVHRMEAjAAMAsGA1UdDwQEAwIF\n"
    "oDATBgNVHSUEDDAKBggrBgEFBQcDATAZBgNVHREEEjAQgg52aWN0aW0uZXhhbXBs\n"
    "ZTAdBgNVHQ4EFgQU8WYYz0c2qKhXsMwC+x00NifOocowHwYDVR0jBBgwFoAUy553\n"
    "EtPj2BGy6sYp3ZNBW8vVMycwDQYJKoZIhvcNAQELBQADggEBAJOFfE+umptPjyew\n"
    "y1DAT6Y0Oe0SlWLNz8HAcCxV2CeP9u3xN9QbRPmfdKXpLVihJGff+mCdtiyLET4A\n"
    "zNUCi6TclwtOuc/F/ckgnLcq2wqVslIDMouWnw8xGUqnN3DCP1Q3/0n0fCUGYLYj\n"
    "SxCvAdiwR5uXmBBPzD4QusG22luZ3asqa9A5Mpz+LislLoDQ3hB7mBhYx00h/3M6\n"
    "74fKeg1CAKQQKYQHRSAqfH/agm+5QBjbGnTJtuovY7436e+sncPOAR9wVj/jaTkx\n"
    "Nx0YZRZUdJchH739zQLSWMH9eWpskJ+LUfJEawRo+TElG6yYl3SrV+4t7CQTJskh\n"
    "EsqmVgE=\n"
    "-----END CERTIFICATE-----\n";
const char key_by_leaf[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgDQXh04dqZ5zXJ21F\n"
    "YGTDZl75VIF1tG9tpT4er+7SCPahRANCAARhc9XbYo9QZ6J/yKemV+ful379sPNQ\n"
    "83gntjol7n1xM/8RqklPUMAMrWWR3qqi7o9/giTHhYqHL1cbmVgzfVeT\n"
    "-----END PRIVATE KEY-----\n";
const char cert_by_below[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBvDCCAWGgAwIBAgICEBIwCgYIKoZIzj0EAwIwEDEOMAwGA1UEAwwFQmVsb3cw\n"
    "IBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBkxFzAVBgNVBAMMDm14\n"
    "LmV4YW1wbGUub3JnMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEQSx7m1oCPx2P\n"
    "gWolo1Mxg44/rK/dbiWcsN48JH5HqUDVpSwqctiqypFykmNXM9nQdEQ9/KgILohq\n"
    "WX15qthzgaOBnzCBnDAJBgNVHRMEAjAAMAsGA1UdDwQEAwIFoDATBgNVHSUEDDAK\n"
    "BggrBgEFBQcDATAtBgNVHREEJjAkgg5teC5leGFtcGxlLm9yZ4ISKi53aWxkLmV4\n"
    "YW1wbGUub3JnMB0GA1UdDgQWBBSXJS9VqYUB9QtTPyzDdVWDErdw7jAfBgNVHSME\n"
    "GDAWgBSoGaEhJD1+R9nOoH6oOCRaHZPKXjAKBggqhkjOPQQDAgNJADBGAiEA2srq\n"
    "DLQewTJ5GqRgVfAQW6OdPnLs7BavPaBed8wfmMUCIQDfXnZV8OH/ATSwG4+N6u3H\n"
    "wl9kinW2Z6G2aagXNYtvWA==\n"
    "-----END CERTIFICATE-----\n";
const char key_by_below[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgULgv6pxiJjpdrW13\n"
    "r0+iuZ/jebRQB0xQn8a+YpGcG8OhRANCAARBLHubWgI/HY+BaiWjUzGDjj+sr91u\n"
    "JZyw3jwkfkepQNWlLCpy2KrKkXKSY1cz2dB0RD38qAguiGpZfXmq2HOB\n"
    "-----END PRIVATE KEY-----\n";
const char cert_by_fenced[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBvTCCAWKgAwIBAgICEBMwCgYIKoZIzj0EAwIwETEPMA0GA1UEAwwGRmVuY2Vk\n"
    "MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAZMRcwFQYDVQQDDA5t\n"
    "eC5leGFtcGxlLm9yZzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABAebu9Q1jrwg\n"
    "PEL6TPQIU+n2ofN2v9474ZO17ZxgUpgoznUV+sNsC69AqL2S12dNGXPMFaXcJcRw\n"
    "XG9YAH/XpiCjgZ8wgZwwCQYDVR0TBAIwADALBgNVHQ8EBAMCBaAwEwYDVR0lBAww\n"
    "CgYIKwYBBQUHAwEwLQYDVR0RBCYwJIIObXguZXhhbXBsZS5vcmeCEioud2lsZC5l\n"
    "eGFtcGxlLm9yZzAdBgNVHQ4EFgQUeMtBD3i5UP/xAkkEV30aNBWRZiswHwYDVR0j\n"
    "BBgwFoAUpsp06253HD+9Iel6yJAZAQlS3tgwCgYIKoZIzj0EAwIDSQAwRgIhANI6\n"
    "9a9DjySpyxLgK28clfsC2rBr++k2ZyXrnYhvTtcCAiEAkQDav0RDT7KEViW72VRE\n"
    "5aw7q9tscwcALingFBSYBlo=\n"
    "-----END CERTIFICATE-----\n";
const char key_by_fenced[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgsCKXYRhBQnnPuhNr\n"
    "A71GzivJFodOBpUB5s7RJMPcxaehRANCAAQHm7vUNY68IDxC+kz0CFPp9qHzdr/e\n"
    "O+GTte2cYFKYKM51FfrDbAuvQKi9ktdnTRlzzBWl3CXEcFxvWAB/16Yg\n"
    "-----END PRIVATE KEY-----\n";
const char cert_by_short[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBxzCCAW2gAwIBAgICEBQwCgYIKoZIzj0EAwIwHDEaMBgGA1UEAwwRU2lnbnMg\n"
    "bGVhdmVzIG9ubHkwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBkx\n"
    "FzAVBgNVBAMMDm14LmV4YW1wbGUub3JnMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD\n"
    "QgAECWMlSbYtgeG/cGp0/8oGfVrdH4W19G7Ywj5zUSYUBQ9uic+3HhYr0wSIzf3h\n"
    "KhH67inAzL2I+sBn+7xUfdO3WqOBnzCBnDAJBgNVHRMEAjAAMAsGA1UdDwQEAwIF\n"
    "oDATBgNVHSUEDDAKBggrBgEFBQcDATAtBgNVHREEJjAkgg5teC5leGFtcGxlLm9y\n"
    "Z4ISKi53aWxkLmV4YW1wbGUub3JnMB0GA1UdDgQWBBQ8hm4OCOWVWTveatTu9PwB\n"
    "iL/hqjAfBgNVHSMEGDAWgBSL3hBAtYg01ZMWA2K6Udet7tYoZTAKBggqhkjOPQQD\n"
    "AgNIADBFAiAeSVaKjzsNtu9f1x8DA/nknBDzZq5ubS2kx6HmaKdRlQIhAIUu+gB2\n"
    "XC5Aa6Jbqg6OJNj5njXn28yoQTLPtudnBcsL\n"
    "-----END CERTIFICATE-----\n";
const char key_by_short[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgHc1fDM1MNdjqjhFp\n"
    "ChHj7lrhQHRDj3O/i64QzkoEKC2hRANCAAQJYyVJti2B4b9wanT/ygZ9Wt0fhbX0\n"
    "btjCPnNRJhQFD26Jz7ceFivTBIjN/eEqEfruKcDMvYj6wGf7vFR907da\n"
    "-----END PRIVATE KEY-----\n";
const char cert_by_dead[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBxjCCAW2gAwIBAgICEBUwCgYIKoZIzj0EAwIwHDEaMBgGA1UEAwwRRGVhZCBJ\n"
    "bnRlcm1lZGlhdGUwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBkx\n"
    "FzAVBgNVBAMMDm14LmV4YW1wbGUub3JnMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD\n"
    "QgAE8wZHwVE6rw/U9M/77MXuWo6HcaMOcSv9uL7Usm8NoeWVYlhTCHdma+JFWItU\n"
    "xId+oknrLgs8A6yQqO0Ztv61ZKOBnzCBnDAJBgNVHRMEAjAAMAsGA1UdDwQEAwIF\n"
    "oDATBgNVHSUEDDAKBggrBgEFBQcDATAtBgNVHREEJjAkgg5teC5leGFtcGxlLm9y\n"
    "Z4ISKi53aWxkLmV4YW1wbGUub3JnMB0GA1UdDgQWBBRlizJCk3DMDfisKVKwwO0H\n"
    "Q1VRljAfBgNVHSMEGDAWgBSjTLNWXmuUlw2qHDBZ5LzmvnzKxjAKBggqhkjOPQQD\n"
    "AgNHADBEAiBbGHsmL/0QQ/e+FpvOg4392NbCNtQCvONf9nE+z4fOjQIgKof4R8fy\n"
    "iIx/9121ClAMv2XK2X/6e7eHC6JnpP8gEvk=\n"
    "-----END CERTIFICATE-----\n";
const char key_by_dead[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgQX//jh9ULAgvWidh\n"
    "L6cG/nKcaINA2xLmstnLxC469HyhRANCAATzBkfBUTqvD9T0z/vsxe5ajodxow5x\n"
    "K/24vtSybw2h5ZViWFMId2Zr4kVYi1TEh36iSesuCzwDrJCo7Rm2/rVk\n"
    "-----END PRIVATE KEY-----\n";
const char cert_common_name[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIICVzCCAT+gAwIBAgICEBYwDQYJKoZIhvcNAQELBQAwHDEaMBgGA1UEAwwRVGVz\n"
    "dCBJbnRlcm1lZGlhdGUwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBa\n"
    "MBkxFzAVBgNVBAMMDmNuLmV4YW1wbGUub3JnMFkwEwYHKoZIzj0CAQYIKoZIzj0D\n"
    "AQcDQgAEgwSlaM+FY77Zqf8WpTh0j6Bq/4+wDVGaSQnRLkLykepiIgb6bT3NmWeg\n"
    "NahyqqJwoIgAapo6pX4YtKneBheJpqNvMG0wCQYDVR0TBAIwADALBgNVHQ8EBAMC\n"
    "BaAwEwYDVR0lBAwwCgYIKwYBBQUHAwEwHQYDVR0OBBYEFJ1aiBns34f9QmYansMV\n"
    "wGaeW/1dMB8GA1UdIwQYMBaAFC+gIbI8yn8wINc/bn1T6EZGGhS5MA0GCSqGSIb3\n"
    "DQEBCwUAA4IBAQDDjHIZ9L+ydPTUeRy1BPXfQ9Y6UD3MoPnZGILUPAnhhED3jfcq\n"
    "xSXVz3RiO98pLB1sdhMvTC4cQcHmr43XTQT4iY1Ju8dqcDvH7tPZEjcnX7U3lYBa\n"
    "NmB9veTHSw5htgWbyj4FuxqcHKvaPQnBIpaq6dJ5y6BQsRrINo4j83k+PdL9S3vE\n"
    "dw81C7VhkQVuMYfFJLGXQ3htG5raabW1iBT25toCCx65gYVnQoYvCXEulEUWxUet\n"
    "0pXdLpml+t8FAL6cyJ4funCjIBmNWwNZOphKIzQ6PfKyaNGUNsfObgxZZwbnNkMr\n"
    "MSJbgF0aRbC97DN1HHODdijrWoB/Cw9BYaJw\n"
    "-----END CERTIFICATE-----\n";
const char key_common_name[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgPWyaS0pA1BkoVeMe\n"
    "0J9qVtOD9oS7lVjoUdMZGX+7S5ihRANCAASDBKVoz4Vjvtmp/xalOHSPoGr/j7AN\n"
    "UZpJCdEuQvKR6mIiBvptPc2ZZ6A1qHKqonCgiABqmjqlfhi0qd4GF4mm\n"
    "-----END PRIVATE KEY-----\n";
const char cert_client[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIICfDCCAWSgAwIBAgICEBcwDQYJKoZIhvcNAQELBQAwHDEaMBgGA1UEAwwRVGVz\n"
    "dCBJbnRlcm1lZGlhdGUwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBa\n"
    "MB0xGzAZBgNVBAMMEmNsaWVudC5leGFtcGxlLm9yZzBZMBMGByqGSM49AgEGCCqG\n"
    "SM49AwEHA0IABIT3P+0cgtXS1Ji9AttK3E6Xbh5j2K7+xetQ2GUzyfHr8kkuSEdU\n"
    "XEuP2jby1/BAM8YPShSiKLvFGCaZuryivJijgY8wgYwwCQYDVR0TBAIwADALBgNV\n"
    "HQ8EBAMCB4AwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RBBYwFIISY2xpZW50\n"
    "LmV4YW1wbGUub3JnMB0GA1UdDgQWBBT1L32ryZRE04xFBMfPyj3XztDHGjAfBgNV\n"
    "HSMEGDAWgBQvoCGyPMp/MCDXP259U+hGRhoUuTANBgkqhkiG9w0BAQsFAAOCAQEA\n"
    "DfM6U4N1y6211J6lcPbA1EHtFEU2NXrU4kzamxuBvj/HolQC/WB0u3nf6uhG1dzn\n"
    "LnKr7DMCSQ7cp/EuFn64MxzoVnQ4WxE0OXpVEcFTYWFO5bWSUmUwG31qBrL6A7+G\n"
    "Wez7umDClVDqOfq3dN/DIAkDeZo+jJuFOa+EEtVWJQAv1uLN4pya421b3tFfT+Z+\n"
    "qtBZo1XuM/UwGUqQxqN5z/sw4BH6ftR7Ao38tNrcpGIBWs+Xt14+Bmx6Gt2gq2aJ\n"
    "pm+YHOvE47it79kGeRss29lw6VzokrwFrESqxQPALkmUt4qHZqys8EfYaIUB6Maw\n"
    "NPMTXuwzwu3p3WlQOA/Umg==\n"
    "-----END CERTIFICATE-----\n";
const char key_client[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgNwnjz9Q72ZeXjUVu\n"
    "lHj1tJ7zxcXBGi41qRAG/jD6zrahRANCAASE9z/tHILV0tSYvQLbStxOl24eY9iu\n"
    "/sXrUNhlM8nx6/JJLkhHVFxLj9o28tfwQDPGD0oUoii7xRgmmbq8oryY\n"
    "-----END PRIVATE KEY-----\n";
const char key_encrypted[] =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
    "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiiDECd4/NpUgICCAAw\n"
    "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEELi8BRyodl2CuAEdyC3U3zgEgZDN\n"
    "e7se4b7ycZvyPdU/523cmFAubD9nRjSdcj4xyv6YWA7xqquP0Bcq0gLJ9meae6oL\n"
    "H2fBVjxXHxBzXA5uEOEF4iLBd9Z8tXDzO30aSncJTkaWOHq+N1igY9Cnz2Jdxyvw\n"
    "F8CS3e9h+1oOqwYvGU+IjQspDYKYEepQ0Zkk0BZIULt4DZcUJZ+n2/t1FIs926g=\n"
    "-----END ENCRYPTED PRIVATE KEY-----\n";
const char spki_sha256_mx_rsa[] = "b31cd2907958038c78d36f32166f22d5cd900e3828eb99e91bb6597fc5f3f8d7";
const char spki_sha256_mx_ecdsa[] = "2748787e6360b281fb4fd6f2e74465ca7efc254450233fe3700c4bf0cd7078a1";
const char spki_sha256_mx_ed25519[] = "0fae9694c59ab80f521caac29a31ae9fc3475a46fcec969adbe591c761dbe165";
const char spki_sha256_middle[] = "304c7f3e1f78503390a5408d9aca92af12afb945a7f58c130e0bc2a9fa5e4152";
const unsigned char ocsp_mx_ecdsa[465] = {
    0x30, 0x82, 0x01, 0xcd, 0x0a, 0x01, 0x00, 0xa0, 0x82, 0x01, 0xc6, 0x30, 0x82, 0x01, 0xc2, 0x06,
    0x09, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01, 0x04, 0x82, 0x01, 0xb3, 0x30, 0x82,
    0x01, 0xaf, 0x30, 0x81, 0x98, 0xa1, 0x1e, 0x30, 0x1c, 0x31, 0x1a, 0x30, 0x18, 0x06, 0x03, 0x55,
    0x04, 0x03, 0x0c, 0x11, 0x54, 0x65, 0x73, 0x74, 0x20, 0x49, 0x6e, 0x74, 0x65, 0x72, 0x6d, 0x65,
    0x64, 0x69, 0x61, 0x74, 0x65, 0x18, 0x0f, 0x32, 0x30, 0x32, 0x36, 0x31, 0x31, 0x32, 0x32, 0x30,
    0x33, 0x30, 0x39, 0x32, 0x38, 0x5a, 0x30, 0x65, 0x30, 0x63, 0x30, 0x3b, 0x30, 0x09, 0x06, 0x05,
    0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14, 0x10, 0x1a, 0xed, 0x0f, 0xe7, 0x95, 0xde,
    0xc1, 0x82, 0x3c, 0xe5, 0xa4, 0x28, 0xec, 0x21, 0x09, 0xa2, 0x2c, 0x74, 0x63, 0x04, 0x14, 0x2f,
    0xa0, 0x21, 0xb2, 0x3c, 0xca, 0x7f, 0x30, 0x20, 0xd7, 0x3f, 0x6e, 0x7d, 0x53, 0xe8, 0x46, 0x46,
    0x1a, 0x14, 0xb9, 0x02, 0x02, 0x10, 0x08, 0x80, 0x00, 0x18, 0x0f, 0x32, 0x30, 0x32, 0x36, 0x31,
    0x31, 0x32, 0x32, 0x30, 0x33, 0x30, 0x39, 0x32, 0x38, 0x5a, 0xa0, 0x11, 0x18, 0x0f, 0x32, 0x31,
    0x31, 0x39, 0x31, 0x32, 0x32, 0x35, 0x30, 0x33, 0x30, 0x39, 0x32, 0x38, 0x5a, 0x30, 0x0d, 0x06,
    0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b, 0x05, 0x00, 0x03, 0x82, 0x01, 0x01,
    0x00, 0x6c, 0x1b, 0xcf, 0x3a, 0x2e, 0x6a, 0xea, 0x6b, 0xe1, 0x3a, 0x99, 0x8c, 0xbb, 0xb6, 0x7d,
    0x17, 0x0f, 0x4f, 0xca, 0x54, 0x6a, 0x83, 0xaa, 0x34, 0xc7, 0x1b, 0x2b, 0x5b, 0x54, 0xdc, 0x64,
    0xf9, 0x7f, 0x0d, 0x9d, 0x33, 0x26, 0x58, 0xd3, 0x29, 0xf9, 0xc4, 0x01, 0x62, 0x7d, 0x4c, 0x13,
    0x3a, 0x8f, 0xf8, 0x39, 0x87, 0x9e, 0xc0, 0xfa, 0xa2, 0x0b, 0xd2, 0x87, 0xd0, 0xff, 0x53, 0xf0,
    0x30, 0xd9, 0xfe, 0xe7, 0x8a, 0xf6, 0x45, 0x69, 0x43, 0x3c, 0x5a, 0x58, 0x13, 0xe3, 0xfe, 0xb7,
    0xd5, 0x1c, 0x65, 0x25, 0x7e, 0x8a, 0x64, 0x6d, 0x5c, 0x64, 0x0a, 0xad, 0xa4, 0xf6, 0x66, 0x94,
    0x6d, 0xcb, 0xbd, 0x49, 0xbf, 0xc5, 0x20, 0x47, 0xaf, 0xfe, 0x0d, 0x41, 0xab, 0xc5, 0xf7, 0x57,
    0x1b, 0x9c, 0x37, 0xe1, 0x3e, 0x77, 0xe8, 0x0d, 0x85, 0xb9, 0x7c, 0xc7, 0xf0, 0x3e, 0x8e, 0x7e,
    0x23, 0xc7, 0x2b, 0xe1, 0x01, 0x85, 0x96, 0x1b, 0xf9, 0x5e, 0x56, 0x4d, 0x8f, 0xfc, 0x26, 0xb7,
    0x62, 0x1b, 0x60, 0x3e, 0xc9, 0xad, 0x47, 0x4a, 0x8d, 0xef, 0x99, 0x0c, 0x58, 0x52, 0xc3, 0xf3,
    0x80, 0x1d, 0x24, 0x55, 0xed, 0xa0, 0x13, 0xf6, 0x25, 0xbb, 0x80, 0x15, 0x5e, 0xfd, 0x01, 0xdc,
    0x52, 0x86, 0xcc, 0x79, 0x2f, 0x58, 0xa4, 0x8e, 0xe1, 0x3b, 0x48, 0xb8, 0x1c, 0xb7, 0x76, 0x34,
    0x29, 0x7a, 0x34, 0x2b, 0x04, 0xbc, 0x6f, 0x06, 0x98, 0x98, 0x48, 0x18, 0x28, 0x6d, 0xdc, 0xbf,
    0xec, 0x55, 0x0a, 0x56, 0xbc, 0xfc, 0x17, 0xf5, 0xed, 0xbe, 0x90, 0xc9, 0x8e, 0x00, 0x34, 0xbb,
    0x8a, 0xa5, 0x68, 0xe1, 0xc7, 0x54, 0x88, 0x53, 0x94, 0x69, 0x16, 0x7b, 0x39, 0x2b, 0x26, 0x84,
    0x3b, 0x81, 0xc2, 0x7b, 0x9f, 0x7e, 0xe2, 0xa7, 0x45, 0x3a, 0xa6, 0x6c, 0x96, 0x8e, 0x1f, 0x5a,
    0x2e,
};
