-- Invoices that were sent to a tenant's customers.

-- What was sent lies in the file; what became of it, in the messages. is_resend: the same number had been sent before, and was sent again on purpose.
CREATE TABLE invoice_deliveries (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, number TEXT NOT NULL, is_resend BOOLEAN NOT NULL, channel TEXT NOT NULL, reason TEXT NOT NULL,
    filename TEXT NOT NULL, attachment_id {ID} NOT NULL, size BIGINT NOT NULL, sha256 TEXT NOT NULL, total_micros BIGINT, currency TEXT, contact_id {ID},
    email_message_id {ID}, whatsapp_message_id {ID}, created_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, id)
) {CLUSTERED};
CREATE UNIQUE INDEX invoice_deliveries_once ON invoice_deliveries (tenant_id, number) WHERE NOT is_resend;
CREATE INDEX invoice_deliveries_number ON invoice_deliveries (tenant_id, number, id);
CREATE INDEX invoice_deliveries_contact ON invoice_deliveries (tenant_id, contact_id) WHERE contact_id IS NOT NULL;
