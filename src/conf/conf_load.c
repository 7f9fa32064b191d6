#include "conf_load_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_assert.h"
#include "base_mem.h"
#include "conf_value_priv.h"

/* A text is read again after an unknown setting, and the same things are wrong with it then. */
static bool is_known(const struct conf_load *load, struct conf_place place, const char *message)
{
    for (size_t i = 0; i < load->problem_count; i++)
        if (load->problems[i].place.text == place.text && load->problems[i].place.line == place.line
            && strcmp(load->problems[i].message, message) == 0)
            return true;
    return false;
}

/* The message as a string in `message`, which is the caller's to finish. */
__attribute__((format(printf, 2, 0))) static const char *format_message(struct buf *message,
                                                                        const char *format,
                                                                        va_list args)
{
    buf_init(message, 4096);
    /* A name in it may be as long as the file. */
    if (!buf_vprintf(message, format, args)) {
        buf_clear(message);
        (void)buf_append_str(message, "something is wrong with a very long name here");
    }
    (void)buf_append_byte(message, '\0');
    char *text = (char *)message->data + message->head;
    /* One problem is one line, whatever was escaped in a value. */
    for (char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 127)
            *c = '?';
    return text;
}

__attribute__((format(printf, 4, 0))) static void add_problem(struct conf_load *load,
                                                              struct conf_place place, bool warning,
                                                              const char *format, va_list args)
{
    struct buf message;
    const char *text = format_message(&message, format, args);

    if (!warning)
        load->error_count++;
    if (load->problem_count < CONF_PROBLEMS_MAX && !is_known(load, place, text)) {
        load->problems =
            mem_realloc(load->problems, (load->problem_count + 1) * sizeof(*load->problems));
        load->problems[load->problem_count] = (struct conf_problem){
            .message = mem_strdup(text),
            .place = place,
            .number = load->problem_count,
            .warning = warning,
        };
        load->problem_count++;
    }
    buf_finish(&message);
}

void conf_fail(struct conf_load *load, struct conf_place place, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_problem(load, place, false, format, args);
    va_end(args);
}

void conf_warn(struct conf_load *load, struct conf_place place, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    add_problem(load, place, true, format, args);
    va_end(args);
}

static int compare_problems(const void *a, const void *b)
{
    const struct conf_problem *p = a;
    const struct conf_problem *q = b;
    unsigned p_file = p->place.text == NULL ? 0 : p->place.text->number;
    unsigned q_file = q->place.text == NULL ? 0 : q->place.text->number;

    if (p_file != q_file)
        return p_file < q_file ? -1 : 1;
    if (p->place.line != q->place.line)
        return p->place.line < q->place.line ? -1 : 1;
    return p->number < q->number ? -1 : 1;
}

static void append_error(struct conf_errors *errors, const char *file, unsigned line, bool warning,
                         const char *message)
{
    size_t size = strlen(file) + strlen(message) + 40;
    char *line_text = mem_alloc(size);

    (void)snprintf(line_text, size, "%s:%u: %s%s", file, line == 0 ? 1 : line,
                   warning ? "warning: " : "", message);
    errors->items = mem_realloc(errors->items, (errors->count + 1) * sizeof(*errors->items));
    errors->items[errors->count++] = (struct conf_error){.text = line_text, .warning = warning};
    errors->warning_count += warning ? 1 : 0;
}

static void report(struct conf_errors *errors, const struct conf_problem *problem,
                   const char *file_by_default)
{
    const struct conf_text *text = problem->place.text;

    append_error(errors, text == NULL ? file_by_default : text->path, problem->place.line,
                 problem->warning, problem->message);
}

void conf_report(struct conf_load *load, struct conf_errors *errors)
{
    const char *file = load->texts->path;

    if (load->problem_count > 0)
        qsort(load->problems, load->problem_count, sizeof(*load->problems), compare_problems);
    for (size_t i = 0; i < load->problem_count; i++) {
        report(errors, &load->problems[i], file);
        mem_free(load->problems[i].message);
    }
    mem_free(load->problems);
    load->problems = NULL;
    load->problem_count = 0;
}

void conf_errors_finish(struct conf_errors *errors)
{
    for (size_t i = 0; i < errors->count; i++)
        mem_free(errors->items[i].text);
    mem_free(errors->items);
    *errors = (struct conf_errors){0};
}

