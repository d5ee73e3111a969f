-- The schema of the catalog.
--
-- Digests are `sha256:` and hexadecimal. Columns that are ordered or compared are ordered by bytes (COLLATE "C").
-- Messages of raised exceptions start with `imgsrv:`; the adapter maps the rest of the message to a conflict, as it
-- maps the names of constraints.
--
-- The guarantees given to consumers hold against any DML, including TRUNCATE. Transactions run at READ COMMITTED: a
-- trigger that relies on another row locks that row first, so that it cannot change before the transaction ends.

-- The catalog's clock: leases, expiry and publication times are independent of the clocks of the nodes.
CREATE FUNCTION catalog_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS 'SELECT now()';

-- Refuses a change that the guarantees forbid.
CREATE FUNCTION forbid() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'imgsrv:forbidden';
END $$;

-- Catalog --------------------------------------------------------------------------------------------------

-- The identity of this catalog, and the blob store that it is bound to: no store is used by two catalogs, and all
-- nodes of a catalog use the same store.
CREATE TABLE catalog_identity (
    "only" bigint PRIMARY KEY CHECK ("only" = 1),
    id uuid NOT NULL,
    store uuid
);
INSERT INTO catalog_identity ("only", id) VALUES (1, gen_random_uuid());

-- Changes whenever something changes that consumers see.
CREATE TABLE catalog_revision (
    "only" bigint PRIMARY KEY CHECK ("only" = 1),
    revision bigint NOT NULL
);
INSERT INTO catalog_revision ("only", revision) VALUES (1, 1);

CREATE FUNCTION bump_catalog_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE catalog_revision SET revision = revision + 1;
    RETURN NULL;
END $$;

-- Counters, so that statistics cost the same however large the catalog is. The count of a name is the sum over its
-- slots. Each transaction counts in a slot that no other transaction uses, so that transactions do not wait for each
-- other: one of the first 64, or if none is free, the slot of its connection.
CREATE TABLE counters (
    name text COLLATE "C" NOT NULL,
    slot bigint NOT NULL,
    value bigint NOT NULL,
    PRIMARY KEY (name, slot)
);

CREATE FUNCTION count_change(counted text, change bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    mine integer := pg_backend_pid() % 64;
    is_locked boolean := false;
BEGIN
    -- 0x696d67 is "img". The lock lasts until the end of the transaction.
    FOR tries IN 1..64 LOOP
        is_locked := pg_try_advisory_xact_lock(x'696d67'::integer, mine);
        EXIT WHEN is_locked;
        mine := (mine + 1) % 64;
    END LOOP;
    IF NOT is_locked THEN
        -- The slot of this connection.
        mine := 64 + pg_backend_pid();
    END IF;
    INSERT INTO counters AS c (name, slot, value) VALUES (counted, mine, change)
        ON CONFLICT (name, slot) DO UPDATE SET value = c.value + excluded.value;
END $$;

-- Counts rows by state, under the prefix that is the trigger's argument.
CREATE FUNCTION count_states() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM count_change(TG_ARGV[0] || OLD.state, -1);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM count_change(TG_ARGV[0] || NEW.state, 1);
    END IF;
    RETURN NULL;
END $$;

-- Principals -----------------------------------------------------------------------------------------------

CREATE TABLE principals (
    id uuid CONSTRAINT principals_id PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('user', 'service')),
    display_name text NOT NULL,
    attributes jsonb NOT NULL,
    deactivated_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL
);

-- A role is granted by hand, by live grants of provisioning rules, or both. `images` are the patterns of the images on
-- which it was granted by hand, or no pattern when a rule that limits its images granted it, separated by spaces; NULL is
-- every image.
CREATE TABLE principal_roles (
    principal_id uuid NOT NULL REFERENCES principals (id),
    role text COLLATE "C" NOT NULL,
    by_hand boolean NOT NULL DEFAULT true,
    images text COLLATE "C",
    PRIMARY KEY (principal_id, role)
);
CREATE INDEX principal_roles_by_role ON principal_roles (role, principal_id);

