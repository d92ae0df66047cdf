-- What bills did not know yet: tenants without a plan, what became of the mail an invoice went out in, and what was forgiven.

-- A tenant that pays afterwards is billed by the price list alone where it has no plan: plan_id is NULL. An invoice that was due by forgiven_until makes nobody past due.
CREATE TABLE billed_tenants (
    tenant_id {ID} PRIMARY KEY, plan_id {ID}, trial_ends_at {TIME}, past_due_since {TIME}, forgiven_until {TIME}, canceled_at {TIME}, customer TEXT NOT NULL,
    counted_from {TIME} NOT NULL, billed_until {TIME} NOT NULL, closes_at {TIME}, created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL
) {CLUSTERED};
INSERT INTO billed_tenants SELECT tenant_id, plan_id, trial_ends_at, past_due_since, NULL, canceled_at, customer, counted_from, billed_until, closes_at, created_at, updated_at
    FROM subscriptions;
DROP TABLE subscriptions;
ALTER TABLE billed_tenants RENAME TO subscriptions;
CREATE INDEX subscriptions_closing ON subscriptions (closes_at, tenant_id) WHERE closes_at IS NOT NULL;
CREATE INDEX subscriptions_plan ON subscriptions (plan_id);

-- Of how many messages `warned` is a percentage: with a plan of another size the tenant is told anew. 0 is not known.
ALTER TABLE quota_counters ADD COLUMN warned_of BIGINT NOT NULL DEFAULT 0;

-- An invoice's mail: mail_id is a message of mail_tenant_id, mailed_at when that was accepted, mail_state what became of it, mail_failure (a JSON object) why it did not go or arrive, and
-- mail_at when it is looked at next.
ALTER TABLE invoices ADD COLUMN mail_state TEXT;
ALTER TABLE invoices ADD COLUMN mail_failure TEXT;
ALTER TABLE invoices ADD COLUMN mail_tenant_id {ID};
ALTER TABLE invoices ADD COLUMN mail_tries BIGINT NOT NULL DEFAULT 0;
ALTER TABLE invoices ADD COLUMN mail_at {TIME};
UPDATE invoices SET mail_state = 'accepted' WHERE mailed_at IS NOT NULL;
UPDATE invoices SET mail_state = 'waiting', mail_at = issued_at WHERE mailed_at IS NULL AND number IS NOT NULL AND state <> 'void' AND number NOT LIKE 'DEMO-%'
    AND NOT EXISTS (SELECT 1 FROM billing_settings WHERE body LIKE '%"sends_by_itself":false%');
CREATE INDEX invoices_to_mail ON invoices (mail_at, id) WHERE mail_at IS NOT NULL;
