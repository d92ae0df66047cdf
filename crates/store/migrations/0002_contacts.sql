-- People a tenant talks to, and ways to name many of them at once. {KEY} is text both engines compare byte by byte.
--
-- Shape: one row per contact, read whole when a segment is counted, so attributes lie in columns of their own: n1…n20 hold numbers, dates and flags, t1…t20 texts and
-- lists of texts; `contact_attributes` says which attribute of the tenant lies where. A column that holds nothing costs one byte.

CREATE TABLE contacts (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL,
    external_id {KEY}, email {KEY}, phone {KEY}, whatsapp {KEY}, telegram_chat_id BIGINT, language {KEY}, timezone {KEY},
    name TEXT, first_name TEXT, last_name TEXT, search_name TEXT,
    n1 BIGINT, n2 BIGINT, n3 BIGINT, n4 BIGINT, n5 BIGINT, n6 BIGINT, n7 BIGINT, n8 BIGINT, n9 BIGINT, n10 BIGINT, n11 BIGINT, n12 BIGINT, n13 BIGINT, n14 BIGINT, n15 BIGINT, n16 BIGINT, n17 BIGINT, n18 BIGINT, n19 BIGINT, n20 BIGINT,
    t1 {KEY}, t2 {KEY}, t3 {KEY}, t4 {KEY}, t5 {KEY}, t6 {KEY}, t7 {KEY}, t8 {KEY}, t9 {KEY}, t10 {KEY}, t11 {KEY}, t12 {KEY}, t13 {KEY}, t14 {KEY}, t15 {KEY}, t16 {KEY}, t17 {KEY}, t18 {KEY}, t19 {KEY}, t20 {KEY},
    PRIMARY KEY (tenant_id, id)
) {CLUSTERED};
CREATE UNIQUE INDEX contacts_external_id ON contacts (tenant_id, external_id) WHERE external_id IS NOT NULL;
CREATE UNIQUE INDEX contacts_email ON contacts (tenant_id, email) WHERE email IS NOT NULL;
CREATE UNIQUE INDEX contacts_phone ON contacts (tenant_id, phone) WHERE phone IS NOT NULL;
CREATE UNIQUE INDEX contacts_telegram ON contacts (tenant_id, telegram_chat_id) WHERE telegram_chat_id IS NOT NULL;
CREATE INDEX contacts_whatsapp ON contacts (tenant_id, whatsapp) WHERE whatsapp IS NOT NULL;

-- A tenant without contacts is not asked for them when it sends.
ALTER TABLE tenants ADD COLUMN has_contacts BOOLEAN NOT NULL DEFAULT FALSE;

CREATE TABLE contact_attributes (
    tenant_id {ID} NOT NULL, name {KEY} NOT NULL, kind BIGINT NOT NULL, bank TEXT NOT NULL, slot BIGINT NOT NULL, created_at {TIME} NOT NULL,
    PRIMARY KEY (tenant_id, name)
) {CLUSTERED};
CREATE UNIQUE INDEX contact_attributes_slot ON contact_attributes (tenant_id, bank, slot);

CREATE TABLE lists (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL, created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL,
    PRIMARY KEY (tenant_id, id)
) {CLUSTERED};
CREATE TABLE list_members (
    tenant_id {ID} NOT NULL, list_id {ID} NOT NULL, contact_id {ID} NOT NULL, added_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, list_id, contact_id)
) {CLUSTERED};
CREATE INDEX list_members_contact ON list_members (tenant_id, contact_id);

-- conditions is the tree as the tenant gave it, in JSON.
CREATE TABLE segments (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, name TEXT NOT NULL, description TEXT NOT NULL, conditions TEXT NOT NULL, created_at {TIME} NOT NULL,
    updated_at {TIME} NOT NULL, PRIMARY KEY (tenant_id, id)
) {CLUSTERED};

-- The file lies in the blob store in `chunks` pieces. `position` is the byte after the last row that was worked on: it moves with the rows, in one transaction.
CREATE TABLE contact_imports (
    tenant_id {ID} NOT NULL, id {ID} NOT NULL, state TEXT NOT NULL, options TEXT NOT NULL, mapping TEXT, chunks BIGINT NOT NULL, size BIGINT NOT NULL,
    position BIGINT NOT NULL, rows_read BIGINT NOT NULL, created BIGINT NOT NULL, updated BIGINT NOT NULL, skipped BIGINT NOT NULL, failed BIGINT NOT NULL,
    duplicates BIGINT NOT NULL, problem TEXT, created_at {TIME} NOT NULL, started_at {TIME}, finished_at {TIME}, purged_at {TIME},
    PRIMARY KEY (tenant_id, id)
) {CLUSTERED};
CREATE INDEX contact_imports_open ON contact_imports (id) WHERE finished_at IS NULL;
CREATE INDEX contact_imports_unpurged ON contact_imports (finished_at) WHERE purged_at IS NULL;
CREATE TABLE contact_import_errors (
    tenant_id {ID} NOT NULL, import_id {ID} NOT NULL, row_number BIGINT NOT NULL, place BIGINT NOT NULL, column_name TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (tenant_id, import_id, row_number, place)
) {CLUSTERED};

-- Who wrote, when that is known.
ALTER TABLE inbound_messages ADD COLUMN contact_id {ID};
CREATE INDEX inbound_messages_contact ON inbound_messages (tenant_id, contact_id, id) WHERE contact_id IS NOT NULL;