-- `roles` and `images`, separated by spaces, are what the token leaves of what its principal may do; NULL is all of it.
CREATE TABLE api_tokens (
    id uuid PRIMARY KEY,
    principal_id uuid NOT NULL REFERENCES principals (id),
    lookup_key text COLLATE "C" NOT NULL CONSTRAINT api_tokens_lookup_key UNIQUE,
    secret_hash bytea NOT NULL CHECK (length(secret_hash) = 32),
    name text NOT NULL,
    roles text COLLATE "C",
    images text COLLATE "C",
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    last_used_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX api_tokens_by_principal ON api_tokens (principal_id, id);

-- The key that authenticates links, from the first link on. A new key has the next number.
CREATE TABLE link_key (
    "only" bigint PRIMARY KEY CHECK ("only" = 1),
    id bigint NOT NULL,
    secret bytea NOT NULL CHECK (length(secret) = 32),
    created_at timestamptz NOT NULL
);

-- The principal of each OpenID Connect identity. `seen_at` is the day of its last request, written with a delay.
CREATE TABLE oidc_identities (
    issuer text COLLATE "C" NOT NULL,
    subject text COLLATE "C" NOT NULL,
    principal_id uuid NOT NULL UNIQUE REFERENCES principals (id),
    created_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    CONSTRAINT oidc_identities_key PRIMARY KEY (issuer, subject)
);
CREATE INDEX oidc_identities_by_use ON oidc_identities (seen_at);

-- `images` are the patterns of the images on which a rule grants its role, with the claims that they name, separated by
-- spaces; NULL is every image.
CREATE TABLE provisioning_rules (
    id text COLLATE "C" CONSTRAINT provisioning_rules_id PRIMARY KEY,
    display_name text NOT NULL,
    issuer text COLLATE "C" NOT NULL,
    audience text NOT NULL,
    forwarded_claims jsonb NOT NULL,
    condition text NOT NULL,
    role text COLLATE "C" NOT NULL,
    images text COLLATE "C",
    enabled boolean NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL
);
CREATE INDEX provisioning_rules_by_issuer ON provisioning_rules (issuer, id);

-- Each rule grants a role to a principal at most once. A grant is live until `ended_at`, even when its rule is deleted.
CREATE TABLE provisioning_grants (
    rule_id text COLLATE "C" NOT NULL,
    principal_id uuid NOT NULL REFERENCES principals (id),
    role text COLLATE "C" NOT NULL,
    granted_at timestamptz NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (rule_id, principal_id, role)
);
CREATE INDEX provisioning_grants_by_principal ON provisioning_grants (principal_id, role);

-- Images ---------------------------------------------------------------------------------------------------

-- `has_published` is whether the image has a published version that is neither revoked nor removed. A private image
-- exists only for principals with a role on it.
CREATE TABLE images (
    id uuid PRIMARY KEY,
    name text COLLATE "C" NOT NULL CONSTRAINT images_name UNIQUE,
    display_name text,
    description text,
    visibility text NOT NULL DEFAULT 'public' CHECK (visibility IN ('public', 'private')),
    has_published boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL
);
CREATE INDEX images_public ON images (name) WHERE has_published AND visibility = 'public';

-- Every three characters in a row of the text that searches look through: the name of an image, a blank and its display name,
-- in lower case. Triggers maintain them, so that a search for a rare text reads few images.
CREATE TABLE image_trigrams (
    trigram text COLLATE "C" NOT NULL,
    image_name text COLLATE "C" NOT NULL,
    PRIMARY KEY (trigram, image_name)
);

-- What an image is bound to that was created through a pattern with claims: the rule, and the values of the claims.
CREATE TABLE image_bindings (
    image_id uuid PRIMARY KEY REFERENCES images (id) ON DELETE CASCADE,
    rule_id text COLLATE "C" NOT NULL,
    claims jsonb NOT NULL
);

-- How often the links to the files of an image were revoked; no row is never.
CREATE TABLE link_generations (
    image_id uuid PRIMARY KEY,
    generation bigint NOT NULL
);

CREATE TABLE versions (
    id uuid PRIMARY KEY,
    image_id uuid NOT NULL CONSTRAINT versions_image REFERENCES images (id),
    name text COLLATE "C" NOT NULL,
    state text NOT NULL CHECK (state IN ('draft', 'publishing', 'published')),
    published_at timestamptz,
    listed_at timestamptz NOT NULL GENERATED ALWAYS AS (coalesce(published_at, created_at)) STORED,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    CHECK ((state = 'published') = (published_at IS NOT NULL)),
    CONSTRAINT versions_name UNIQUE (image_id, name),
    CONSTRAINT versions_state UNIQUE (id, image_id, state)
);
CREATE INDEX versions_listed ON versions (image_id, listed_at, id);
CREATE INDEX versions_listed_by_state ON versions (image_id, state, listed_at, id);
CREATE INDEX versions_drafts ON versions (updated_at, id) WHERE state = 'draft';

-- The lifecycle of each published version, beside the manifest, which never changes. Each step away from `active` has
-- its own columns, which stay when a later step is taken, so that undoing that step restores them. `available_until`
-- is the end of the drain of a removed version; at `tombstone_at`, after that, it became a tombstone. Its row and its
-- name stay permanently.
CREATE TABLE version_lifecycles (
    version_id uuid PRIMARY KEY REFERENCES versions (id),
    image_id uuid NOT NULL,
    published_at timestamptz NOT NULL,
    state text COLLATE "C" NOT NULL DEFAULT 'active'
        CHECK (state IN ('active', 'deprecated', 'revoked', 'removed', 'tombstone')),
    deprecated_at timestamptz,
    deprecation_reason text,
    deprecation_image text COLLATE "C",
    deprecation_ref text COLLATE "C",
    end_of_life text COLLATE "C",
    revoked_at timestamptz,
    revocation_reason text,
    revocation_image text COLLATE "C",
    revocation_ref text COLLATE "C",
    removed_at timestamptz,
    removal_reason text,
    removal_image text COLLATE "C",
    removal_ref text COLLATE "C",
    available_until timestamptz,
    tombstone_at timestamptz,
    hold_reason text,
    hold_until timestamptz,
    hold_lifts_at timestamptz,
    changed_at timestamptz NOT NULL,
    revision bigint NOT NULL DEFAULT 1,
    catalog_revision bigint,
    CHECK (state = CASE WHEN tombstone_at IS NOT NULL THEN 'tombstone' WHEN removed_at IS NOT NULL THEN 'removed'
        WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN deprecated_at IS NOT NULL THEN 'deprecated' ELSE 'active' END),
    CHECK ((removed_at IS NULL) = (available_until IS NULL) AND (tombstone_at IS NULL OR removed_at IS NOT NULL)),
    CHECK (hold_reason IS NOT NULL OR (hold_until IS NULL AND hold_lifts_at IS NULL))
);
CREATE INDEX version_lifecycles_listed ON version_lifecycles (image_id, state, published_at, version_id);
-- The versions that feeds and searches offer, by age.
CREATE INDEX version_lifecycles_offered ON version_lifecycles (published_at, version_id)
    WHERE state IN ('active', 'deprecated');
CREATE INDEX version_lifecycles_by_revision ON version_lifecycles (catalog_revision, version_id);
CREATE INDEX version_lifecycles_draining ON version_lifecycles (available_until) WHERE state = 'removed';
CREATE INDEX version_lifecycles_by_replacement ON version_lifecycles
    (coalesce(removal_image, revocation_image, deprecation_image), coalesce(removal_ref, revocation_ref, deprecation_ref));

CREATE TABLE aliases (
    id uuid PRIMARY KEY,
    image_id uuid NOT NULL,
    name text COLLATE "C" NOT NULL,
    version_id uuid NOT NULL,
    version_state text NOT NULL DEFAULT 'published' CHECK (version_state = 'published'),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    CONSTRAINT aliases_name UNIQUE (image_id, name),
    CONSTRAINT aliases_version FOREIGN KEY (version_id, image_id, version_state)
        REFERENCES versions (id, image_id, state)
);
CREATE INDEX aliases_by_version ON aliases (version_id);

-- When a deleted alias last moved, so that a new alias of that name does not seem older to clients.
CREATE TABLE deleted_aliases (
    image_id uuid NOT NULL,
    name text COLLATE "C" NOT NULL,
    moved_at timestamptz NOT NULL,
    PRIMARY KEY (image_id, name)
);

-- One row for every version and alias of an image, maintained by triggers, so that no name is used twice.
CREATE TABLE image_refs (
    image_id uuid NOT NULL,
    name text COLLATE "C" NOT NULL,
    CONSTRAINT image_refs_name PRIMARY KEY (image_id, name)
);

-- The catalog revision in which an image last changed for consumers: its metadata, its aliases or its versions.
CREATE TABLE image_changes (
    image_id uuid PRIMARY KEY,
    catalog_revision bigint NOT NULL
);
CREATE INDEX image_changes_by_revision ON image_changes (catalog_revision, image_id);

CREATE FUNCTION images_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.has_published THEN
            RAISE EXCEPTION 'imgsrv:forbidden';
        END IF;
        RETURN NEW;
    ELSIF TG_OP = 'UPDATE' THEN
        IF NEW.id <> OLD.id OR NEW.name <> OLD.name OR (NEW.has_published IS DISTINCT FROM OLD.has_published
            AND NEW.has_published IS DISTINCT FROM
                EXISTS (SELECT 1 FROM version_lifecycles
                    WHERE image_id = OLD.id AND state IN ('active', 'deprecated'))) THEN
            RAISE EXCEPTION 'imgsrv:forbidden';
        END IF;
        RETURN NEW;
    END IF;
    IF EXISTS (SELECT 1 FROM versions WHERE image_id = OLD.id) THEN
        RAISE EXCEPTION 'imgsrv:image-in-use';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER images_insert BEFORE INSERT ON images FOR EACH ROW EXECUTE FUNCTION images_guard();
CREATE TRIGGER images_update BEFORE UPDATE ON images FOR EACH ROW EXECUTE FUNCTION images_guard();
CREATE TRIGGER images_delete BEFORE DELETE ON images FOR EACH ROW EXECUTE FUNCTION images_guard();
CREATE TRIGGER images_truncate BEFORE TRUNCATE ON images EXECUTE FUNCTION forbid();

-- The trigrams of an image.
CREATE FUNCTION trigrams(image_name text, display_name text) RETURNS SETOF text LANGUAGE sql IMMUTABLE AS $$
    SELECT DISTINCT substr(searched.text, start, 3) FROM
        (SELECT lower((image_name || ' ' || coalesce(display_name, '')) COLLATE "C") AS text) AS searched,
        generate_series(1, length(searched.text) - 2) AS start
$$;
CREATE FUNCTION maintain_trigrams() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        DELETE FROM image_trigrams WHERE image_name = OLD.name
            AND trigram IN (SELECT trigrams(OLD.name, OLD.display_name) COLLATE "C");
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO image_trigrams (trigram, image_name) SELECT trigrams(NEW.name, NEW.display_name), NEW.name;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER images_trigrams_insert AFTER INSERT ON images FOR EACH ROW EXECUTE FUNCTION maintain_trigrams();
CREATE TRIGGER images_trigrams_update AFTER UPDATE ON images
    FOR EACH ROW WHEN (NEW.display_name IS DISTINCT FROM OLD.display_name) EXECUTE FUNCTION maintain_trigrams();
CREATE TRIGGER images_trigrams_delete AFTER DELETE ON images FOR EACH ROW EXECUTE FUNCTION maintain_trigrams();

-- Maintains image_refs for versions and aliases.
CREATE FUNCTION maintain_ref() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO image_refs (image_id, name) VALUES (NEW.image_id, NEW.name);
    ELSE
        DELETE FROM image_refs WHERE image_id = OLD.image_id AND name = OLD.name;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION versions_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'draft' THEN
            RAISE EXCEPTION 'imgsrv:forbidden';
        END IF;
        RETURN NEW;
    ELSIF TG_OP = 'UPDATE' THEN
        IF OLD.state = 'published' OR NEW.id <> OLD.id OR NEW.image_id <> OLD.image_id OR NEW.name <> OLD.name
            OR NEW.created_at <> OLD.created_at OR (OLD.state = 'draft' AND NEW.state = 'published') THEN
            RAISE EXCEPTION 'imgsrv:forbidden';
        END IF;
        RETURN NEW;
    END IF;
    IF OLD.state <> 'draft' THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER versions_insert BEFORE INSERT ON versions FOR EACH ROW EXECUTE FUNCTION versions_guard();
CREATE TRIGGER versions_inserted AFTER INSERT ON versions FOR EACH ROW EXECUTE FUNCTION maintain_ref();
CREATE TRIGGER versions_update BEFORE UPDATE ON versions FOR EACH ROW EXECUTE FUNCTION versions_guard();
CREATE TRIGGER versions_delete BEFORE DELETE ON versions FOR EACH ROW EXECUTE FUNCTION versions_guard();
CREATE TRIGGER versions_deleted AFTER DELETE ON versions FOR EACH ROW EXECUTE FUNCTION maintain_ref();
CREATE TRIGGER versions_truncate BEFORE TRUNCATE ON versions EXECUTE FUNCTION forbid();
CREATE TRIGGER versions_count_insert AFTER INSERT ON versions
    FOR EACH ROW EXECUTE FUNCTION count_states('versions:');
CREATE TRIGGER versions_count_update AFTER UPDATE ON versions
    FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION count_states('versions:');
CREATE TRIGGER versions_count_delete AFTER DELETE ON versions
    FOR EACH ROW EXECUTE FUNCTION count_states('versions:');

CREATE FUNCTION mark_published() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO version_lifecycles (version_id, image_id, published_at, changed_at)
        VALUES (NEW.id, NEW.image_id, NEW.published_at, NEW.published_at);
    UPDATE images SET has_published = true WHERE id = NEW.image_id AND NOT has_published;
    DELETE FROM citations WHERE version_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER versions_published AFTER UPDATE ON versions FOR EACH ROW WHEN (NEW.state = 'published')
    EXECUTE FUNCTION mark_published();

-- A version has an active lifecycle from its publication on.
CREATE FUNCTION version_lifecycles_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'active' OR NOT EXISTS (SELECT 1 FROM versions
            WHERE id = NEW.version_id AND image_id = NEW.image_id AND published_at = NEW.published_at) THEN
            RAISE EXCEPTION 'imgsrv:forbidden';
        END IF;
        RETURN NEW;
    END IF;
    IF OLD.state = 'tombstone' OR NEW.revision <> OLD.revision + 1
        OR NEW.version_id <> OLD.version_id OR NEW.image_id <> OLD.image_id OR NEW.published_at <> OLD.published_at THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    -- Publishing locks the image, and a new alias the version.
    PERFORM 1 FROM images WHERE id = NEW.image_id FOR NO KEY UPDATE;
    PERFORM 1 FROM versions WHERE id = NEW.version_id FOR NO KEY UPDATE;
    -- The steps below the present one stay, and a drain is only lengthened, before it ends.
    IF (NEW.state IN ('revoked', 'removed', 'tombstone') AND NEW.deprecated_at IS DISTINCT FROM OLD.deprecated_at)
        OR (NEW.state IN ('removed', 'tombstone') AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at)
        OR (NEW.state = 'removed' AND OLD.state = 'removed' AND NEW.available_until <> OLD.available_until
            AND (NEW.available_until < OLD.available_until OR OLD.available_until <= NEW.changed_at))
        OR (CASE
            WHEN NEW.state = OLD.state THEN false
            -- Undoing a step, or ending a drain.
            WHEN NEW.state = 'tombstone' THEN OLD.state <> 'removed' OR NEW.available_until > NEW.changed_at
            WHEN OLD.state = 'removed' THEN OLD.available_until <= NEW.changed_at
                OR NEW.revoked_at IS DISTINCT FROM OLD.revoked_at
                OR NEW.deprecated_at IS DISTINCT FROM OLD.deprecated_at
            WHEN OLD.state = 'revoked' THEN NEW.state <> 'removed'
                AND NEW.deprecated_at IS DISTINCT FROM OLD.deprecated_at
            ELSE false END)
        OR (OLD.hold_reason IS NOT NULL AND (OLD.hold_until IS NULL OR OLD.hold_until > NEW.changed_at)
            AND (OLD.hold_lifts_at IS NULL OR OLD.hold_lifts_at > NEW.changed_at)
            AND ((NEW.state = 'revoked' AND OLD.state IN ('active', 'deprecated'))
                OR (NEW.state IN ('removed', 'tombstone') AND NEW.state <> OLD.state)))
        OR (NEW.state IN ('revoked', 'removed', 'tombstone')
            AND EXISTS (SELECT 1 FROM aliases WHERE version_id = OLD.version_id)) THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER version_lifecycles_insert BEFORE INSERT ON version_lifecycles
    FOR EACH ROW EXECUTE FUNCTION version_lifecycles_guard();
CREATE TRIGGER version_lifecycles_update BEFORE UPDATE ON version_lifecycles
    FOR EACH ROW EXECUTE FUNCTION version_lifecycles_guard();
CREATE TRIGGER version_lifecycles_delete BEFORE DELETE ON version_lifecycles FOR EACH ROW EXECUTE FUNCTION forbid();
CREATE TRIGGER version_lifecycles_truncate BEFORE TRUNCATE ON version_lifecycles EXECUTE FUNCTION forbid();
CREATE TRIGGER version_lifecycles_count_insert AFTER INSERT ON version_lifecycles
    FOR EACH ROW EXECUTE FUNCTION count_states('lifecycles:');
CREATE TRIGGER version_lifecycles_count_update AFTER UPDATE ON version_lifecycles
    FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION count_states('lifecycles:');

CREATE FUNCTION mark_offered() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE images SET has_published = NOT has_published WHERE id = NEW.image_id AND has_published <>
        EXISTS (SELECT 1 FROM version_lifecycles WHERE image_id = NEW.image_id AND state IN ('active', 'deprecated'));
    RETURN NULL;
END $$;
CREATE TRIGGER version_lifecycles_updated AFTER UPDATE ON version_lifecycles
    FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION mark_offered();

CREATE FUNCTION aliases_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- HTTP has times in seconds: a move is seen only if its second is later than that of the previous one.
    IF TG_OP = 'UPDATE' AND (NEW.id <> OLD.id OR NEW.image_id <> OLD.image_id OR NEW.name <> OLD.name
        OR NEW.created_at <> OLD.created_at OR NEW.updated_at < OLD.updated_at OR (NEW.version_id <> OLD.version_id
        AND date_trunc('second', NEW.updated_at) <= date_trunc('second', OLD.updated_at))) THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    IF TG_OP = 'INSERT' AND EXISTS (SELECT 1 FROM deleted_aliases WHERE image_id = NEW.image_id AND name = NEW.name
        AND date_trunc('second', NEW.updated_at) <= date_trunc('second', moved_at)) THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    -- A change of the lifecycle locks the version.
    PERFORM 1 FROM versions WHERE id = NEW.version_id FOR SHARE;
    IF NOT EXISTS (SELECT 1 FROM version_lifecycles WHERE version_id = NEW.version_id AND image_id = NEW.image_id
        AND state IN ('active', 'deprecated')) THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    RETURN NEW;
END $$;
CREATE FUNCTION remember_alias() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM image_refs WHERE image_id = OLD.image_id AND name = OLD.name;
    INSERT INTO deleted_aliases AS deleted (image_id, name, moved_at) VALUES (OLD.image_id, OLD.name, OLD.updated_at)
        ON CONFLICT (image_id, name) DO UPDATE SET moved_at = greatest(deleted.moved_at, excluded.moved_at);
    RETURN NULL;
END $$;
CREATE TRIGGER aliases_insert BEFORE INSERT ON aliases FOR EACH ROW EXECUTE FUNCTION aliases_guard();
CREATE TRIGGER aliases_inserted AFTER INSERT ON aliases FOR EACH ROW EXECUTE FUNCTION maintain_ref();
CREATE TRIGGER aliases_update BEFORE UPDATE ON aliases FOR EACH ROW EXECUTE FUNCTION aliases_guard();
CREATE TRIGGER aliases_deleted AFTER DELETE ON aliases FOR EACH ROW EXECUTE FUNCTION remember_alias();
CREATE TRIGGER aliases_truncate BEFORE TRUNCATE ON aliases EXECUTE FUNCTION forbid();

CREATE FUNCTION image_refs_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM versions WHERE image_id = OLD.image_id AND name = OLD.name)
        OR EXISTS (SELECT 1 FROM aliases WHERE image_id = OLD.image_id AND name = OLD.name) THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER image_refs_update BEFORE UPDATE ON image_refs FOR EACH ROW EXECUTE FUNCTION forbid();
