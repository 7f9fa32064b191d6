/*
 * mail_dsn_cause: a table from enhanced status codes (RFC 3463, and IANA's registry of them) to what a
 * person who never heard of SMTP can do about it. Servers use the codes loosely, so the words promise
 * little, and the remote's own stand below them.
 */
#include "mail_dsn_priv.h"

#include "base_assert.h"

enum cause {
    CAUSE_NO_MAILBOX,
    CAUSE_NO_DOMAIN,
    CAUSE_NO_MAIL,
    CAUSE_BAD_ADDRESS,
    CAUSE_MOVED,
    CAUSE_SENDER,
    CAUSE_DISABLED,
    CAUSE_FULL,
    CAUSE_TOO_BIG,
    CAUSE_LIST,
    CAUSE_SYSTEM,
    CAUSE_UNREACHABLE,
    CAUSE_LOOKUP,
    CAUSE_LOOP,
    CAUSE_TOO_MANY,
    CAUSE_PROTOCOL,
    CAUSE_UTF8,
    CAUSE_CONTENT,
    CAUSE_RELAY,
    CAUSE_SPAM,
    CAUSE_TLS,
    CAUSE_UNVERIFIED,
    CAUSE_LOGIN,
    CAUSE_POLICY,
    CAUSE_EXPIRED,
    CAUSE_REFUSED,
    CAUSE_LATER,
    CAUSE_OURS,
};

static const struct mail_dsn_cause causes[] = {
    [CAUSE_NO_MAILBOX] =
        {"There is no such address.",
         "Check the part before the @ for typing mistakes, or ask the recipient for "
         "the right address in another way."},
    [CAUSE_NO_DOMAIN] =
        {"The domain of this address, which is the part behind the @, does not exist, or "
         "has no mail server.",
         "Check it for typing mistakes."},
    [CAUSE_NO_MAIL] = {"The domain of this address takes no mail at all.",
                       "Check the part behind the @ for typing mistakes, or reach the recipient in "
                       "another way."},
    [CAUSE_BAD_ADDRESS] = {"This is not written as an address has to be.",
                           "Check it for typing mistakes."},
    [CAUSE_MOVED] = {"The recipient has moved and left no new address.",
                     "Ask for the new one in another way."},
    [CAUSE_SENDER] = {"The recipient's mail system does not accept your own address.",
                      "Check that the address that you write from is right; if it is, ask who "
                      "runs your mail system."},
    [CAUSE_DISABLED] = {"The recipient's mailbox takes no mail now.",
                        "Tell the recipient in another way."},
    [CAUSE_FULL] = {"The recipient's mailbox is full.",
                    "Tell the recipient in another way, or send your message again later."},
    [CAUSE_TOO_BIG] = {"Your message is larger than the recipient's mail system takes.",
                       "Send it without large attachments, and share those in another way."},
    [CAUSE_LIST] = {"The address is a list of addresses, and something is wrong with it.",
                    "Ask who runs the list."},
    [CAUSE_SYSTEM] = {"The recipient's mail system has a problem of its own.",
                      "Send your message again later, or tell the recipient in another way."},
    [CAUSE_UNREACHABLE] =
        {"The recipient's mail system could not be reached, or did not answer as it "
         "should.",
         "It may be out of order, or the part behind the @ may be wrong."},
    [CAUSE_LOOKUP] = {"It could not be found out which mail system takes the recipient's mail.",
                      "The part behind the @ may be wrong, or the domain may be out of order."},
    [CAUSE_LOOP] =
        {"Your message went round in circles between mail systems.",
         "Mail for this address is forwarded wrongly: only the recipient, or who runs the "
         "mail systems on the way, can mend that."},
    [CAUSE_TOO_MANY] = {"The message has more recipients than the mail system takes at a time.",
                        "Send it to fewer recipients at a time."},
    [CAUSE_PROTOCOL] =
        {"Our mail system and the recipient's did not understand each other.",
         "Those who run them have to find out why; nothing is wrong with the address."},
    [CAUSE_UTF8] = {"The recipient's mail system does not know addresses with other than English "
                    "letters.",
                    "Write to, or from, another address."},
    [CAUSE_CONTENT] = {"The recipient's mail system cannot take what is in your message.",
                       "Send it in another form, for instance without attachments."},
    [CAUSE_RELAY] =
        {"The mail server that was asked does not take mail for this address.",
         "Check the part behind the @ for typing mistakes. If it is right, the domain has "
         "named the wrong server."},
    [CAUSE_SPAM] = {"The recipient's mail system took your message for unwanted mail.",
                    "Tell the recipient in another way, or send a plainer message: fewer links, no "
                    "attachments."},
    [CAUSE_TLS] = {"Your message may travel only over encrypted and verified connections, and the "
                   "recipient's mail system could not be reached over one.",
                   "Who runs it has to mend that."},
    [CAUSE_UNVERIFIED] =
        {"The recipient's mail system could not make sure that your message comes from "
         "whom it says it does.",
         "Ask who runs your mail system: it is about SPF, DKIM, DMARC or the name "
         "of the server."},
    [CAUSE_LOGIN] = {"The mail server on the way to the recipient did not let us in.",
                     "Ask who runs our mail system; nothing is wrong with the address."},
    [CAUSE_POLICY] =
        {"The recipient's mail system does not accept your message: it has rules against "
         "it, or against mail from you.",
         "Its own words, below, may say more. If you think that it is wrong, tell the "
         "recipient in another way."},
    [CAUSE_EXPIRED] = {"The recipient's mail system could not take your message in all that time.",
                       "Send it again later, or tell the recipient in another way."},
    [CAUSE_REFUSED] = {"The recipient's mail system refused your message.",
                       "Its own words, below, may say why."},
    [CAUSE_LATER] = {"The recipient's mail system does not take your message now.", NULL},
    [CAUSE_OURS] = {"Our mail system could not deliver your message.", NULL},
};

