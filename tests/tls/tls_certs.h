/* Made by make_certs.py. Keys for tests, known to everybody. */
#ifndef TLS_CERTS_H
#define TLS_CERTS_H

extern const char cert_root[];
extern const char key_root[];
extern const char cert_middle[];
extern const char key_middle[];
extern const char cert_stranger[];
extern const char key_stranger[];
extern const char cert_short[];
extern const char key_short[];
extern const char cert_below[];
extern const char key_below[];
extern const char cert_fenced[];
extern const char key_fenced[];
extern const char cert_dead[];
extern const char key_dead[];
extern const char cert_mx_rsa[];
extern const char key_mx_rsa[];
extern const char cert_mx_ecdsa[];
extern const char key_mx_ecdsa[];
extern const char cert_mx_ed25519[];
extern const char key_mx_ed25519[];
extern const char cert_mx_rsa4096[];
extern const char key_mx_rsa4096[];
extern const char cert_other[];
extern const char key_other[];
extern const char cert_expired[];
extern const char key_expired[];
extern const char cert_future[];
extern const char key_future[];
extern const char cert_self[];
extern const char key_self[];
extern const char cert_self_expired[];
extern const char key_self_expired[];
extern const char cert_untrusted[];
extern const char key_untrusted[];
extern const char cert_by_leaf[];
extern const char key_by_leaf[];
extern const char cert_by_below[];
extern const char key_by_below[];
extern const char cert_by_fenced[];
extern const char key_by_fenced[];
extern const char cert_by_short[];
extern const char key_by_short[];
extern const char cert_by_dead[];
extern const char key_by_dead[];
extern const char cert_common_name[];
extern const char key_common_name[];
extern const char cert_client[];
extern const char key_client[];
extern const char key_encrypted[];
extern const char spki_sha256_mx_rsa[];
extern const char spki_sha256_mx_ecdsa[];
extern const char spki_sha256_mx_ed25519[];
extern const char spki_sha256_middle[];
extern const unsigned char ocsp_mx_ecdsa[465]; /* DER */

#endif