CREATE TRIGGER image_refs_delete BEFORE DELETE ON image_refs FOR EACH ROW EXECUTE FUNCTION image_refs_guard();
CREATE TRIGGER image_refs_truncate BEFORE TRUNCATE ON image_refs EXECUTE FUNCTION forbid();

-- Manifests ------------------------------------------------------------------------------------------------

CREATE TABLE artifacts (
    id uuid PRIMARY KEY,
    version_id uuid NOT NULL REFERENCES versions (id),
    operating_system text COLLATE "C" NOT NULL,
    architecture text COLLATE "C" NOT NULL,
    variant text COLLATE "C" NOT NULL,
    format text COLLATE "C" NOT NULL,
    primary_blob_digest text COLLATE "C" NOT NULL,
    primary_blob_size_bytes bigint NOT NULL CHECK (primary_blob_size_bytes >= 0),
    primary_media_type text NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT artifacts_key UNIQUE (version_id, operating_system, architecture, variant, format)
);
CREATE INDEX artifacts_by_digest ON artifacts (primary_blob_digest, version_id);
-- The kinds of artifacts, which searches enumerate.
CREATE INDEX artifacts_by_kind ON artifacts (operating_system, architecture, format, version_id);

CREATE TABLE attachments (
    id uuid PRIMARY KEY,
    version_id uuid NOT NULL REFERENCES versions (id),
    artifact_id uuid NOT NULL REFERENCES artifacts (id),
    name text COLLATE "C" NOT NULL,
    media_type text NOT NULL,
    blob_digest text COLLATE "C" NOT NULL,
    blob_size_bytes bigint NOT NULL CHECK (blob_size_bytes >= 0),
    created_at timestamptz NOT NULL,
    CONSTRAINT attachments_name UNIQUE (artifact_id, name)
);
CREATE INDEX attachments_by_version ON attachments (version_id);
CREATE INDEX attachments_by_digest ON attachments (blob_digest, version_id);

