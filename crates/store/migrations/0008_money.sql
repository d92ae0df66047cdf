-- Money: what a message costs, what tenants have paid, and what became of it.
--
-- Shape: a ledger's row holds the balances and is locked by whoever moves money; entries are only added, numbered without gaps within their ledger. Amounts are
-- millionths of the ledger's currency.

-- The operator's price lists; `body` is their rows as JSON. One is valid from its instant until the next of its currency is.
CREATE TABLE price_lists (
    version BIGINT PRIMARY KEY, currency TEXT NOT NULL, valid_from {TIME} NOT NULL, note TEXT NOT NULL, body TEXT NOT NULL, created_at {TIME} NOT NULL
) {CLUSTERED};

-- available + reserved + revenue = purchased + adjusted, always.
CREATE TABLE credit_ledgers (
    tenant_id {ID} PRIMARY KEY, mode TEXT NOT NULL, currency TEXT NOT NULL, available BIGINT NOT NULL, reserved BIGINT NOT NULL, revenue BIGINT NOT NULL,
    purchased BIGINT NOT NULL, adjusted BIGINT NOT NULL, entries BIGINT NOT NULL, created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL
) {CLUSTERED};

-- A movement of `amount` from one of the ledger's books to another, with the balances after it.
CREATE TABLE credit_entries (
    tenant_id {ID} NOT NULL, number BIGINT NOT NULL, kind TEXT NOT NULL, from_book TEXT NOT NULL, to_book TEXT NOT NULL, amount BIGINT NOT NULL,
    available BIGINT NOT NULL, reserved BIGINT NOT NULL, message_id {ID}, reference TEXT, actor TEXT, at {TIME} NOT NULL, PRIMARY KEY (tenant_id, number)
) {CLUSTERED};

-- What a message was to cost and what it did: its state is `reserved`, `settled` or `released`.
CREATE TABLE message_charges (
    tenant_id {ID} NOT NULL, message_id {ID} NOT NULL, list_version BIGINT NOT NULL, unit BIGINT NOT NULL, is_per_segment BOOLEAN NOT NULL,
    quoted BIGINT NOT NULL, charged BIGINT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (tenant_id, message_id)
) {CLUSTERED};
