-- Provisioning rules, the identities and roles that they grant; deactivation; reading the audit trail.

ALTER TABLE principals ADD COLUMN deactivated_at INTEGER;

-- A role is held by hand, through live grants of rules, or both.
ALTER TABLE principal_roles ADD COLUMN by_hand INTEGER NOT NULL DEFAULT 1 CHECK (by_hand IN (0, 1));

CREATE TABLE provisioning_rules (
    id TEXT PRIMARY KEY NOT NULL,
    display_name TEXT NOT NULL,
    issuer TEXT NOT NULL,
    audience TEXT NOT NULL,
    forwarded_claims TEXT NOT NULL,
    condition TEXT NOT NULL,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX provisioning_rules_by_issuer ON provisioning_rules (issuer, id);

-- Whom an issuer vouches for.
CREATE TABLE oidc_identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    principal_id BLOB NOT NULL UNIQUE REFERENCES principals (id),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;

-- What rules granted, once each. A rule may be gone; its grants are live until `ended_at`.
CREATE TABLE provisioning_grants (
    rule_id TEXT NOT NULL,
    principal_id BLOB NOT NULL REFERENCES principals (id),
    role TEXT NOT NULL,
    granted_at INTEGER NOT NULL,
    ended_at INTEGER,
    PRIMARY KEY (rule_id, principal_id, role)
) STRICT, WITHOUT ROWID;
CREATE INDEX provisioning_grants_by_principal ON provisioning_grants (principal_id, role);

CREATE INDEX audit_log_by_time ON audit_log (at, id);
CREATE INDEX audit_log_by_action ON audit_log (action, at, id);
CREATE INDEX audit_log_by_actor ON audit_log (actor, at, id);
CREATE INDEX audit_log_by_subject ON audit_log (subject, at, id);
CREATE INDEX audit_log_by_request ON audit_log (request_id, at, id);