-- Who has added a digest to the manifest of a draft, and what the credential left of its images. Its publication needs one of
-- them, or its publisher, to be allowed to read the digest; then the rows are deleted.
CREATE TABLE citations (
    version_id uuid NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
    digest text COLLATE "C" NOT NULL,
    principal_id uuid NOT NULL,
    image_scope text COLLATE "C" NOT NULL CHECK (image_scope <> ''),
    PRIMARY KEY (version_id, digest, principal_id, image_scope)
);

-- The names of the files of a version's artifacts and attachments.
CREATE TABLE version_files (
    version_id uuid NOT NULL REFERENCES versions (id),
    name text COLLATE "C" NOT NULL,
    artifact_id uuid NOT NULL REFERENCES artifacts (id),
    attachment_id uuid REFERENCES attachments (id),
    CONSTRAINT version_files_name PRIMARY KEY (version_id, name)
);
CREATE INDEX version_files_by_artifact ON version_files (artifact_id);

-- The key of an artifact in streams: `{architecture as Incus names it}:{variant}:{format}`.
CREATE TABLE version_products (
    version_id uuid NOT NULL REFERENCES versions (id),
    product text COLLATE "C" NOT NULL,
    artifact_id uuid NOT NULL REFERENCES artifacts (id),
    CONSTRAINT version_products_key PRIMARY KEY (version_id, product)
);
CREATE INDEX version_products_by_artifact ON version_products (artifact_id);

-- Artifacts, attachments, files and products are inserted and deleted only while their version is a draft. The row of
-- the version is locked, so that a concurrent publish and this transaction wait for each other.
CREATE FUNCTION manifest_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    version uuid := CASE TG_OP WHEN 'DELETE' THEN OLD.version_id ELSE NEW.version_id END;
BEGIN
    PERFORM 1 FROM versions WHERE id = version AND state = 'draft' FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    IF TG_TABLE_NAME = 'attachments' THEN
        PERFORM 1 FROM artifacts WHERE id = NEW.artifact_id AND version_id = NEW.version_id;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'imgsrv:forbidden';
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER artifacts_insert BEFORE INSERT ON artifacts FOR EACH ROW EXECUTE FUNCTION manifest_guard();
CREATE TRIGGER artifacts_update BEFORE UPDATE ON artifacts FOR EACH ROW EXECUTE FUNCTION forbid();
CREATE TRIGGER artifacts_delete BEFORE DELETE ON artifacts FOR EACH ROW EXECUTE FUNCTION manifest_guard();
CREATE TRIGGER artifacts_truncate BEFORE TRUNCATE ON artifacts EXECUTE FUNCTION forbid();
CREATE TRIGGER attachments_insert BEFORE INSERT ON attachments FOR EACH ROW EXECUTE FUNCTION manifest_guard();
CREATE TRIGGER attachments_update BEFORE UPDATE ON attachments FOR EACH ROW EXECUTE FUNCTION forbid();
CREATE TRIGGER attachments_delete BEFORE DELETE ON attachments FOR EACH ROW EXECUTE FUNCTION manifest_guard();
CREATE TRIGGER attachments_truncate BEFORE TRUNCATE ON attachments EXECUTE FUNCTION forbid();
CREATE TRIGGER version_files_insert BEFORE INSERT ON version_files FOR EACH ROW EXECUTE FUNCTION manifest_guard();
CREATE TRIGGER version_files_update BEFORE UPDATE ON version_files FOR EACH ROW EXECUTE FUNCTION forbid();
CREATE TRIGGER version_files_delete BEFORE DELETE ON version_files FOR EACH ROW EXECUTE FUNCTION manifest_guard();
CREATE TRIGGER version_files_truncate BEFORE TRUNCATE ON version_files EXECUTE FUNCTION forbid();
CREATE TRIGGER version_products_insert BEFORE INSERT ON version_products
    FOR EACH ROW EXECUTE FUNCTION manifest_guard();
CREATE TRIGGER version_products_update BEFORE UPDATE ON version_products FOR EACH ROW EXECUTE FUNCTION forbid();
CREATE TRIGGER version_products_delete BEFORE DELETE ON version_products
    FOR EACH ROW EXECUTE FUNCTION manifest_guard();
CREATE TRIGGER version_products_truncate BEFORE TRUNCATE ON version_products EXECUTE FUNCTION forbid();

