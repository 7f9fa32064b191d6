#include "conf_text_priv.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base_assert.h"
#include "base_codec.h"
#include "base_mem.h"

enum {
    TEXT_SIZE_MAX = 64 << 20,
    DEPTH_MAX = 16, /* of braces */
};

char *conf_read_all(FILE *file, size_t size_max, size_t *len, char *why, size_t why_size)
{
    size_t capacity = 4096;
    size_t used = 0;
    char *bytes = mem_alloc(capacity);

    for (;;) {
        used += fread(bytes + used, 1, capacity - used, file);
        if (used < capacity)
            break;
        if (capacity > size_max) {
            (void)snprintf(why, why_size, "larger than %zu MiB", size_max >> 20);
            mem_free(bytes);
            return NULL;
        }
        capacity *= 2;
        bytes = mem_realloc(bytes, capacity);
    }
    if (ferror(file)) {
        (void)snprintf(why, why_size, "%s", strerrordesc_np(errno));
        mem_free(bytes);
        return NULL;
    }
    bytes[used] = '\0';
    *len = used;
    return bytes;
}

struct conf_text *conf_text_read(const char *path, char *why, size_t why_size)
{
    struct stat status;
    struct conf_text *text = NULL;
    FILE *file = fopen(path, "re");

    if (file == NULL || fstat(fileno(file), &status) != 0) {
        (void)snprintf(why, why_size, "%s", strerrordesc_np(errno));
        goto out;
    }
    size_t len;
    char *bytes = conf_read_all(file, TEXT_SIZE_MAX, &len, why, why_size);
    if (bytes == NULL)
        goto out;
    text = mem_zalloc(sizeof(*text));
    text->path = mem_strdup(path);
    text->device = (uint64_t)status.st_dev;
    text->inode = (uint64_t)status.st_ino;
    text->bytes = bytes;
    text->len = len;
out:
    if (file != NULL)
        (void)fclose(file); /* only read from */
    return text;
}

void conf_text_destroy(struct conf_text *text)
{
    if (text == NULL)
        return;
    mem_free(text->path);
    mem_free(text->bytes);
    mem_free(text);
}

/* Tokens, cut as libconfuse's scanner cuts them. */
enum token_kind {
    TOKEN_END,
    TOKEN_SPACE,
    TOKEN_COMMENT,
    TOKEN_WORD,
    TOKEN_PUNCTUATION,
    TOKEN_OPEN
};
struct token {
    enum token_kind kind; /* OPEN: a comment or a string that has no end */
    size_t start;
    size_t end;
};

static bool is_word_byte(char c)
{
    return c != '\0' && strchr(" #\"'\t\n\r={}()+,*", c) == NULL;
}

/* The index behind "}" that closes the "${" at `at`; 0 if nothing closes it. */
static size_t variable_end(const struct conf_text *text, size_t at)
{
    if (text->bytes[at] != '$' || text->bytes[at + 1] != '{')
        return 0;
    const char *end = strchr(text->bytes + at, '}');
    return end == NULL ? 0 : (size_t)(end - text->bytes) + 1;
}

/* The index behind the closing quote; 0 if there is none. Variables may hold quotes themselves. */
static size_t string_end(const struct conf_text *text, size_t at)
{
    char quote = text->bytes[at++];

    while (at < text->len && text->bytes[at] != quote) {
        size_t end = quote == '"' ? variable_end(text, at) : 0;

        if (end > 0)
            at = end;
        else
            at += text->bytes[at] == '\\' ? 2 : 1;
    }
    return at < text->len ? at + 1 : 0;
}

static struct token token_from(enum token_kind kind, size_t start, size_t end)
{
    return (struct token){end == 0 ? TOKEN_OPEN : kind, start, end};
}

static struct token next_token(const struct conf_text *text, size_t at)
{
    const char *bytes = text->bytes;
    size_t end = at;
    char c = bytes[at];

    if (at >= text->len)
        return (struct token){TOKEN_END, text->len, text->len};
    if (c == '#' || (c == '/' && bytes[at + 1] == '/')) {
        const char *line_end = strchr(bytes + at, '\n');

        return token_from(TOKEN_COMMENT, at,
                          line_end == NULL ? text->len : (size_t)(line_end - bytes));
    }
    if (c == '/' && bytes[at + 1] == '*') {
        const char *close = strstr(bytes + at + 2, "*/");

        return token_from(TOKEN_COMMENT, at, close == NULL ? 0 : (size_t)(close - bytes) + 2);
    }
    if (c == '"' || c == '\'')
        return token_from(TOKEN_WORD, at, string_end(text, at));
    if (variable_end(text, at) > 0)
        return token_from(TOKEN_WORD, at, variable_end(text, at));
    while (is_word_byte(bytes[end]))
        end++;
    if (end > at)
        return token_from(TOKEN_WORD, at, end);
    if (c == '+' && bytes[at + 1] == '=')
        return token_from(TOKEN_PUNCTUATION, at, at + 2);
    return token_from(strchr("={}(),", c) != NULL ? TOKEN_PUNCTUATION : TOKEN_SPACE, at, at + 1);
}

/* The next token that is neither space nor comment. */
static struct token next_solid(const struct conf_text *text, size_t at)
{
    struct token token = next_token(text, at);

    while (token.kind == TOKEN_SPACE || token.kind == TOKEN_COMMENT)
        token = next_token(text, token.end);
    return token;
}

static void blank(struct conf_text *text, size_t start, size_t end)
{
    for (size_t i = start; i < end; i++)
        if (text->bytes[i] != '\n')
            text->bytes[i] = ' ';
}

