/* conf_notices: see the header. The files count as parts of the configuration: a reload sees what is new. */
#include "conf_notices_priv.h"

#include "base_assert.h"
#include "conf_value_priv.h"
#include "mail_template.h"

static const struct mail_template *load_template(struct conf_load *load, const char *name,
                                                 const char *const *path)
{
    struct conf_place here = conf_place_of(load, path);
    struct arena *arena = &load->box->arena;
    struct mail_template *template;
    struct conf_place place = {NULL, 1};
    struct conf_text *text;
    struct buf problem;
    char why[200];

    if (*path == NULL)
        return NULL;
    text = conf_text_read(*path, why, sizeof(why));
    if (text == NULL) {
        conf_fail(load, here, "%s: cannot read %s: %s", name, *path, why);
        return NULL;
    }
    conf_texts_add(load, text);
    place.text = text;
    template = arena_alloc(arena, sizeof(*template));
    ASSERT(template != NULL);
    buf_init(&problem, 0);
    if (!mail_template_parse(conf_keep(arena, slice_of(text->bytes, text->len)), template,
                             &place.line, &problem))
        conf_fail(load, place, "%.*s", SLICE_ARG(buf_slice(&problem)));
    buf_finish(&problem);
    return template;
}

void conf_notices_load(struct conf_load *load)
{
    struct conf_notices *n = &load->box->conf.notices;

    n->failure = load_template(load, "template_failure", &n->template_failure);
    n->delay = load_template(load, "template_delay", &n->template_delay);
    n->success = load_template(load, "template_success", &n->template_success);
}
