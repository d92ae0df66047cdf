-- People who sign in, the tenants they belong to, their sessions, and what guards the door. A person is global, by e-mail; what they may do stands in
-- `memberships`, one row per tenant, or in `operator_role` for the operator's own staff.

-- email is lower case. password is NULL for somebody who has none yet, or signs in elsewhere. totp is sealed for the operator; has_totp turns true once a first code
-- was right, and totp_step is the last step a code was taken for, so that none is taken twice. oidc_subject is `issuer subject`.
CREATE TABLE users (
    id {ID} PRIMARY KEY, email TEXT NOT NULL UNIQUE, name TEXT NOT NULL, password TEXT, password_at {TIME}, operator_role TEXT,
    totp {BYTES}, totp_data_key_id BIGINT, totp_step BIGINT NOT NULL, has_totp BOOLEAN NOT NULL, oidc_subject TEXT UNIQUE,
    created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL, privileges_at {TIME} NOT NULL, signed_in_at {TIME}
);
CREATE INDEX users_staff ON users (id) WHERE operator_role IS NOT NULL;

-- accepted_at is NULL while an invitation is open.
CREATE TABLE memberships (
    tenant_id {ID} NOT NULL, user_id {ID} NOT NULL, role TEXT NOT NULL, permissions TEXT NOT NULL, invited_by TEXT NOT NULL,
    created_at {TIME} NOT NULL, updated_at {TIME} NOT NULL, accepted_at {TIME}, PRIMARY KEY (tenant_id, user_id)
) {CLUSTERED};
CREATE INDEX memberships_user ON memberships (user_id, tenant_id);

-- hash is that of the token. When a token is replaced, the one before is good for some seconds more, for requests under way. tenant_id is the tenant the person
-- looks at. rotated_at is when the token was made.
CREATE TABLE sessions (
    id {ID} PRIMARY KEY, user_id {ID} NOT NULL, hash {BYTES} NOT NULL UNIQUE, previous_hash {BYTES}, previous_until {TIME}, csrf TEXT NOT NULL,
    method TEXT NOT NULL, tenant_id {ID}, ip TEXT, agent TEXT NOT NULL, created_at {TIME} NOT NULL, rotated_at {TIME} NOT NULL, seen_at {TIME} NOT NULL,
    expires_at {TIME} NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id, id);
CREATE INDEX sessions_previous ON sessions (previous_hash) WHERE previous_hash IS NOT NULL;
CREATE INDEX sessions_expiry ON sessions (expires_at);

-- What opens a door once: invitations, password resets, sign-in links, and the second step of a sign-in. Removed when used.
CREATE TABLE user_links (
    hash {BYTES} PRIMARY KEY, user_id {ID} NOT NULL, kind TEXT NOT NULL, tenant_id {ID}, method TEXT NOT NULL, attempts BIGINT NOT NULL,
    created_at {TIME} NOT NULL, expires_at {TIME} NOT NULL
) {CLUSTERED};
CREATE INDEX user_links_user ON user_links (user_id, kind);
CREATE INDEX user_links_expiry ON user_links (expires_at);

-- Codes that stand in for the second factor, once each. Removed when used.
CREATE TABLE recovery_codes (user_id {ID} NOT NULL, hash {BYTES} NOT NULL, PRIMARY KEY (user_id, hash)) {CLUSTERED};

-- Failed sign-ins, by the hash of an account, an address or both.
CREATE TABLE sign_in_failures (
    key {BYTES} PRIMARY KEY, failures BIGINT NOT NULL, last_at {TIME} NOT NULL, blocked_until {TIME} NOT NULL
) {CLUSTERED};

-- Sign-ins that were sent to the OpenID provider and are not back yet.
CREATE TABLE oidc_requests (
    state_hash {BYTES} PRIMARY KEY, nonce TEXT NOT NULL, verifier TEXT NOT NULL, return_to TEXT NOT NULL, created_at {TIME} NOT NULL, expires_at {TIME} NOT NULL
) {CLUSTERED};
