/* auth_token: see the header. The cache keeps digests of tokens, not tokens: one slot for each, or none. */
#include "auth_token_priv.h"

#include <jansson.h>
#include <stdio.h>

#include "auth_priv.h"
#include "base_assert.h"
#include "base_mem.h"
#include "http.h"

enum { DIGEST = 32 };

/* ---- asking -------------------------------------------------------------------------------- */

static bool is_unreserved(uint8_t c) /* RFC 3986 2.3 */
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'
           || c == '.' || c == '_' || c == '~';
}

/* application/x-www-form-urlencoded, in room that is enough from the start: it holds a secret */
static void format_body(struct slice token, struct buf *out)
{
    (void)buf_reserve(out, 3 * token.len + 64);
    (void)buf_append_str(out, "token=");
    for (size_t i = 0; i < token.len; i++) {
        if (is_unreserved(token.data[i]))
            (void)buf_append_byte(out, token.data[i]);
        else
            (void)buf_printf(out, "%%%02X", token.data[i]);
    }
    (void)buf_append_str(out, "&token_type_hint=access_token");
}

static void unknown(struct auth_token_answer *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void unknown(struct auth_token_answer *out, const char *format, ...)
{
    va_list args;

    out->result = AUTH_TOKEN_UNKNOWN;
    va_start(args, format);
    (void)vsnprintf(out->error, sizeof(out->error), format, args);
    va_end(args);
}

void auth_token_ask(const struct auth_setup *setup, struct slice token,
                    struct auth_token_answer *out)
{
    struct http_request request = {
        .url = (const char *)setup->conf->auth.introspection.data,
        .plain = setup->introspection_plain,
        .look_up = true,
        .ca = setup->conf->tls.ca,
        .content_type = "application/x-www-form-urlencoded",
        .user_password = setup->secret,
        .response_max = AUTH_TOKEN_RESPONSE_MAX,
        .timeout_ms = AUTH_TOKEN_TIMEOUT_MS,
    };
    struct http_response response = {0};
    struct buf body;

    *out = (struct auth_token_answer){0};
    buf_init(&body, 0);
    buf_init(&response.body, AUTH_TOKEN_RESPONSE_MAX);
    format_body(token, &body);
    request.body = buf_slice(&body);
    http_fetch(&request, &response);
    if (response.result != HTTP_OK)
        unknown(out, "%s", response.error);
    else if (response.status != 200)
        unknown(out, "status %u", response.status);
    else
        auth_token_parse(buf_slice(&response.body), out);
    mem_wipe(body.data, body.capacity);
    buf_finish(&body);
    buf_finish(&response.body);
}

void auth_token_parse(struct slice body, struct auth_token_answer *out)
{
    static const char *const names[] = {"username", "email", "sub"};
    json_t *root = json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *active = json_object_get(root, "active"); /* NULL from what is no object */
    const json_t *expires = json_object_get(root, "exp");

    *out = (struct auth_token_answer){0};
    if (!json_is_boolean(active)) {
        unknown(out, "the answer is not one of RFC 7662");
    } else if (!json_is_true(active)) {
        out->result = AUTH_TOKEN_BAD;
    } else {
        out->result = AUTH_TOKEN_GOOD;
        if (json_is_number(expires) && json_number_value(expires) > 0
            && json_number_value(expires) < 1e15)
            out->expires_s = (uint64_t)json_number_value(expires);
        for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
            const json_t *name = json_object_get(root, names[i]);
            struct slice text = json_is_string(name)
                                    ? slice_of(json_string_value(name), json_string_length(name))
                                    : SLICE_NULL;

            if (!sasl_user_valid(text))
                continue;
            memcpy(out->names[i], text.data, text.len);
            out->name_len[i] = (uint8_t)text.len;
        }
    }
    json_decref(root);
}

struct slice auth_token_name(const struct auth_token_answer *answer, struct slice claimed)
{
    for (unsigned i = 0; i < ARRAY_LEN(answer->names); i++) {
        struct slice name = slice_of(answer->names[i], answer->name_len[i]);

        if (name.len > 0 && (claimed.len == 0 || slice_equal_nocase(name, claimed)))
            return name;
    }
    return SLICE_NULL;
}

/* ---- the cache ----------------------------------------------------------------------------- */

struct slot {
    uint8_t digest[DIGEST];
    uint64_t until_ms;
    struct auth_token_answer answer;
};

struct auth_token_cache {
    struct slot *slots[AUTH_TOKEN_SLOTS];
};

struct auth_token_cache *auth_token_cache_create(void)
{
    return mem_zalloc(sizeof(struct auth_token_cache));
}

void auth_token_cache_clear(struct auth_token_cache *c)
{
    for (unsigned i = 0; i < AUTH_TOKEN_SLOTS; i++) {
        mem_free(c->slots[i]);
        c->slots[i] = NULL;
    }
}

void auth_token_cache_destroy(struct auth_token_cache *c)
{
    if (c != NULL)
        auth_token_cache_clear(c);
    mem_free(c);
}

static unsigned slot_of(struct slice token, uint8_t digest[DIGEST])
{
    tls_digest(TLS_HASH_SHA256, token, digest);
    return get_le16(digest) % AUTH_TOKEN_SLOTS;
}

const struct auth_token_answer *auth_token_cache_find(const struct auth_token_cache *c,
                                                      struct slice token, uint64_t now_ms)
{
    uint8_t digest[DIGEST];
    const struct slot *slot = c->slots[slot_of(token, digest)];

    if (slot == NULL || slot->until_ms <= now_ms
        || !tls_equal(slice_of(digest, DIGEST), slice_of(slot->digest, DIGEST)))
        return NULL;
    return &slot->answer;
}

void auth_token_cache_keep(struct auth_token_cache *c, struct slice token, uint64_t until_ms,
                           const struct auth_token_answer *answer)
{
    uint8_t digest[DIGEST];
    unsigned at = slot_of(token, digest);

    if (c->slots[at] == NULL)
        c->slots[at] = mem_alloc(sizeof(struct slot));
    *c->slots[at] = (struct slot){.until_ms = until_ms, .answer = *answer};
    memcpy(c->slots[at]->digest, digest, DIGEST);
}
