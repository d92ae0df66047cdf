-- A month stands on one bill at a time. What was taken back does not count: another bill may stand in its place.
DROP INDEX invoices_month;
CREATE UNIQUE INDEX invoices_month ON invoices (tenant_id, starts_at) WHERE kind = 'invoice' AND state <> 'void';
