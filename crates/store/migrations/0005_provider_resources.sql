-- What an account has at its provider besides messages: mail domains, senders, WhatsApp templates, and how its callbacks are set up.

-- As which of an account's senders a message leaves; NULL for the account's own `from`.
ALTER TABLE messages ADD COLUMN sender_id {ID};

-- `records` is what has to stand in the DNS and what was found there. Private keys of domains we sign for lie in their account's sealed settings.
CREATE TABLE domains (
    id {ID} PRIMARY KEY, tenant_id {ID} NOT NULL, account_id {ID} NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, reference TEXT NOT NULL, records TEXT NOT NULL,
    detail TEXT, checks BIGINT NOT NULL, checked_at {TIME}, next_check_at {TIME}, verified_at {TIME}, created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL,
    UNIQUE (account_id, name)
);
CREATE INDEX domains_tenant ON domains (tenant_id, id);
CREATE INDEX domains_due ON domains (next_check_at) WHERE next_check_at IS NOT NULL;

-- `state` is what the provider said of a number or name; that of a mail address follows from its domain.
CREATE TABLE senders (
    id {ID} PRIMARY KEY, tenant_id {ID} NOT NULL, account_id {ID} NOT NULL, channels TEXT NOT NULL, sender TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL,
    detail TEXT, checked_at {TIME}, created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL, UNIQUE (account_id, sender)
);
CREATE INDEX senders_tenant ON senders (tenant_id, id);

CREATE TABLE whatsapp_templates (
    id {ID} PRIMARY KEY, tenant_id {ID} NOT NULL, account_id {ID} NOT NULL, name TEXT NOT NULL, language TEXT NOT NULL, provider_id TEXT NOT NULL, category TEXT NOT NULL,
    status TEXT NOT NULL, quality TEXT, reason TEXT, components TEXT NOT NULL, created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL, synced_at {TIME} NOT NULL,
    UNIQUE (account_id, name, language)
);
CREATE INDEX whatsapp_templates_tenant ON whatsapp_templates (tenant_id, account_id, id);

-- One row per account that has something at its provider: how its callbacks are set up, and when its templates are read again.
CREATE TABLE account_resources (
    account_id {ID} PRIMARY KEY, tenant_id {ID} NOT NULL, callbacks TEXT, callbacks_at {TIME}, templates_due_at {TIME}, templates_at {TIME}, templates_trouble TEXT
) {CLUSTERED};
CREATE INDEX account_resources_due ON account_resources (templates_due_at) WHERE templates_due_at IS NOT NULL;