-- Blobs ----------------------------------------------------------------------------------------------------

CREATE TABLE blobs (
    digest text COLLATE "C" NOT NULL CONSTRAINT blobs_digest PRIMARY KEY,
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
    storage_name text COLLATE "C" NOT NULL CONSTRAINT blobs_storage_name UNIQUE,
    state text NOT NULL CHECK (state IN ('trusted', 'quarantined')),
    created_at timestamptz NOT NULL,
    unreferenced_since timestamptz DEFAULT catalog_now(),
    -- When the bytes were last hashed and found right; the epoch if that never happened.
    verified_at timestamptz NOT NULL DEFAULT 'epoch',
    -- When the bytes of a quarantined blob were last looked at.
    looked_at timestamptz
);
CREATE INDEX blobs_unreferenced ON blobs (unreferenced_since, digest) WHERE unreferenced_since IS NOT NULL;
CREATE INDEX blobs_by_verification ON blobs (verified_at, digest) WHERE state = 'trusted';
CREATE INDEX blobs_quarantined ON blobs (digest) WHERE state = 'quarantined';

-- Who has sent the bytes of a blob, and so may use its digest even if no image that it may read has it. `image_scope` is
-- what the credential left of the images of the principal (`*` is every image): a credential that leaves less may not use
-- it. The rows are deleted with the blob.
CREATE TABLE blob_senders (
    digest text COLLATE "C" NOT NULL,
    principal_id uuid NOT NULL,
    image_scope text COLLATE "C" NOT NULL CHECK (image_scope <> ''),
    sent_at timestamptz NOT NULL,
    PRIMARY KEY (digest, principal_id, image_scope)
);
CREATE INDEX blob_senders_by_principal ON blob_senders (principal_id);
CREATE FUNCTION forget_sender() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM blob_senders WHERE principal_id = OLD.id;
    RETURN NULL;
END $$;
CREATE TRIGGER principals_sent AFTER DELETE ON principals FOR EACH ROW EXECUTE FUNCTION forget_sender();

-- CRC32C checksums of the blocks of stored bytes, 4096 of them a section. Bytes without any are not verified when they are
-- read.
CREATE TABLE block_checksums (
    storage_name text COLLATE "C" NOT NULL,
    section bigint NOT NULL CHECK (section >= 0),
    checksums bytea NOT NULL,
    PRIMARY KEY (storage_name, section)
);

-- Names of stored bytes that no blob refers to any more; their collection removes them from the store. `session` is the
-- upload session that the name ends in, as 32 hexadecimal digits.
CREATE TABLE orphaned_blobs (
    storage_name text COLLATE "C" PRIMARY KEY,
    size_bytes bigint NOT NULL,
    session text COLLATE "C" NOT NULL GENERATED ALWAYS AS (replace(right(storage_name, 36), '-', '')) STORED
);
CREATE INDEX orphaned_blobs_by_session ON orphaned_blobs (session);

-- Digests whose content was purged with the version that had it. One that is blocked everywhere has no blob until it is
-- unblocked: a transaction that blocks a digest and one that stores a blob of it wait for each other, and the later one
-- sees what the earlier one has committed. The others are not published in the image any more. The empty digest is never
-- blocked.
CREATE TABLE blocked_digests (
    digest text COLLATE "C" NOT NULL
        CHECK (digest <> 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'),
    image_name text COLLATE "C" NOT NULL,
    version_name text NOT NULL,
    reason text NOT NULL,
    everywhere boolean NOT NULL,
    blocked_at timestamptz NOT NULL,
    PRIMARY KEY (digest, image_name)
);
CREATE FUNCTION lock_digest() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('imgsrv:' || NEW.digest, 0));
    RETURN NEW;
END $$;
CREATE TRIGGER blocked_digests_lock_blob BEFORE INSERT ON blocked_digests FOR EACH ROW EXECUTE FUNCTION lock_digest();

-- The identity of a blob never changes. Only a quarantined blob can be replaced, by bytes of the same digest and size.
CREATE FUNCTION blobs_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.state <> 'trusted' THEN
            RAISE EXCEPTION 'imgsrv:forbidden';
        END IF;
        PERFORM pg_advisory_xact_lock(hashtextextended('imgsrv:' || NEW.digest, 0));
        IF EXISTS (SELECT 1 FROM blocked_digests WHERE digest = NEW.digest AND everywhere) THEN
            RAISE EXCEPTION 'imgsrv:digest-blocked';
        END IF;
        RETURN NEW;
    ELSIF TG_OP = 'UPDATE' THEN
        IF NEW.digest <> OLD.digest OR NEW.size_bytes <> OLD.size_bytes
            OR (OLD.state = 'trusted' AND NEW.storage_name <> OLD.storage_name) THEN
            RAISE EXCEPTION 'imgsrv:forbidden';
        END IF;
        RETURN NEW;
    END IF;
    -- An older snapshot would not show the manifests that refer to the blob by now.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    -- Drafts keep a blob from being collected, but not from being purged.
    IF EXISTS (SELECT 1 FROM blob_references r WHERE r.digest = OLD.digest AND r.kind <> 'upload' AND
        (NOT EXISTS (SELECT 1 FROM blocked_digests WHERE digest = OLD.digest)
            OR EXISTS (SELECT 1 FROM versions WHERE id = r.version_id AND state <> 'draft'))) THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER blobs_insert BEFORE INSERT ON blobs FOR EACH ROW EXECUTE FUNCTION blobs_guard();
CREATE TRIGGER blobs_update BEFORE UPDATE ON blobs FOR EACH ROW EXECUTE FUNCTION blobs_guard();
CREATE TRIGGER blobs_delete BEFORE DELETE ON blobs FOR EACH ROW EXECUTE FUNCTION blobs_guard();
CREATE TRIGGER blobs_truncate BEFORE TRUNCATE ON blobs EXECUTE FUNCTION forbid();

CREATE FUNCTION count_blobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.state = 'trusted' THEN
        PERFORM count_change('blobs', -1), count_change('blob_bytes', -OLD.size_bytes);
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.state = 'trusted' THEN
        PERFORM count_change('blobs', 1), count_change('blob_bytes', NEW.size_bytes);
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION count_unreferenced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    before bigint := 0;
    after bigint := 0;
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.unreferenced_since IS NOT NULL THEN
        before := OLD.size_bytes;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.unreferenced_since IS NOT NULL THEN
        after := NEW.size_bytes;
    END IF;
    IF after <> before THEN
        PERFORM count_change('unreferenced_bytes', after - before);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER blobs_unreferenced_insert AFTER INSERT ON blobs FOR EACH ROW EXECUTE FUNCTION count_unreferenced();
CREATE TRIGGER blobs_unreferenced_update AFTER UPDATE ON blobs FOR EACH ROW
    WHEN ((NEW.unreferenced_since IS NULL) <> (OLD.unreferenced_since IS NULL)) EXECUTE FUNCTION count_unreferenced();
CREATE TRIGGER blobs_unreferenced_delete AFTER DELETE ON blobs FOR EACH ROW EXECUTE FUNCTION count_unreferenced();
CREATE FUNCTION record_orphan() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM block_checksums WHERE storage_name = OLD.storage_name;
    IF TG_OP = 'DELETE' THEN
        DELETE FROM blob_senders WHERE digest = OLD.digest;
        DELETE FROM package_lists WHERE digest = OLD.digest;
    END IF;
    INSERT INTO orphaned_blobs (storage_name, size_bytes) VALUES (OLD.storage_name, OLD.size_bytes);
    RETURN NULL;
END $$;
CREATE TRIGGER blobs_deleted AFTER DELETE ON blobs FOR EACH ROW EXECUTE FUNCTION record_orphan();
CREATE TRIGGER blobs_replaced AFTER UPDATE ON blobs
    FOR EACH ROW WHEN (NEW.storage_name <> OLD.storage_name) EXECUTE FUNCTION record_orphan();
