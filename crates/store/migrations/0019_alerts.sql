-- Alerts: rules that watch sums and states, what they found, and who was told.

-- What the operator looks at across tenants begins with an instant.
CREATE INDEX message_counters_at ON message_counters (at);

-- The operator's own rules are kept under the zero id. threshold_micros is in millionths of the kind's unit; deliver is a JSON list of where notices go.
CREATE TABLE alert_rules (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, is_enabled BOOLEAN NOT NULL, threshold_micros BIGINT NOT NULL,
    over_s BIGINT NOT NULL, at_least BIGINT NOT NULL, channel BIGINT, account_id {ID}, for_s BIGINT NOT NULL, quiet_s BIGINT NOT NULL, deliver TEXT NOT NULL,
    created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, id)
) {CLUSTERED};

-- What a rule remembers about one subject between two looks. No row: nothing is the matter and nobody was told lately.
CREATE TABLE alert_states (
    tenant_id {ID} NOT NULL, rule_id {ID} NOT NULL, subject {KEY} NOT NULL, memory TEXT NOT NULL, alert_id {ID}, updated_at {TIME} NOT NULL,
    PRIMARY KEY (tenant_id, rule_id, subject)
) {CLUSTERED};

-- telling is what is still to be said about an alert: it is set with the change and emptied once the messages are accepted.
CREATE TABLE alerts (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, rule_id {ID} NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, severity TEXT NOT NULL, title TEXT NOT NULL,
    detail TEXT NOT NULL, value_micros BIGINT NOT NULL, threshold_micros BIGINT NOT NULL, state TEXT NOT NULL, times BIGINT NOT NULL, fired_at {TIME} NOT NULL,
    seen_at {TIME} NOT NULL, acknowledged_at {TIME}, acknowledged_by TEXT, note TEXT, resolved_at {TIME}, resolved_by TEXT, telling TEXT, told_at {TIME},
    PRIMARY KEY (tenant_id, id)
) {CLUSTERED};
CREATE INDEX alerts_open ON alerts (tenant_id, id) WHERE state <> 'resolved';
CREATE INDEX alerts_telling ON alerts (tenant_id, id) WHERE telling IS NOT NULL;
CREATE INDEX alerts_resolved ON alerts (resolved_at) WHERE resolved_at IS NOT NULL;

-- Who was looked at when. The row is made with the default rules, so they are given once and can be deleted.
CREATE TABLE alert_watches (
    tenant_id {ID} PRIMARY KEY, checked_at {TIME} NOT NULL, told_at {TIME}, created_at {TIME} NOT NULL
) {CLUSTERED};