enum { ANY = 1000 };

/* The first that fits. */
static const struct {
    uint16_t subject, detail;
    const char *word; /* that must stand in the diagnostic, in lower case, or NULL */
    enum cause cause;
} rows[] = {
    {1, 2, NULL, CAUSE_NO_DOMAIN},     {1, 3, NULL, CAUSE_BAD_ADDRESS},
    {1, 6, NULL, CAUSE_MOVED},         {1, 7, NULL, CAUSE_SENDER},
    {1, 8, NULL, CAUSE_SENDER},        {1, 10, NULL, CAUSE_NO_MAIL},
    {1, ANY, "relay", CAUSE_RELAY},    {1, ANY, NULL, CAUSE_NO_MAILBOX},
    {2, 2, NULL, CAUSE_FULL},          {2, 3, NULL, CAUSE_TOO_BIG},
    {2, 4, NULL, CAUSE_LIST},          {2, ANY, NULL, CAUSE_DISABLED},
    {3, 4, NULL, CAUSE_TOO_BIG},       {3, ANY, NULL, CAUSE_SYSTEM},
    {4, 3, NULL, CAUSE_LOOKUP},        {4, 4, NULL, CAUSE_NO_DOMAIN},
    {4, 6, NULL, CAUSE_LOOP},          {4, 7, NULL, CAUSE_EXPIRED},
    {4, ANY, NULL, CAUSE_UNREACHABLE}, {5, 3, NULL, CAUSE_TOO_MANY},
    {5, ANY, NULL, CAUSE_PROTOCOL},    {6, 7, NULL, CAUSE_UTF8},
    {6, 9, NULL, CAUSE_UTF8},          {6, ANY, NULL, CAUSE_CONTENT},
    {7, 4, NULL, CAUSE_TLS},           {7, 5, NULL, CAUSE_TLS},
    {7, 8, NULL, CAUSE_LOGIN},         {7, 9, NULL, CAUSE_LOGIN},
    {7, 10, NULL, CAUSE_TLS},          {7, 20, NULL, CAUSE_UNVERIFIED},
    {7, 21, NULL, CAUSE_UNVERIFIED},   {7, 22, NULL, CAUSE_UNVERIFIED},
    {7, 23, NULL, CAUSE_UNVERIFIED},   {7, 24, NULL, CAUSE_UNVERIFIED},
    {7, 25, NULL, CAUSE_UNVERIFIED},   {7, 26, NULL, CAUSE_UNVERIFIED},
    {7, 27, NULL, CAUSE_SENDER},       {7, 30, NULL, CAUSE_TLS},
    {7, ANY, "relay", CAUSE_RELAY},    {7, ANY, "spam", CAUSE_SPAM},
    {7, ANY, "virus", CAUSE_CONTENT},  {7, ANY, "dmarc", CAUSE_UNVERIFIED},
    {7, ANY, NULL, CAUSE_POLICY},
};

static bool has_word(struct slice text, const char *word)
{
    struct slice wanted = slice_str(word);

    for (; text.len >= wanted.len; slice_advance(&text, 1)) {
        if (slice_starts_nocase(text, wanted))
            return true;
    }
    return false;
}

/* The code has no enhanced one, or one that says nothing. RFC 5321 4.2.3. */
static enum cause cause_of_reply(const struct mail_dsn_rcpt *r)
{
    if (r->code == 0)
        return CAUSE_OURS;
    if (has_word(r->diagnostic, "relay"))
        return CAUSE_RELAY;
    if (r->code == 552)
        return CAUSE_TOO_BIG;
    if (r->code == 452)
        return CAUSE_FULL;
    return r->code >= 500 ? CAUSE_REFUSED : CAUSE_LATER;
}

const struct mail_dsn_cause *mail_dsn_cause(const struct mail_dsn_rcpt *r)
{
    if (r->enhanced[0] == 0 || r->enhanced[1] == 0)
        return &causes[cause_of_reply(r)];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].subject == r->enhanced[1]
            && (rows[i].detail == ANY || rows[i].detail == r->enhanced[2])
            && (rows[i].word == NULL || has_word(r->diagnostic, rows[i].word)))
            return &causes[rows[i].cause];
    }
    return &causes[cause_of_reply(r)];
}