CREATE TRIGGER blobs_count_insert AFTER INSERT ON blobs FOR EACH ROW EXECUTE FUNCTION count_blobs();
CREATE TRIGGER blobs_count_update AFTER UPDATE ON blobs
    FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION count_blobs();
CREATE TRIGGER blobs_count_delete AFTER DELETE ON blobs FOR EACH ROW EXECUTE FUNCTION count_blobs();

-- Quarantining or replacing a blob changes the catalog revision: what was cached under the old one is read again.
CREATE TRIGGER blobs_revision AFTER UPDATE ON blobs
    FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION bump_catalog_revision();

-- `unreferenced_since` is the time of the last reference or reuse of a blob to which no artifact or attachment refers,
-- and NULL while one does. An unreferenced blob always has a time; collection clears that of a blob that was referenced
-- before it was stored.
--
-- An artifact or attachment locks the blob that it refers to, if there is one, against a concurrent deletion: the
-- deletion waits for this transaction, and then finds the reference.
CREATE FUNCTION reference_blob() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    named text;
BEGIN
    IF TG_TABLE_NAME = 'artifacts' THEN
        named := NEW.primary_blob_digest;
    ELSE
        named := NEW.blob_digest;
    END IF;
    PERFORM 1 FROM blobs WHERE digest = named FOR KEY SHARE;
    UPDATE blobs SET unreferenced_since = NULL WHERE digest = named AND unreferenced_since IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER artifacts_reference AFTER INSERT ON artifacts FOR EACH ROW EXECUTE FUNCTION reference_blob();
CREATE TRIGGER attachments_reference AFTER INSERT ON attachments FOR EACH ROW EXECUTE FUNCTION reference_blob();

-- Of the transactions that delete the last references to a blob, the last one finds none. They are found by a statement
-- after the one that locks the blob, so that its snapshot shows what the others have committed.
CREATE FUNCTION release_blob() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    named text;
BEGIN
    IF TG_TABLE_NAME = 'artifacts' THEN
        named := OLD.primary_blob_digest;
    ELSE
        named := OLD.blob_digest;
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    PERFORM 1 FROM blobs WHERE digest = named FOR NO KEY UPDATE;
    UPDATE blobs SET unreferenced_since = CASE
        WHEN NOT EXISTS (SELECT 1 FROM blob_references WHERE digest = named AND kind <> 'upload')
        THEN coalesce(unreferenced_since, catalog_now()) END
        WHERE digest = named;
    RETURN NULL;
END $$;
CREATE TRIGGER artifacts_release AFTER DELETE ON artifacts FOR EACH ROW EXECUTE FUNCTION release_blob();
CREATE TRIGGER attachments_release AFTER DELETE ON attachments FOR EACH ROW EXECUTE FUNCTION release_blob();

-- Work -----------------------------------------------------------------------------------------------------

-- The queue of background work. `subject` is the id of an upload or job; nil for work that recurs. An item is due from
-- `due_at` on; while it is leased to `owner`, the lease expires then. `failures` counts the attempts since the last
-- progress and `silent` those at the end of them that ended without a word, both with the attempt that runs.
-- A parked item waits until it is enqueued again.
CREATE TABLE work_items (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    subject uuid NOT NULL,
    wanted_since timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    owner text,
    attempt bigint NOT NULL DEFAULT 0,
    failures bigint NOT NULL DEFAULT 0,
    silent bigint NOT NULL DEFAULT 0,
    failing_since timestamptz,
    error text,
    parked_at timestamptz,
    CHECK (owner IS NULL OR parked_at IS NULL),
    UNIQUE (kind, subject)
);
CREATE INDEX work_items_due ON work_items (kind, due_at) WHERE parked_at IS NULL;
CREATE INDEX work_items_parked ON work_items (kind) WHERE parked_at IS NOT NULL;

-- Notifies every node that an item is due. The payload is its kind; PostgreSQL sends equal ones of a transaction once.
CREATE FUNCTION notify_work() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('imgsrv_work', NEW.kind);
    RETURN NULL;
END $$;
CREATE TRIGGER work_items_notify AFTER INSERT OR UPDATE ON work_items
    FOR EACH ROW WHEN (NEW.owner IS NULL AND NEW.parked_at IS NULL AND NEW.due_at <= catalog_now())
    EXECUTE FUNCTION notify_work();

-- Uploads --------------------------------------------------------------------------------------------------

CREATE TABLE upload_sessions (
    id uuid PRIMARY KEY,
    created_by uuid NOT NULL REFERENCES principals (id),
    -- The images that the credential leaves of those of the principal.
    image_scope text COLLATE "C" NOT NULL CHECK (image_scope <> ''),
    kind text NOT NULL CHECK (kind IN ('multipart', 'append')),
    expected_digest text COLLATE "C" NOT NULL,
    digest_computed boolean NOT NULL DEFAULT false,
    expected_size_bytes bigint NOT NULL CHECK (expected_size_bytes >= 0),
    media_type_hint text,
    filename_hint text,
    idempotency_key text COLLATE "C",
    state text NOT NULL CHECK (state IN
        ('created', 'uploading', 'completed', 'ingesting', 'ready', 'failed', 'aborted')),
    failure_reason text,
    expires_at timestamptz NOT NULL,
    received_bytes bigint NOT NULL CHECK (received_bytes BETWEEN 0 AND expected_size_bytes),
    attempts bigint NOT NULL,
    frontier_writer_attempt uuid,
    frontier_writer_number bigint,
    frontier_number bigint,
    hashed_bytes bigint,
    hashed_state bytea,
    hashed_blocks bytea,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL
);
CREATE UNIQUE INDEX upload_sessions_key ON upload_sessions (created_by, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX upload_sessions_open ON upload_sessions (created_by, id) WHERE state IN ('created', 'uploading');
CREATE INDEX upload_sessions_pending ON upload_sessions (id) WHERE state IN ('completed', 'ingesting');
CREATE INDEX upload_sessions_expiring ON upload_sessions (expires_at) WHERE state IN ('created', 'uploading');
CREATE INDEX upload_sessions_by_digest ON upload_sessions (expected_digest)
    WHERE state IN ('created', 'uploading', 'completed', 'ingesting');
CREATE INDEX upload_sessions_by_principal ON upload_sessions (created_by);
CREATE INDEX upload_sessions_ended ON upload_sessions (updated_at) WHERE state IN ('ready', 'failed', 'aborted');

-- What refers to a digest, and keeps the blob from being collected. Uploads that have not ended do not keep it from being
-- deleted.
CREATE VIEW blob_references AS
    SELECT primary_blob_digest AS digest, 'artifact' AS kind, id, version_id FROM artifacts
        WHERE NOT EXISTS (SELECT 1 FROM version_lifecycles
            WHERE version_id = artifacts.version_id AND tombstone_at IS NOT NULL)
    UNION ALL SELECT blob_digest, 'attachment', id, version_id FROM attachments
        WHERE NOT EXISTS (SELECT 1 FROM version_lifecycles
            WHERE version_id = attachments.version_id AND tombstone_at IS NOT NULL)
    UNION ALL SELECT expected_digest, 'upload', id, NULL FROM upload_sessions
        WHERE state IN ('created', 'uploading', 'completed', 'ingesting');

CREATE TABLE upload_parts (
    session_id uuid NOT NULL REFERENCES upload_sessions (id),
    number bigint NOT NULL CHECK (number BETWEEN 1 AND 10000),
    attempt uuid NOT NULL UNIQUE,
    sequence bigint NOT NULL,
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
    location text NOT NULL,
    hash_bytes bigint,
    hash_state bytea,
    hash_blocks bytea,
    PRIMARY KEY (session_id, number)
);

CREATE TRIGGER upload_sessions_count_insert AFTER INSERT ON upload_sessions
    FOR EACH ROW EXECUTE FUNCTION count_states('uploads:');
CREATE TRIGGER upload_sessions_count_update AFTER UPDATE ON upload_sessions
    FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION count_states('uploads:');
CREATE TRIGGER upload_sessions_count_delete AFTER DELETE ON upload_sessions
    FOR EACH ROW EXECUTE FUNCTION count_states('uploads:');

-- Publishing -----------------------------------------------------------------------------------------------

CREATE TABLE publish_jobs (
    id uuid PRIMARY KEY,
    version_id uuid NOT NULL,
    image_name text NOT NULL,
    version_name text NOT NULL,
    state text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'abandoned')),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    revision bigint NOT NULL
);
CREATE UNIQUE INDEX publish_jobs_live ON publish_jobs (version_id) WHERE state <> 'abandoned';
CREATE INDEX publish_jobs_by_state ON publish_jobs (state, id);
CREATE INDEX publish_jobs_by_image ON publish_jobs (image_name, state, id);
CREATE INDEX publish_jobs_by_version ON publish_jobs (version_id, id);
CREATE INDEX publish_jobs_abandoned ON publish_jobs (updated_at) WHERE state = 'abandoned';