void conf_texts_add(struct conf_load *load, struct conf_text *text)
{
    struct conf_text **end = &load->texts;

    for (; *end != NULL; end = &(*end)->next)
        text->number = (*end)->number + 1;
    *end = text;
}

void conf_mark(struct conf_load *load, const void *field, struct conf_place place)
{
    if (load->mark_count == load->mark_capacity) {
        load->mark_capacity = load->mark_capacity == 0 ? 64 : load->mark_capacity * 2;
        load->marks = mem_realloc(load->marks, load->mark_capacity * sizeof(*load->marks));
    }
    load->marks[load->mark_count++] = (struct conf_mark){field, place};
}

static int compare_marks(const void *a, const void *b)
{
    uintptr_t p = (uintptr_t)((const struct conf_mark *)a)->field;
    uintptr_t q = (uintptr_t)((const struct conf_mark *)b)->field;

    return (p > q) - (p < q);
}

void conf_marks_sort(struct conf_load *load)
{
    if (load->mark_count > 0)
        qsort(load->marks, load->mark_count, sizeof(*load->marks), compare_marks);
}

struct conf_place conf_place_of(const struct conf_load *load, const void *field)
{
    const struct conf_mark key = {.field = field};
    const struct conf_mark *mark = NULL;

    if (load->mark_count > 0)
        mark = bsearch(&key, load->marks, load->mark_count, sizeof(key), compare_marks);
    return mark == NULL ? (struct conf_place){NULL, 0} : mark->place;
}

void conf_place_name(struct conf_place place, struct conf_place from, char *out, size_t size)
{
    if (place.text == NULL)
        (void)snprintf(out, size, "the defaults");
    else if (place.text == from.text)
        (void)snprintf(out, size, "line %u", place.line);
    else
        (void)snprintf(out, size, "%s:%u", place.text->path, place.line);
}

void conf_marks_keep(struct conf_load *load)
{
    struct conf_box *box = load->box;
    const struct conf_text *text = NULL;
    const char *file = NULL;

    if (load->mark_count == 0)
        return;
    box->places = arena_alloc(&box->arena, load->mark_count * sizeof(*box->places));
    ASSERT(box->places != NULL);
    for (size_t i = 0; i < load->mark_count; i++) {
        const struct conf_mark *mark = &load->marks[i];

        if (mark->place.text != text) {
            text = mark->place.text;
            file = text == NULL ? NULL
                                : (const char *)conf_keep(&box->arena, slice_str(text->path)).data;
        }
        box->places[i] = (struct conf_kept_place){mark->field, file, mark->place.line};
    }
    box->place_count = load->mark_count;
}

static int compare_kept_places(const void *a, const void *b)
{
    uintptr_t p = (uintptr_t)((const struct conf_kept_place *)a)->field;
    uintptr_t q = (uintptr_t)((const struct conf_kept_place *)b)->field;

    return (p > q) - (p < q);
}

/* Domains and routes were sorted after they were read: another's marks are where theirs were. */
static bool was_moved(const struct conf *conf, const void *field)
{
    uintptr_t at = (uintptr_t)field;
    uintptr_t domains = (uintptr_t)conf->domains, routes = (uintptr_t)conf->routes;

    return (at >= domains && at < domains + conf->domain_count * sizeof(*conf->domains))
           || (at >= routes && at < routes + conf->route_count * sizeof(*conf->routes));
}

void conf_errors_add(struct conf_errors *errors, const struct conf *conf, const void *field,
                     bool warning, const char *format, ...)
{
    const struct conf_box *box = container_of(conf, struct conf_box, conf);
    const struct conf_kept_place key = {.field = field};
    const struct conf_kept_place *place = NULL;
    struct buf message;
    va_list args;

    if (box->place_count > 0 && !was_moved(conf, field))
        place = bsearch(&key, box->places, box->place_count, sizeof(key), compare_kept_places);
    va_start(args, format);
    const char *text = format_message(&message, format, args);
    va_end(args);
    if (place != NULL && place->file != NULL)
        append_error(errors, place->file, place->line, warning, text);
    else
        append_error(errors, conf->file, 1, warning, text);
    buf_finish(&message);
}

void conf_errors_add_at(struct conf_errors *errors, const char *file, unsigned line, bool warning,
                        const char *format, ...)
{
    struct buf message;
    va_list args;

    va_start(args, format);
    append_error(errors, file, line, warning, format_message(&message, format, args));
    va_end(args);
    buf_finish(&message);
}