static unsigned count_lines(const struct conf_text *text, size_t from, size_t to)
{
    unsigned lines = 0;

    for (size_t i = from; i < to; i++)
        lines += text->bytes[i] == '\n';
    return lines;
}

/* The first byte that no text has; the text's length if there is none. */
static size_t find_control(const struct conf_text *text)
{
    size_t i = 0;

    for (; i < text->len; i++) {
        unsigned char c = (unsigned char)text->bytes[i];

        if ((c < ' ' && c != '\t' && c != '\n' && c != '\r') || c == 127)
            break;
    }
    return i;
}

/* What is open at some point of a text. */
struct nesting {
    size_t braces[DEPTH_MAX]; /* where those are that wait for their end */
    size_t depth;
    enum { OUTSIDE, WANT_ARGUMENT, HAVE_ARGUMENT } parentheses;
};

static const char bad_arguments[] = "what stands in parentheses is not a list of arguments";

/* libconfuse does not free the arguments of a call that has an error in it, so that is found here. */
static const char *nest_argument(struct nesting *nesting, enum token_kind kind, char c)
{
    if (kind == TOKEN_WORD && nesting->parentheses == WANT_ARGUMENT)
        nesting->parentheses = HAVE_ARGUMENT;
    else if (kind == TOKEN_PUNCTUATION && c == ',' && nesting->parentheses == HAVE_ARGUMENT)
        nesting->parentheses = WANT_ARGUMENT;
    else if (kind == TOKEN_PUNCTUATION && c == ')')
        nesting->parentheses = OUTSIDE;
    else
        return bad_arguments;
    return NULL;
}

static const char *nest(struct nesting *nesting, struct token token, char c)
{
    if (token.kind == TOKEN_OPEN)
        return c == '/' ? "this comment has no end" : "this string has no closing quote";
    if (token.kind != TOKEN_WORD && token.kind != TOKEN_PUNCTUATION)
        return NULL;
    if (nesting->parentheses != OUTSIDE)
        return nest_argument(nesting, token.kind, c);
    if (token.kind == TOKEN_WORD)
        return NULL;
    if (c == '(')
        nesting->parentheses = WANT_ARGUMENT;
    if (c == '{' && nesting->depth == DEPTH_MAX)
        return "sections are nested too deeply";
    if (c == '{')
        nesting->braces[nesting->depth++] = token.start;
    if (c == '}' && nesting->depth > 0)
        nesting->depth--;
    return NULL;
}

bool conf_text_prepare(struct conf_text *text, unsigned *line, const char **why)
{
    struct nesting nesting = {.depth = 0};
    size_t at = find_control(text);

    *why = at < text->len ? "a control character: this is not a text file" : NULL;
    for (struct token token = next_token(text, 0); token.kind != TOKEN_END && *why == NULL;
         token = next_token(text, token.end)) {
        at = token.start;
        *why = nest(&nesting, token, text->bytes[at]);
        if (token.kind == TOKEN_COMMENT)
            blank(text, token.start, token.end);
    }
    if (*why == NULL && nesting.parentheses != OUTSIDE) {
        *why = bad_arguments;
    } else if (*why == NULL && nesting.depth > 0) {
        /* libconfuse would take the rest of the file for the inside of the section. */
        at = nesting.braces[nesting.depth - 1];
        *why = "this brace is not closed";
    }
    *line = 1 + count_lines(text, 0, at);
    return *why == NULL;
}

/* The index behind the setting whose name ends at `at`; 0 if none has its name there. */
static size_t setting_end(const struct conf_text *text, size_t at)
{
    struct token token = next_solid(text, at);
    unsigned depth = 0;

    if (token.kind == TOKEN_WORD) /* a title */
        token = next_solid(text, token.end);
    if (token.kind != TOKEN_PUNCTUATION)
        return 0;
    if (text->bytes[token.start] == '=' || text->bytes[token.start] == '+') {
        token = next_solid(text, token.end);
        if (token.kind == TOKEN_WORD)
            return token.end;
    }
    for (; token.kind == TOKEN_WORD || token.kind == TOKEN_PUNCTUATION;
         token = next_solid(text, token.end)) {
        char c = text->bytes[token.start];

        if (token.kind != TOKEN_PUNCTUATION)
            continue;
        depth += c == '{' || c == '(';
        if ((c == '}' || c == ')') && depth-- <= 1)
            return token.end;
    }
    return 0;
}

bool conf_text_blank(struct conf_text *text, unsigned line, struct slice name)
{
    size_t at = 0;

    for (unsigned i = 1; i < line; i++) {
        const char *end = strchr(text->bytes + at, '\n');

        if (end == NULL)
            return false;
        at = (size_t)(end - text->bytes) + 1;
    }
    const char *line_end = strchrnul(text->bytes + at, '\n');
    for (struct token token = next_solid(text, at);
         token.kind == TOKEN_WORD || token.kind == TOKEN_PUNCTUATION;
         token = next_solid(text, token.end)) {
        struct slice word = slice_of(text->bytes + token.start, token.end - token.start);
        size_t end;

        if (token.start >= (size_t)(line_end - text->bytes))
            return false;
        if (word.len > 2 && (word.data[0] == '"' || word.data[0] == '\''))
            word = slice_of(word.data + 1, word.len - 2);
        if (slice_equal(word, name) && (end = setting_end(text, token.end)) > 0) {
            blank(text, token.start, end);
            return true;
        }
    }
    return false;
}