CREATE TABLE publish_steps (
    job_id uuid NOT NULL REFERENCES publish_jobs (id),
    sequence bigint NOT NULL,
    name text NOT NULL,
    state text NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed')),
    reason text,
    attempts bigint NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    PRIMARY KEY (job_id, sequence),
    UNIQUE (job_id, name)
);

CREATE TRIGGER publish_jobs_count_insert AFTER INSERT ON publish_jobs
    FOR EACH ROW EXECUTE FUNCTION count_states('jobs:');
CREATE TRIGGER publish_jobs_count_update AFTER UPDATE ON publish_jobs
    FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION count_states('jobs:');
CREATE TRIGGER publish_jobs_count_delete AFTER DELETE ON publish_jobs
    FOR EACH ROW EXECUTE FUNCTION count_states('jobs:');

-- Counts steps by name and state.
CREATE FUNCTION count_steps() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM count_change('steps:' || OLD.name || ':' || OLD.state, -1);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM count_change('steps:' || NEW.name || ':' || NEW.state, 1);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER publish_steps_count_insert AFTER INSERT ON publish_steps FOR EACH ROW EXECUTE FUNCTION count_steps();
CREATE TRIGGER publish_steps_count_update AFTER UPDATE ON publish_steps
    FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION count_steps();
CREATE TRIGGER publish_steps_count_delete AFTER DELETE ON publish_steps FOR EACH ROW EXECUTE FUNCTION count_steps();

-- What is to be published once an upload is ingested. `rule_id` is the rule that admitted the token of its creator, and
-- `rule_claims` are the values of the claims that the rule forwarded.
CREATE TABLE intakes (
    id uuid PRIMARY KEY REFERENCES upload_sessions (id),
    created_by uuid NOT NULL REFERENCES principals (id),
    rule_id text COLLATE "C",
    rule_claims jsonb CHECK ((rule_id IS NULL) = (rule_claims IS NULL)),
    image_name text COLLATE "C" NOT NULL,
    version_name text COLLATE "C" NOT NULL,
    operating_system text COLLATE "C" NOT NULL,
    architecture text COLLATE "C" NOT NULL,
    variant text COLLATE "C" NOT NULL,
    format text COLLATE "C" NOT NULL,
    media_type text NOT NULL,
    aliases text NOT NULL,
    state text NOT NULL CHECK (state IN ('receiving', 'publishing', 'published', 'failed')),
    reason text CHECK ((state = 'failed') = (reason IS NOT NULL)),
    job_id uuid REFERENCES publish_jobs (id),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    revision bigint NOT NULL,
    CHECK (job_id IS NOT NULL OR state IN ('receiving', 'failed'))
);
CREATE INDEX intakes_by_principal ON intakes (created_by);
CREATE UNIQUE INDEX intakes_by_job ON intakes (job_id) WHERE job_id IS NOT NULL;

-- Inspection results and stream index ----------------------------------------------------------------------

-- The inspection result of an artifact's bytes.
CREATE TABLE inspections (
    artifact_id uuid PRIMARY KEY REFERENCES artifacts (id),
    version_id uuid NOT NULL REFERENCES versions (id),
    detected_format text COLLATE "C",
    virtual_size_bytes bigint CHECK (virtual_size_bytes >= 0),
    cluster_size_bytes bigint CHECK (cluster_size_bytes > 0),
    compression text COLLATE "C"
);
CREATE INDEX inspections_by_version ON inspections (version_id);

-- The packages that a file with that digest lists: a line a package, its name and versions with tabs between them.
CREATE TABLE package_lists (
    digest text COLLATE "C" PRIMARY KEY,
    packages text NOT NULL
);

-- Faults that did not fail a publish step.
CREATE TABLE publish_warnings (
    version_id uuid NOT NULL REFERENCES versions (id),
    step text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL,
    artifact_id uuid NOT NULL REFERENCES artifacts (id),
    reason text COLLATE "C" NOT NULL,
    PRIMARY KEY (version_id, step, sequence)
);

-- The artifacts that Simple Streams list, from the catalog revision on in which their version was published.
CREATE TABLE incus_rows (
    artifact_id uuid PRIMARY KEY REFERENCES artifacts (id),
    version_id uuid NOT NULL REFERENCES versions (id),
    attachment_id uuid REFERENCES attachments (id),
    -- Of an artifact that has its metadata in itself: the kind of instance.
    unified_kind text COLLATE "C",
    fingerprint text COLLATE "C" NOT NULL,
    properties jsonb,
    expires_at timestamptz,
    catalog_revision bigint,
    CHECK ((attachment_id IS NULL) = (unified_kind IS NOT NULL))
);
CREATE INDEX incus_rows_by_version ON incus_rows (version_id);
CREATE INDEX incus_rows_by_revision ON incus_rows (catalog_revision, artifact_id);

-- The SHA-256 of metadata followed by a root. Until it is known: the progress of that hash and of the root's own.
CREATE TABLE incus_fingerprints (
    metadata_digest text COLLATE "C" NOT NULL,
    root_digest text COLLATE "C" NOT NULL,
    combined_bytes bigint,
    combined_state bytea,
    root_bytes bigint,
    root_state bytea,
    fingerprint text COLLATE "C",
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (metadata_digest, root_digest)
);
CREATE INDEX incus_fingerprints_by_time ON incus_fingerprints (updated_at);

-- Results of publish steps are inserted and deleted only while their version is publishing. The row of the version is
-- locked, so that a transaction that publishes or reopens it and this one wait for each other.
CREATE FUNCTION publish_results_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    version uuid := CASE TG_OP WHEN 'DELETE' THEN OLD.version_id ELSE NEW.version_id END;
BEGIN
    PERFORM 1 FROM versions WHERE id = version AND state = 'publishing' FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    PERFORM 1 FROM artifacts WHERE id = NEW.artifact_id AND version_id = NEW.version_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    IF TG_TABLE_NAME = 'incus_rows' THEN
        PERFORM 1 FROM attachments WHERE id = NEW.attachment_id AND artifact_id = NEW.artifact_id;
        IF NEW.attachment_id IS NOT NULL AND NOT FOUND OR NEW.catalog_revision IS NOT NULL THEN
            RAISE EXCEPTION 'imgsrv:forbidden';
        END IF;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER inspections_insert BEFORE INSERT ON inspections FOR EACH ROW EXECUTE FUNCTION publish_results_guard();
