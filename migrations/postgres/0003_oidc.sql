-- Provisioning rules, the identities and roles that they grant; deactivation; reading the audit trail.

ALTER TABLE principals ADD COLUMN deactivated_at timestamptz;

-- A role is held by hand, through live grants of rules, or both.
ALTER TABLE principal_roles ADD COLUMN by_hand boolean NOT NULL DEFAULT true;

CREATE TABLE provisioning_rules (
    id text COLLATE "C" CONSTRAINT provisioning_rules_id PRIMARY KEY,
    display_name text NOT NULL,
    issuer text COLLATE "C" NOT NULL,
    audience text NOT NULL,
    forwarded_claims jsonb NOT NULL,
    condition text NOT NULL,
    enabled boolean NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL
);
CREATE INDEX provisioning_rules_by_issuer ON provisioning_rules (issuer, id);

-- Whom an issuer vouches for.
CREATE TABLE oidc_identities (
    issuer text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    principal_id uuid NOT NULL UNIQUE REFERENCES principals (id),
    created_at timestamptz NOT NULL,
    CONSTRAINT oidc_identities_key PRIMARY KEY (issuer, subject)
);

-- What rules granted, once each. A rule may be gone; its grants are live until `ended_at`.
CREATE TABLE provisioning_grants (
    rule_id text COLLATE "C" NOT NULL,
    principal_id uuid NOT NULL REFERENCES principals (id),
    role text COLLATE "C" NOT NULL,
    granted_at timestamptz NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (rule_id, principal_id, role)
);
CREATE INDEX provisioning_grants_by_principal ON provisioning_grants (principal_id, role);

CREATE INDEX audit_log_by_time ON audit_log (at, id);
CREATE INDEX audit_log_by_action ON audit_log (action, at, id);
CREATE INDEX audit_log_by_actor ON audit_log (actor, at, id);
CREATE INDEX audit_log_by_subject ON audit_log (subject, at, id);
CREATE INDEX audit_log_by_request ON audit_log (request_id, at, id);
