-- In which currency a budget is, and what an alert about one says it in.
ALTER TABLE alert_rules ADD COLUMN currency TEXT;
UPDATE alert_rules SET currency = COALESCE((SELECT credit_ledgers.currency FROM credit_ledgers WHERE credit_ledgers.tenant_id = alert_rules.tenant_id),
    (SELECT tenants.currency FROM tenants WHERE tenants.id = alert_rules.tenant_id)) WHERE kind IN ('cost', 'cost_forecast');
ALTER TABLE alerts ADD COLUMN currency TEXT;
UPDATE alerts SET currency = (SELECT alert_rules.currency FROM alert_rules WHERE alert_rules.tenant_id = alerts.tenant_id AND alert_rules.id = alerts.rule_id)
    WHERE kind IN ('cost', 'cost_forecast');

-- What fires under a rule that was deleted or does not watch ends with it. Earlier versions left it to people to end.
UPDATE alerts SET state = 'resolved', resolved_at = seen_at, telling = NULL, tell_at = NULL WHERE state <> 'resolved' AND NOT EXISTS
    (SELECT 1 FROM alert_rules WHERE alert_rules.tenant_id = alerts.tenant_id AND alert_rules.id = alerts.rule_id AND alert_rules.is_enabled);
DELETE FROM alert_states WHERE NOT EXISTS
    (SELECT 1 FROM alert_rules WHERE alert_rules.tenant_id = alert_states.tenant_id AND alert_rules.id = alert_states.rule_id AND alert_rules.is_enabled);