CREATE TRIGGER inspections_update BEFORE UPDATE ON inspections FOR EACH ROW EXECUTE FUNCTION forbid();
CREATE TRIGGER inspections_delete BEFORE DELETE ON inspections FOR EACH ROW EXECUTE FUNCTION publish_results_guard();
CREATE TRIGGER inspections_truncate BEFORE TRUNCATE ON inspections EXECUTE FUNCTION forbid();
CREATE TRIGGER publish_warnings_insert BEFORE INSERT ON publish_warnings
    FOR EACH ROW EXECUTE FUNCTION publish_results_guard();
CREATE TRIGGER publish_warnings_update BEFORE UPDATE ON publish_warnings FOR EACH ROW EXECUTE FUNCTION forbid();
CREATE TRIGGER publish_warnings_delete BEFORE DELETE ON publish_warnings
    FOR EACH ROW EXECUTE FUNCTION publish_results_guard();
CREATE TRIGGER publish_warnings_truncate BEFORE TRUNCATE ON publish_warnings EXECUTE FUNCTION forbid();

-- A row of the stream index changes once: when its version is published.
CREATE FUNCTION incus_rows_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.catalog_revision IS NOT NULL OR NEW.catalog_revision IS NULL OR NEW.artifact_id <> OLD.artifact_id
        OR NEW.version_id <> OLD.version_id OR NEW.attachment_id IS DISTINCT FROM OLD.attachment_id
        OR NEW.unified_kind IS DISTINCT FROM OLD.unified_kind OR NEW.fingerprint <> OLD.fingerprint
        OR NEW.properties IS DISTINCT FROM OLD.properties
        OR NEW.expires_at IS DISTINCT FROM OLD.expires_at THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER incus_rows_insert BEFORE INSERT ON incus_rows FOR EACH ROW EXECUTE FUNCTION publish_results_guard();
CREATE TRIGGER incus_rows_update BEFORE UPDATE ON incus_rows FOR EACH ROW EXECUTE FUNCTION incus_rows_guard();
CREATE TRIGGER incus_rows_delete BEFORE DELETE ON incus_rows FOR EACH ROW EXECUTE FUNCTION publish_results_guard();
CREATE TRIGGER incus_rows_truncate BEFORE TRUNCATE ON incus_rows EXECUTE FUNCTION forbid();

CREATE FUNCTION count_incus_rows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM count_change('incus_rows', 1);
    RETURN NULL;
END $$;
CREATE TRIGGER incus_rows_count AFTER UPDATE ON incus_rows
    FOR EACH ROW WHEN (OLD.catalog_revision IS NULL) EXECUTE FUNCTION count_incus_rows();

CREATE FUNCTION incus_fingerprints_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.fingerprint IS NOT NULL OR NEW.metadata_digest <> OLD.metadata_digest
        OR NEW.root_digest <> OLD.root_digest THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER incus_fingerprints_update BEFORE UPDATE ON incus_fingerprints
    FOR EACH ROW EXECUTE FUNCTION incus_fingerprints_guard();

-- Retention ------------------------------------------------------------------------------------------------

-- The retention policies of images. Durations are in microseconds.
CREATE TABLE retention_policies (
    image_id uuid PRIMARY KEY,
    newest bigint,
    daily bigint,
    weekly bigint,
    monthly bigint,
    younger_than bigint,
    fetched_within bigint,
    min_keep bigint NOT NULL CHECK (min_keep > 0),
    deprecate_after bigint,
    remove_after bigint,
    enabled boolean NOT NULL
);

-- The day (UTC) on which a published version was last fetched, and the day since when that is recorded.
CREATE TABLE version_fetches (
    version_id uuid PRIMARY KEY REFERENCES versions (id),
    fetched_on text COLLATE "C" NOT NULL
);
CREATE TABLE fetch_recording (
    id bigint PRIMARY KEY CHECK (id = 1),
    since text COLLATE "C" NOT NULL
);

-- Backups --------------------------------------------------------------------------------------------------

-- Running exports: while a pin has not expired, no blob is collected.
CREATE TABLE export_pins (
    id uuid PRIMARY KEY,
    expires_at timestamptz NOT NULL
);

-- The import that filled this catalog, by the digest of its backup, and the identity of the binding of its blob store.
-- Until it has finished, nothing else uses the catalog.
CREATE TABLE catalog_import (
    id bigint PRIMARY KEY CHECK (id = 1),
    backup text NOT NULL,
    store uuid NOT NULL,
    finished_at timestamptz
);

-- Server processes that run workers. A process records every 15 seconds that it runs, and removes its row when it ends.
CREATE TABLE nodes (
    id text PRIMARY KEY,
    name text NOT NULL,
    version text NOT NULL,
    workers text NOT NULL,
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL
);

-- Audit ----------------------------------------------------------------------------------------------------

CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    actor_kind text NOT NULL CHECK (actor_kind IN ('principal', 'worker', 'operator')),
    actor text,
    -- The display name of the principal at that time.
    actor_name text,
    request_id text,
    address text,
    action text NOT NULL,
    subject text NOT NULL,
    detail text
);
CREATE INDEX audit_log_by_time ON audit_log (at, id);
CREATE INDEX audit_log_by_action ON audit_log (action, at, id);
CREATE INDEX audit_log_by_actor ON audit_log (actor, at, id);
CREATE INDEX audit_log_by_subject ON audit_log (subject, at, id);
CREATE INDEX audit_log_by_request ON audit_log (request_id, at, id);

-- Rows before this time are no longer retained. Rows after it are never deleted.
CREATE TABLE audit_horizon (
    "only" bigint PRIMARY KEY CHECK ("only" = 1),
    retained_since timestamptz NOT NULL
);
INSERT INTO audit_horizon ("only", retained_since) VALUES (1, '-infinity');

CREATE FUNCTION audit_retention_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM audit_horizon WHERE retained_since <= OLD.at) THEN
        RAISE EXCEPTION 'imgsrv:forbidden';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER audit_horizon_insert BEFORE INSERT ON audit_horizon FOR EACH ROW EXECUTE FUNCTION forbid();
CREATE TRIGGER audit_horizon_delete BEFORE DELETE ON audit_horizon FOR EACH ROW EXECUTE FUNCTION forbid();
CREATE TRIGGER audit_horizon_truncate BEFORE TRUNCATE ON audit_horizon EXECUTE FUNCTION forbid();
CREATE TRIGGER audit_log_update BEFORE UPDATE ON audit_log FOR EACH ROW EXECUTE FUNCTION forbid();
CREATE TRIGGER audit_log_delete BEFORE DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION audit_retention_guard();
CREATE TRIGGER audit_log_truncate BEFORE TRUNCATE ON audit_log EXECUTE FUNCTION forbid();

-- Functions ------------------------------------------------------------------------------------------------

-- The search_path of a session must not decide which tables the guards read.
DO $$
DECLARE
    guard text;
BEGIN
    FOREACH guard IN ARRAY ARRAY['forbid()', 'bump_catalog_revision()', 'count_change(text, bigint)', 'count_states()',
        'notify_work()', 'images_guard()', 'trigrams(text, text)', 'maintain_trigrams()', 'maintain_ref()', 'versions_guard()', 'mark_published()',
        'version_lifecycles_guard()', 'mark_offered()', 'aliases_guard()', 'remember_alias()', 'image_refs_guard()',
        'manifest_guard()', 'blobs_guard()', 'count_blobs()', 'count_unreferenced()', 'record_orphan()', 'lock_digest()',
        'reference_blob()', 'release_blob()', 'audit_retention_guard()',
        'count_steps()', 'publish_results_guard()', 'incus_rows_guard()', 'count_incus_rows()',
        'incus_fingerprints_guard()']
    LOOP
        EXECUTE format('ALTER FUNCTION %I.%s SET search_path = %I, pg_temp', current_schema(), guard, current_schema());
    END LOOP;
END $$;
