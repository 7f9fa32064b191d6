/* dns_name: see dns_priv.h. */
#include "dns_priv.h"

enum { LABEL_MAX = 63 };

bool dns_name_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-'
           || c == '_';
}

/* Letters, digits, hyphens (RFC 1123 2.1), and underscores, which some hosts do have. Names that are not
 * ASCII would have to come as their A-labels (RFC 5890). */
bool dns_name_clean(struct slice text, char out[DNS_NAME_MAX])
{
    size_t label = 0;

    if (text.len > 0 && text.data[text.len - 1] == '.')
        text.len--;
    if (text.len == 0 || text.len >= DNS_NAME_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '.') {
            if (label == 0)
                return false;
            label = 0;
        } else if (!dns_name_byte(c) || ++label > LABEL_MAX) {
            return false;
        }
        out[i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    out[text.len] = '\0';
    return label > 0;
}
