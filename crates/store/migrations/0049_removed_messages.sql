-- What messages of removed tenants were called at their providers, as hashes: so that a provider's record of one is not taken for a message that nobody here sent. Of no tenant; kept for some
-- months after they were sent.
CREATE TABLE removed_messages (mark {BYTES} NOT NULL PRIMARY KEY, sent_at {TIME} NOT NULL) {CLUSTERED};
CREATE INDEX removed_messages_age ON removed_messages (sent_at);
