-- What price lists charged before sums of it were kept, so that months which are still open are billed whole, those that were billed are not billed again, and the books add up. The
-- country was not kept with a charge: it stands for none.
INSERT INTO charge_counters (tenant_id, at, channel, country, messages, charged)
    SELECT c.tenant_id, {QUARTER}, m.channel, '', COUNT(*), CAST(SUM(c.charged) AS BIGINT) FROM message_charges AS c
        JOIN messages AS m ON m.tenant_id = c.tenant_id AND m.id = c.message_id
    WHERE c.charged <> 0 AND NOT EXISTS (SELECT 1 FROM charge_counters) GROUP BY c.tenant_id, {QUARTER}, m.channel;
-- Charges of messages that are gone, in no month.
INSERT INTO charge_counters (tenant_id, at, channel, country, messages, charged)
    SELECT l.tenant_id, {EPOCH}, 1, '', 0, l.revenue - COALESCE(s.charged, 0) FROM credit_ledgers AS l
        LEFT JOIN (SELECT tenant_id, CAST(SUM(charged) AS BIGINT) AS charged FROM charge_counters GROUP BY tenant_id) AS s ON s.tenant_id = l.tenant_id
    WHERE l.revenue <> COALESCE(s.charged, 0);
INSERT INTO invoiced_usage (tenant_id, starts_at, channel, country, ends_at, sent, charges, charged)
    SELECT i.tenant_id, i.starts_at, s.channel, s.country, i.ends_at, 0, CAST(SUM(s.messages) AS BIGINT), CAST(SUM(s.charged) AS BIGINT) FROM invoices AS i
        JOIN charge_counters AS s ON s.tenant_id = i.tenant_id AND s.at >= i.starts_at AND s.at < i.ends_at
    WHERE i.kind = 'invoice' GROUP BY i.tenant_id, i.starts_at, s.channel, s.country, i.ends_at
    ON CONFLICT (tenant_id, starts_at, channel, country) DO UPDATE SET charges = excluded.charges, charged = excluded.charged;
