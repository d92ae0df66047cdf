-- Which purchase a payment at the payment provider brought credit to, by the provider's ids of the payment and of the page it was made on. One payment brings credit once, for good, so this
-- stays when the purchase's tenant is removed.
CREATE TABLE credited_payments (payment {KEY} PRIMARY KEY, owner_id {ID} NOT NULL, purchase_id {ID} NOT NULL) {CLUSTERED};
INSERT INTO credited_payments (payment, owner_id, purchase_id)
    SELECT payment, tenant_id, id FROM (SELECT payment, tenant_id, id, ROW_NUMBER() OVER (PARTITION BY payment ORDER BY id) AS place
        FROM credit_purchases WHERE state = 'paid' AND payment IS NOT NULL) AS paid WHERE place = 1;
INSERT INTO credited_payments (payment, owner_id, purchase_id)
    SELECT session, tenant_id, id FROM (SELECT session, tenant_id, id, ROW_NUMBER() OVER (PARTITION BY session ORDER BY id) AS place
        FROM credit_purchases WHERE state = 'paid' AND session IS NOT NULL) AS paid WHERE place = 1;

-- What the operator is to hear of payments: kind is taken, gone or currency for one that brought nobody credit, unheard for one whose event did not come. settled_at: when the money went back,
-- or somebody took care of it.
CREATE TABLE payment_findings (
    payment {KEY} NOT NULL, kind {KEY} NOT NULL, detail TEXT NOT NULL, found_at {TIME} NOT NULL, settled_at {TIME}, PRIMARY KEY (payment, kind)
) {CLUSTERED};
CREATE INDEX payment_findings_age ON payment_findings (found_at);

-- What could not be written for one tenant is looked at again then, so that it does not keep the others. NULL: at once.
ALTER TABLE credit_purchases ADD COLUMN retry_at {TIME};
ALTER TABLE credit_refunds ADD COLUMN retry_at {TIME};
ALTER TABLE payment_methods ADD COLUMN retry_at {TIME};

-- How many rows a price list has, so that a list of lists need not read them. Each row is an object that names its channel once.
ALTER TABLE price_lists ADD COLUMN row_count BIGINT NOT NULL DEFAULT 0;
UPDATE price_lists SET row_count = (LENGTH(body) - LENGTH(REPLACE(body, '"channel":', ''))) / 10;

-- When what was used of a plan is to be counted again after the plan changed: what was on its way then was accepted under the plan before.
ALTER TABLE subscriptions ADD COLUMN recount_at {TIME};
CREATE INDEX subscriptions_recount ON subscriptions (recount_at) WHERE recount_at IS NOT NULL;

-- Nobody owes a credit note: those that took back an invoice below zero were to be paid, and made their tenants past due. The job that notices what is overdue looks at the others anew.
UPDATE subscriptions SET past_due_since = NULL WHERE past_due_since IN (
    SELECT due_at FROM invoices WHERE invoices.tenant_id = subscriptions.tenant_id AND kind = 'credit_note' AND state = 'issued');
UPDATE invoices SET state = 'paid', paid_at = issued_at WHERE kind = 'credit_note' AND state = 'issued';
UPDATE invoices SET due_at = NULL, payment = NULL WHERE kind = 'credit_note';
-- One that cannot be printed stays a draft, and its mail says why.
CREATE INDEX invoices_held ON invoices (id) WHERE state = 'draft' AND mail_state = 'failed';

-- Calls, whose minutes are told apart from each other where prices are tried on a month.
CREATE INDEX messages_calls ON messages (id) WHERE channel = 5;
