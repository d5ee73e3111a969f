-- The schema of the catalog.
--
-- Times are microseconds since the Unix epoch, ids are 16-byte UUIDs, digests are `sha256:` and hexadecimal. Messages
-- of RAISE start with `imgsrv:`; the adapter maps the rest of the message to a conflict.
--
-- The guarantees given to consumers hold against any DML, also with foreign keys switched off and against
-- INSERT OR REPLACE (which skips delete triggers): a guarded table refuses existing ids and keys before an insert, and
-- has no rowid, by which a row could be replaced unnoticed.

-- Catalog --------------------------------------------------------------------------------------------------

-- The identity of this catalog, and the blob store that it is bound to: no store is used by two catalogs, and all
-- nodes of a catalog use the same store.
CREATE TABLE catalog_identity (
    only INTEGER PRIMARY KEY NOT NULL CHECK (only = 1),
    id BLOB NOT NULL,
    store BLOB
) STRICT;
INSERT INTO catalog_identity (only, id) VALUES (1, randomblob(16));

-- Changes whenever something changes that consumers see.
CREATE TABLE catalog_revision (
    only INTEGER PRIMARY KEY NOT NULL CHECK (only = 1),
    revision INTEGER NOT NULL
) STRICT;
INSERT INTO catalog_revision (only, revision) VALUES (1, 1);

-- Counters, so that statistics cost the same however large the catalog is. The count of a name is the sum over its
-- slots; a database with one writer at a time needs one slot.
CREATE TABLE counters (
    name TEXT NOT NULL,
    slot INTEGER NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (name, slot)
) STRICT, WITHOUT ROWID;

-- Principals -----------------------------------------------------------------------------------------------

CREATE TABLE principals (
    id BLOB PRIMARY KEY NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('user', 'service')),
    display_name TEXT NOT NULL,
    attributes TEXT NOT NULL,
    deactivated_at INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT;

-- A role is granted by hand, by live grants of provisioning rules, or both. `images` are the patterns of the images on
-- which it was granted by hand, or no pattern when a rule that limits its images granted it, separated by spaces; NULL is
-- every image.
CREATE TABLE principal_roles (
    principal_id BLOB NOT NULL REFERENCES principals (id),
    role TEXT NOT NULL,
    by_hand INTEGER NOT NULL DEFAULT 1 CHECK (by_hand IN (0, 1)),
    images TEXT,
    PRIMARY KEY (principal_id, role)
) STRICT, WITHOUT ROWID;
CREATE INDEX principal_roles_by_role ON principal_roles (role, principal_id);

-- `roles` and `images`, separated by spaces, are what the token leaves of what its principal may do; NULL is all of it.
CREATE TABLE api_tokens (
    id BLOB PRIMARY KEY NOT NULL,
    principal_id BLOB NOT NULL REFERENCES principals (id),
    lookup_key TEXT NOT NULL UNIQUE,
    secret_hash BLOB NOT NULL CHECK (length(secret_hash) = 32),
    name TEXT NOT NULL,
    roles TEXT,
    images TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    last_used_at INTEGER,
    revoked_at INTEGER
) STRICT;
CREATE INDEX api_tokens_by_principal ON api_tokens (principal_id, id);

-- The key that authenticates links, from the first link on. A new key has the next number.
CREATE TABLE link_key (
    only INTEGER PRIMARY KEY NOT NULL CHECK (only = 1),
    id INTEGER NOT NULL,
    secret BLOB NOT NULL CHECK (length(secret) = 32),
    created_at INTEGER NOT NULL
) STRICT;

-- The principal of each OpenID Connect identity. `seen_at` is the day of its last request, written with a delay.
CREATE TABLE oidc_identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    principal_id BLOB NOT NULL UNIQUE REFERENCES principals (id),
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;
CREATE INDEX oidc_identities_by_use ON oidc_identities (seen_at);

-- `images` are the patterns of the images on which a rule grants its role, with the claims that they name, separated by
-- spaces; NULL is every image.
CREATE TABLE provisioning_rules (
    id TEXT PRIMARY KEY NOT NULL,
    display_name TEXT NOT NULL,
    issuer TEXT NOT NULL,
    audience TEXT NOT NULL,
    forwarded_claims TEXT NOT NULL,
    condition TEXT NOT NULL,
    role TEXT NOT NULL,
    images TEXT,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX provisioning_rules_by_issuer ON provisioning_rules (issuer, id);

-- Each rule grants a role to a principal at most once. A grant is live until `ended_at`, even when its rule is deleted.
CREATE TABLE provisioning_grants (
    rule_id TEXT NOT NULL,
    principal_id BLOB NOT NULL REFERENCES principals (id),
    role TEXT NOT NULL,
    granted_at INTEGER NOT NULL,
    ended_at INTEGER,
    PRIMARY KEY (rule_id, principal_id, role)
) STRICT, WITHOUT ROWID;
CREATE INDEX provisioning_grants_by_principal ON provisioning_grants (principal_id, role);

-- Images ---------------------------------------------------------------------------------------------------

-- `has_published` is whether the image has a published version that is neither revoked nor removed. A private image
-- exists only for principals with a role on it.
CREATE TABLE images (
    id BLOB PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    display_name TEXT,
    description TEXT,
    visibility TEXT NOT NULL DEFAULT 'public' CHECK (visibility IN ('public', 'private')),
    has_published INTEGER NOT NULL DEFAULT 0 CHECK (has_published IN (0, 1)),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX images_public ON images (name) WHERE has_published AND visibility = 'public';

-- Every three characters in a row of the text that searches look through: the name of an image, a blank and its display name,
-- in lower case. Triggers maintain them, so that a search for a rare text reads few images.
CREATE TABLE image_trigrams (
    trigram TEXT NOT NULL,
    image_name TEXT NOT NULL,
    PRIMARY KEY (trigram, image_name)
) STRICT, WITHOUT ROWID;

-- What an image is bound to that was created through a pattern with claims: the rule, and the values of the claims.
CREATE TABLE image_bindings (
    image_id BLOB PRIMARY KEY NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    rule_id TEXT NOT NULL,
    claims TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- How often the links to the files of an image were revoked; no row is never.
CREATE TABLE link_generations (
    image_id BLOB PRIMARY KEY NOT NULL,
    generation INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE versions (
    id BLOB PRIMARY KEY NOT NULL,
    image_id BLOB NOT NULL REFERENCES images (id),
    name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('draft', 'publishing', 'published')),
    published_at INTEGER,
    listed_at INTEGER NOT NULL GENERATED ALWAYS AS (coalesce(published_at, created_at)) VIRTUAL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    CHECK ((state = 'published') = (published_at IS NOT NULL)),
    UNIQUE (image_id, name),
    UNIQUE (id, image_id, state)
) STRICT, WITHOUT ROWID;
CREATE INDEX versions_listed ON versions (image_id, listed_at, id);
CREATE INDEX versions_listed_by_state ON versions (image_id, state, listed_at, id);
CREATE INDEX versions_drafts ON versions (updated_at, id) WHERE state = 'draft';

-- The lifecycle of each published version, beside the manifest, which never changes. Each step away from `active` has
-- its own columns, which stay when a later step is taken, so that undoing that step restores them. `available_until`
-- is the end of the drain of a removed version; at `tombstone_at`, after that, it became a tombstone. Its row and its
-- name stay permanently.
CREATE TABLE version_lifecycles (
    version_id BLOB PRIMARY KEY NOT NULL REFERENCES versions (id),
    image_id BLOB NOT NULL,
    published_at INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'active'
        CHECK (state IN ('active', 'deprecated', 'revoked', 'removed', 'tombstone')),
    deprecated_at INTEGER,
    deprecation_reason TEXT,
    deprecation_image TEXT,
    deprecation_ref TEXT,
    end_of_life TEXT,
    revoked_at INTEGER,
    revocation_reason TEXT,
    revocation_image TEXT,
    revocation_ref TEXT,
    removed_at INTEGER,
    removal_reason TEXT,
    removal_image TEXT,
    removal_ref TEXT,
    available_until INTEGER,
    tombstone_at INTEGER,
    hold_reason TEXT,
    hold_until INTEGER,
    hold_lifts_at INTEGER,
    changed_at INTEGER NOT NULL,
    revision INTEGER NOT NULL DEFAULT 1,
    catalog_revision INTEGER,
    CHECK (state = CASE WHEN tombstone_at IS NOT NULL THEN 'tombstone' WHEN removed_at IS NOT NULL THEN 'removed'
        WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN deprecated_at IS NOT NULL THEN 'deprecated' ELSE 'active' END),
    CHECK ((removed_at IS NULL) = (available_until IS NULL) AND (tombstone_at IS NULL OR removed_at IS NOT NULL)),
    CHECK (hold_reason IS NOT NULL OR (hold_until IS NULL AND hold_lifts_at IS NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX version_lifecycles_listed ON version_lifecycles (image_id, state, published_at, version_id);
-- The versions that feeds and searches offer, by age.
CREATE INDEX version_lifecycles_offered ON version_lifecycles (published_at, version_id)
    WHERE state IN ('active', 'deprecated');
CREATE INDEX version_lifecycles_by_revision ON version_lifecycles (catalog_revision, version_id);
CREATE INDEX version_lifecycles_draining ON version_lifecycles (available_until) WHERE state = 'removed';
CREATE INDEX version_lifecycles_by_replacement ON version_lifecycles
    (coalesce(removal_image, revocation_image, deprecation_image), coalesce(removal_ref, revocation_ref, deprecation_ref));

CREATE TABLE aliases (
    id BLOB PRIMARY KEY NOT NULL,
    image_id BLOB NOT NULL,
    name TEXT NOT NULL,
    version_id BLOB NOT NULL,
    version_state TEXT NOT NULL DEFAULT 'published' CHECK (version_state = 'published'),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    UNIQUE (image_id, name),
    FOREIGN KEY (version_id, image_id, version_state) REFERENCES versions (id, image_id, state)
) STRICT, WITHOUT ROWID;
CREATE INDEX aliases_by_version ON aliases (version_id);

-- When a deleted alias last moved, so that a new alias of that name does not seem older to clients.
CREATE TABLE deleted_aliases (
    image_id BLOB NOT NULL,
    name TEXT NOT NULL,
    moved_at INTEGER NOT NULL,
    PRIMARY KEY (image_id, name)
) STRICT, WITHOUT ROWID;

-- One row for every version and alias of an image, maintained by triggers, so that no name is used twice.
CREATE TABLE image_refs (
    image_id BLOB NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (image_id, name)
) STRICT, WITHOUT ROWID;

-- The catalog revision in which an image last changed for consumers: its metadata, its aliases or its versions.
CREATE TABLE image_changes (
    image_id BLOB PRIMARY KEY NOT NULL,
    catalog_revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX image_changes_by_revision ON image_changes (catalog_revision, image_id);

CREATE TRIGGER images_insert BEFORE INSERT ON images BEGIN
    SELECT RAISE(ABORT, 'imgsrv:image-name') FROM images WHERE id = NEW.id OR name = NEW.name;
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NEW.has_published <> 0;
END;
CREATE TRIGGER images_update BEFORE UPDATE ON images BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NEW.id <> OLD.id OR NEW.name <> OLD.name
        OR NEW.has_published IS NOT EXISTS (SELECT 1 FROM version_lifecycles
            WHERE image_id = OLD.id AND state IN ('active', 'deprecated'));
END;
CREATE TRIGGER images_delete BEFORE DELETE ON images BEGIN
    SELECT RAISE(ABORT, 'imgsrv:image-in-use') FROM versions WHERE image_id = OLD.id;
END;

CREATE TRIGGER images_trigrams_insert AFTER INSERT ON images BEGIN
    INSERT OR IGNORE INTO image_trigrams (trigram, image_name) SELECT trigram, NEW.name FROM
        (WITH RECURSIVE pieces (text, start) AS (
                SELECT lower(NEW.name || ' ' || coalesce(NEW.display_name, '')), 1
                UNION ALL SELECT text, start + 1 FROM pieces WHERE start + 3 <= length(text))
            SELECT substr(text, start, 3) AS trigram FROM pieces WHERE length(text) >= 3);
END;
CREATE TRIGGER images_trigrams_update AFTER UPDATE ON images WHEN NEW.display_name IS NOT OLD.display_name BEGIN
    DELETE FROM image_trigrams WHERE image_name = OLD.name AND trigram IN
        (WITH RECURSIVE pieces (text, start) AS (
                SELECT lower(OLD.name || ' ' || coalesce(OLD.display_name, '')), 1
                UNION ALL SELECT text, start + 1 FROM pieces WHERE start + 3 <= length(text))
            SELECT substr(text, start, 3) AS trigram FROM pieces WHERE length(text) >= 3);
    INSERT OR IGNORE INTO image_trigrams (trigram, image_name) SELECT trigram, NEW.name FROM
        (WITH RECURSIVE pieces (text, start) AS (
                SELECT lower(NEW.name || ' ' || coalesce(NEW.display_name, '')), 1
                UNION ALL SELECT text, start + 1 FROM pieces WHERE start + 3 <= length(text))
            SELECT substr(text, start, 3) AS trigram FROM pieces WHERE length(text) >= 3);
END;
CREATE TRIGGER images_trigrams_delete AFTER DELETE ON images BEGIN
    DELETE FROM image_trigrams WHERE image_name = OLD.name AND trigram IN
        (WITH RECURSIVE pieces (text, start) AS (
                SELECT lower(OLD.name || ' ' || coalesce(OLD.display_name, '')), 1
                UNION ALL SELECT text, start + 1 FROM pieces WHERE start + 3 <= length(text))
            SELECT substr(text, start, 3) AS trigram FROM pieces WHERE length(text) >= 3);
END;

CREATE TRIGGER versions_insert BEFORE INSERT ON versions BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM versions WHERE id = NEW.id;
    SELECT RAISE(ABORT, 'imgsrv:ref-name') FROM image_refs WHERE image_id = NEW.image_id AND name = NEW.name;
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NEW.state <> 'draft';
END;
CREATE TRIGGER versions_inserted AFTER INSERT ON versions BEGIN
    INSERT INTO image_refs (image_id, name) VALUES (NEW.image_id, NEW.name);
END;
CREATE TRIGGER versions_update BEFORE UPDATE ON versions BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE OLD.state = 'published'
        OR NEW.id <> OLD.id OR NEW.image_id <> OLD.image_id OR NEW.name <> OLD.name
        OR NEW.created_at <> OLD.created_at
        OR (OLD.state = 'draft' AND NEW.state = 'published');
END;
CREATE TRIGGER versions_published AFTER UPDATE ON versions WHEN NEW.state = 'published' BEGIN
    INSERT INTO version_lifecycles (version_id, image_id, published_at, changed_at)
        VALUES (NEW.id, NEW.image_id, NEW.published_at, NEW.published_at);
    UPDATE images SET has_published = 1 WHERE id = NEW.image_id AND has_published = 0;
    DELETE FROM citations WHERE version_id = NEW.id;
END;
CREATE TRIGGER versions_delete BEFORE DELETE ON versions BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE OLD.state <> 'draft';
END;
CREATE TRIGGER versions_deleted AFTER DELETE ON versions BEGIN
    DELETE FROM image_refs WHERE image_id = OLD.image_id AND name = OLD.name;
END;
CREATE TRIGGER versions_count_insert AFTER INSERT ON versions BEGIN
    INSERT INTO counters (name, slot, value) VALUES ('versions:' || NEW.state, 0, 1)
        ON CONFLICT (name, slot) DO UPDATE SET value = value + 1;
END;
CREATE TRIGGER versions_count_update AFTER UPDATE ON versions WHEN NEW.state <> OLD.state BEGIN
    INSERT INTO counters (name, slot, value) VALUES ('versions:' || OLD.state, 0, -1), ('versions:' || NEW.state, 0, 1)
        ON CONFLICT (name, slot) DO UPDATE SET value = value + excluded.value;
END;
CREATE TRIGGER versions_count_delete AFTER DELETE ON versions BEGIN
    UPDATE counters SET value = value - 1 WHERE name = 'versions:' || OLD.state AND slot = 0;
END;

-- A version has an active lifecycle from its publication on.
CREATE TRIGGER version_lifecycles_insert BEFORE INSERT ON version_lifecycles BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM version_lifecycles WHERE version_id = NEW.version_id;
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NEW.state <> 'active' OR NOT EXISTS (SELECT 1 FROM versions
        WHERE id = NEW.version_id AND image_id = NEW.image_id AND published_at = NEW.published_at);
END;
CREATE TRIGGER version_lifecycles_update BEFORE UPDATE ON version_lifecycles BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE OLD.state = 'tombstone' OR NEW.revision <> OLD.revision + 1
        OR NEW.version_id <> OLD.version_id OR NEW.image_id <> OLD.image_id OR NEW.published_at <> OLD.published_at;
    -- The steps below the present one stay, and a drain is only lengthened, before it ends.
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE
        (NEW.state IN ('revoked', 'removed', 'tombstone') AND NEW.deprecated_at IS NOT OLD.deprecated_at)
        OR (NEW.state IN ('removed', 'tombstone') AND NEW.revoked_at IS NOT OLD.revoked_at)
        OR (NEW.state = 'removed' AND OLD.state = 'removed' AND NEW.available_until <> OLD.available_until
            AND (NEW.available_until < OLD.available_until OR OLD.available_until <= NEW.changed_at));
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE CASE
        WHEN NEW.state = OLD.state THEN 0
        -- Undoing a step, or ending a drain.
        WHEN NEW.state = 'tombstone' THEN OLD.state <> 'removed' OR NEW.available_until > NEW.changed_at
        WHEN OLD.state = 'removed' THEN OLD.available_until <= NEW.changed_at
            OR NEW.revoked_at IS NOT OLD.revoked_at OR NEW.deprecated_at IS NOT OLD.deprecated_at
        WHEN OLD.state = 'revoked' THEN NEW.state <> 'removed' AND NEW.deprecated_at IS NOT OLD.deprecated_at
        ELSE 0 END;
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE OLD.hold_reason IS NOT NULL
        AND (OLD.hold_until IS NULL OR OLD.hold_until > NEW.changed_at)
        AND (OLD.hold_lifts_at IS NULL OR OLD.hold_lifts_at > NEW.changed_at)
        AND ((NEW.state = 'revoked' AND OLD.state IN ('active', 'deprecated'))
            OR (NEW.state IN ('removed', 'tombstone') AND NEW.state <> OLD.state));
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM aliases
        WHERE version_id = OLD.version_id AND NEW.state IN ('revoked', 'removed', 'tombstone');
END;
CREATE TRIGGER version_lifecycles_updated AFTER UPDATE ON version_lifecycles WHEN NEW.state <> OLD.state BEGIN
    UPDATE images SET has_published = NOT has_published WHERE id = NEW.image_id AND has_published <>
        EXISTS (SELECT 1 FROM version_lifecycles WHERE image_id = NEW.image_id AND state IN ('active', 'deprecated'));
END;
CREATE TRIGGER version_lifecycles_delete BEFORE DELETE ON version_lifecycles BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;
CREATE TRIGGER version_lifecycles_count_insert AFTER INSERT ON version_lifecycles BEGIN
    INSERT INTO counters (name, slot, value) VALUES ('lifecycles:' || NEW.state, 0, 1)
        ON CONFLICT (name, slot) DO UPDATE SET value = value + 1;
END;
CREATE TRIGGER version_lifecycles_count_update AFTER UPDATE ON version_lifecycles WHEN NEW.state <> OLD.state BEGIN
    INSERT INTO counters (name, slot, value)
        VALUES ('lifecycles:' || OLD.state, 0, -1), ('lifecycles:' || NEW.state, 0, 1)
        ON CONFLICT (name, slot) DO UPDATE SET value = value + excluded.value;
END;

CREATE TRIGGER aliases_insert BEFORE INSERT ON aliases BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM aliases WHERE id = NEW.id;
    SELECT RAISE(ABORT, 'imgsrv:ref-name') FROM image_refs WHERE image_id = NEW.image_id AND name = NEW.name;
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NOT EXISTS (SELECT 1 FROM version_lifecycles
        WHERE version_id = NEW.version_id AND image_id = NEW.image_id AND state IN ('active', 'deprecated'));
    -- HTTP has times in seconds: a move is seen only if its second is later than that of the previous one.
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM deleted_aliases WHERE image_id = NEW.image_id AND name = NEW.name
        AND NEW.updated_at / 1000000 <= moved_at / 1000000;
END;
CREATE TRIGGER aliases_inserted AFTER INSERT ON aliases BEGIN
    INSERT INTO image_refs (image_id, name) VALUES (NEW.image_id, NEW.name);
END;
CREATE TRIGGER aliases_update BEFORE UPDATE ON aliases BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NEW.id <> OLD.id OR NEW.image_id <> OLD.image_id
        OR NEW.name <> OLD.name OR NEW.created_at <> OLD.created_at OR NEW.updated_at < OLD.updated_at
        OR (NEW.version_id <> OLD.version_id AND NEW.updated_at / 1000000 <= OLD.updated_at / 1000000);
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NOT EXISTS (SELECT 1 FROM version_lifecycles
        WHERE version_id = NEW.version_id AND image_id = NEW.image_id AND state IN ('active', 'deprecated'));
END;
CREATE TRIGGER aliases_deleted AFTER DELETE ON aliases BEGIN
    DELETE FROM image_refs WHERE image_id = OLD.image_id AND name = OLD.name;
    INSERT INTO deleted_aliases (image_id, name, moved_at) VALUES (OLD.image_id, OLD.name, OLD.updated_at)
        ON CONFLICT (image_id, name) DO UPDATE SET moved_at = max(moved_at, excluded.moved_at);
END;

CREATE TRIGGER image_refs_insert BEFORE INSERT ON image_refs BEGIN
    SELECT RAISE(ABORT, 'imgsrv:ref-name') FROM image_refs WHERE image_id = NEW.image_id AND name = NEW.name;
END;
CREATE TRIGGER image_refs_update BEFORE UPDATE ON image_refs BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;
CREATE TRIGGER image_refs_delete BEFORE DELETE ON image_refs BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM versions WHERE image_id = OLD.image_id AND name = OLD.name;
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM aliases WHERE image_id = OLD.image_id AND name = OLD.name;
END;

-- Manifests ------------------------------------------------------------------------------------------------

CREATE TABLE artifacts (
    id BLOB PRIMARY KEY NOT NULL,
    version_id BLOB NOT NULL REFERENCES versions (id),
    operating_system TEXT NOT NULL,
    architecture TEXT NOT NULL,
    variant TEXT NOT NULL,
    format TEXT NOT NULL,
    primary_blob_digest TEXT NOT NULL,
    primary_blob_size_bytes INTEGER NOT NULL CHECK (primary_blob_size_bytes >= 0),
    primary_media_type TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (version_id, operating_system, architecture, variant, format)
) STRICT, WITHOUT ROWID;
CREATE INDEX artifacts_by_digest ON artifacts (primary_blob_digest, version_id);
-- The kinds of artifacts, which searches enumerate.
CREATE INDEX artifacts_by_kind ON artifacts (operating_system, architecture, format, version_id);

CREATE TABLE attachments (
    id BLOB PRIMARY KEY NOT NULL,
    version_id BLOB NOT NULL REFERENCES versions (id),
    artifact_id BLOB NOT NULL REFERENCES artifacts (id),
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    blob_digest TEXT NOT NULL,
    blob_size_bytes INTEGER NOT NULL CHECK (blob_size_bytes >= 0),
    created_at INTEGER NOT NULL,
    UNIQUE (artifact_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX attachments_by_version ON attachments (version_id);
CREATE INDEX attachments_by_digest ON attachments (blob_digest, version_id);

-- Who has added a digest to the manifest of a draft, and what the credential left of its images. Its publication needs one of
-- them, or its publisher, to be allowed to read the digest; then the rows are deleted.
CREATE TABLE citations (
    version_id BLOB NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    principal_id BLOB NOT NULL,
    image_scope TEXT NOT NULL CHECK (image_scope <> ''),
    PRIMARY KEY (version_id, digest, principal_id, image_scope)
) STRICT, WITHOUT ROWID;

-- The names of the files of a version's artifacts and attachments.
CREATE TABLE version_files (
    version_id BLOB NOT NULL REFERENCES versions (id),
    name TEXT NOT NULL,
    artifact_id BLOB NOT NULL REFERENCES artifacts (id),
    attachment_id BLOB REFERENCES attachments (id),
    PRIMARY KEY (version_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX version_files_by_artifact ON version_files (artifact_id);

-- The key of an artifact in streams: `{architecture as Incus names it}:{variant}:{format}`.
CREATE TABLE version_products (
    version_id BLOB NOT NULL REFERENCES versions (id),
    product TEXT NOT NULL,
    artifact_id BLOB NOT NULL REFERENCES artifacts (id),
    PRIMARY KEY (version_id, product)
) STRICT, WITHOUT ROWID;
CREATE INDEX version_products_by_artifact ON version_products (artifact_id);

-- Artifacts, attachments, files and products are inserted and deleted only while their version is a draft.
CREATE TRIGGER artifacts_insert BEFORE INSERT ON artifacts BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NOT EXISTS (
        SELECT 1 FROM versions WHERE id = NEW.version_id AND state = 'draft');
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM artifacts WHERE id = NEW.id;
    SELECT RAISE(ABORT, 'imgsrv:artifact-key') FROM artifacts WHERE version_id = NEW.version_id
        AND operating_system = NEW.operating_system AND architecture = NEW.architecture
        AND variant = NEW.variant AND format = NEW.format;
END;
CREATE TRIGGER artifacts_update BEFORE UPDATE ON artifacts BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;
CREATE TRIGGER artifacts_delete BEFORE DELETE ON artifacts BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM versions WHERE id = OLD.version_id AND state <> 'draft';
END;
CREATE TRIGGER attachments_insert BEFORE INSERT ON attachments BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NOT EXISTS (
        SELECT 1 FROM artifacts JOIN versions ON versions.id = artifacts.version_id
        WHERE artifacts.id = NEW.artifact_id AND versions.id = NEW.version_id AND versions.state = 'draft');
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM attachments WHERE id = NEW.id;
    SELECT RAISE(ABORT, 'imgsrv:attachment-name') FROM attachments
        WHERE artifact_id = NEW.artifact_id AND name = NEW.name;
END;
CREATE TRIGGER attachments_update BEFORE UPDATE ON attachments BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;
CREATE TRIGGER attachments_delete BEFORE DELETE ON attachments BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM versions WHERE id = OLD.version_id AND state <> 'draft';
END;
CREATE TRIGGER version_files_insert BEFORE INSERT ON version_files BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NOT EXISTS (
        SELECT 1 FROM versions WHERE id = NEW.version_id AND state = 'draft');
    SELECT RAISE(ABORT, 'imgsrv:file-name') FROM version_files
        WHERE version_id = NEW.version_id AND name = NEW.name;
END;
CREATE TRIGGER version_files_update BEFORE UPDATE ON version_files BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;
CREATE TRIGGER version_files_delete BEFORE DELETE ON version_files BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM versions WHERE id = OLD.version_id AND state <> 'draft';
END;
CREATE TRIGGER version_products_insert BEFORE INSERT ON version_products BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NOT EXISTS (
        SELECT 1 FROM versions WHERE id = NEW.version_id AND state = 'draft');
    SELECT RAISE(ABORT, 'imgsrv:product-key') FROM version_products
        WHERE version_id = NEW.version_id AND product = NEW.product;
END;
CREATE TRIGGER version_products_update BEFORE UPDATE ON version_products BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;
CREATE TRIGGER version_products_delete BEFORE DELETE ON version_products BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM versions WHERE id = OLD.version_id AND state <> 'draft';
END;

-- Blobs ----------------------------------------------------------------------------------------------------

CREATE TABLE blobs (
    digest TEXT PRIMARY KEY NOT NULL,
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
    storage_name TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL CHECK (state IN ('trusted', 'quarantined')),
    created_at INTEGER NOT NULL,
    unreferenced_since INTEGER DEFAULT (CAST(strftime('%s', 'now') AS INTEGER) * 1000000),
    -- When the bytes were last hashed and found right; 0 if that never happened.
    verified_at INTEGER NOT NULL DEFAULT 0,
    -- When the bytes of a quarantined blob were last looked at.
    looked_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX blobs_unreferenced ON blobs (unreferenced_since, digest) WHERE unreferenced_since IS NOT NULL;
CREATE INDEX blobs_by_verification ON blobs (verified_at, digest) WHERE state = 'trusted';
CREATE INDEX blobs_quarantined ON blobs (digest) WHERE state = 'quarantined';

-- Who has sent the bytes of a blob, and so may use its digest even if no image that it may read has it. `image_scope` is
-- what the credential left of the images of the principal (`*` is every image): a credential that leaves less may not use
-- it. The rows are deleted with the blob.
CREATE TABLE blob_senders (
    digest TEXT NOT NULL,
    principal_id BLOB NOT NULL,
    image_scope TEXT NOT NULL CHECK (image_scope <> ''),
    sent_at INTEGER NOT NULL,
    PRIMARY KEY (digest, principal_id, image_scope)
) STRICT, WITHOUT ROWID;
CREATE INDEX blob_senders_by_principal ON blob_senders (principal_id);
CREATE TRIGGER principals_sent AFTER DELETE ON principals BEGIN
    DELETE FROM blob_senders WHERE principal_id = OLD.id;
END;

-- CRC32C checksums of the blocks of stored bytes, 4096 of them a section. Bytes without any are not verified when they are
-- read.
CREATE TABLE block_checksums (
    storage_name TEXT NOT NULL,
    section INTEGER NOT NULL CHECK (section >= 0),
    checksums BLOB NOT NULL,
    PRIMARY KEY (storage_name, section)
) STRICT;

-- Names of stored bytes that no blob refers to any more; their collection removes them from the store. `session` is the
-- upload session that the name ends in, as 32 hexadecimal digits.
CREATE TABLE orphaned_blobs (
    storage_name TEXT PRIMARY KEY NOT NULL,
    size_bytes INTEGER NOT NULL,
    session TEXT NOT NULL GENERATED ALWAYS AS (replace(substr(storage_name, -36), '-', '')) VIRTUAL
) STRICT, WITHOUT ROWID;
CREATE INDEX orphaned_blobs_by_session ON orphaned_blobs (session);

-- Digests whose content was purged with the version that had it. One that is blocked everywhere has no blob until it is
-- unblocked; the others are not published in the image any more. The empty digest is never blocked.
CREATE TABLE blocked_digests (
    digest TEXT NOT NULL
        CHECK (digest <> 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'),
    image_name TEXT NOT NULL,
    version_name TEXT NOT NULL,
    reason TEXT NOT NULL,
    everywhere INTEGER NOT NULL,
    blocked_at INTEGER NOT NULL,
    PRIMARY KEY (digest, image_name)
) STRICT, WITHOUT ROWID;

-- What refers to a digest, and keeps the blob from being collected. Uploads that have not ended do not keep it from being
-- deleted. The columns of all parts have the same types, or SQLite would read the whole view for every search in it.
CREATE VIEW blob_references AS
    SELECT primary_blob_digest AS digest, 'artifact' AS kind, id, version_id FROM artifacts
        WHERE NOT EXISTS (SELECT 1 FROM version_lifecycles
            WHERE version_id = artifacts.version_id AND tombstone_at IS NOT NULL)
    UNION ALL SELECT blob_digest, 'attachment', id, version_id FROM attachments
        WHERE NOT EXISTS (SELECT 1 FROM version_lifecycles
            WHERE version_id = attachments.version_id AND tombstone_at IS NOT NULL)
    UNION ALL SELECT expected_digest, 'upload', id, CAST(NULL AS BLOB) FROM upload_sessions
        WHERE state IN ('created', 'uploading', 'completed', 'ingesting');

CREATE TRIGGER blobs_insert BEFORE INSERT ON blobs BEGIN
    SELECT RAISE(ABORT, 'imgsrv:digest-blocked') FROM blocked_digests WHERE digest = NEW.digest AND everywhere;
    SELECT RAISE(ABORT, 'imgsrv:blob-digest') FROM blobs
        WHERE digest = NEW.digest OR storage_name = NEW.storage_name;
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NEW.state <> 'trusted';
END;
-- The identity of a blob never changes. Only a quarantined blob can be replaced, by bytes of the same digest and size.
CREATE TRIGGER blobs_update BEFORE UPDATE ON blobs BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NEW.digest <> OLD.digest OR NEW.size_bytes <> OLD.size_bytes
        OR (OLD.state = 'trusted' AND NEW.storage_name <> OLD.storage_name);
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM blobs
        WHERE storage_name = NEW.storage_name AND digest <> OLD.digest;
END;
CREATE TRIGGER blobs_delete BEFORE DELETE ON blobs BEGIN
    -- Drafts keep a blob from being collected, but not from being purged.
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM blob_references r WHERE r.digest = OLD.digest AND r.kind <> 'upload' AND
        (NOT EXISTS (SELECT 1 FROM blocked_digests WHERE digest = OLD.digest)
            OR EXISTS (SELECT 1 FROM versions WHERE id = r.version_id AND state <> 'draft'));
END;
CREATE TRIGGER blobs_deleted AFTER DELETE ON blobs BEGIN
    DELETE FROM blob_senders WHERE digest = OLD.digest;
    DELETE FROM block_checksums WHERE storage_name = OLD.storage_name;
    DELETE FROM package_lists WHERE digest = OLD.digest;
    INSERT INTO orphaned_blobs (storage_name, size_bytes) VALUES (OLD.storage_name, OLD.size_bytes);
END;
CREATE TRIGGER blobs_replaced AFTER UPDATE ON blobs WHEN NEW.storage_name <> OLD.storage_name BEGIN
    DELETE FROM block_checksums WHERE storage_name = OLD.storage_name;
    INSERT INTO orphaned_blobs (storage_name, size_bytes) VALUES (OLD.storage_name, OLD.size_bytes);
END;
CREATE TRIGGER blobs_count_insert AFTER INSERT ON blobs BEGIN
    INSERT INTO counters (name, slot, value) VALUES ('blobs', 0, 1), ('blob_bytes', 0, NEW.size_bytes)
        ON CONFLICT (name, slot) DO UPDATE SET value = value + excluded.value;
END;
CREATE TRIGGER blobs_count_update AFTER UPDATE ON blobs WHEN NEW.state <> OLD.state BEGIN
    UPDATE counters SET value = value + CASE NEW.state WHEN 'trusted' THEN 1 ELSE -1 END *
        CASE name WHEN 'blobs' THEN 1 ELSE NEW.size_bytes END
        WHERE name IN ('blobs', 'blob_bytes') AND slot = 0;
END;
CREATE TRIGGER blobs_count_delete AFTER DELETE ON blobs WHEN OLD.state = 'trusted' BEGIN
    UPDATE counters SET value = value - CASE name WHEN 'blobs' THEN 1 ELSE OLD.size_bytes END
        WHERE name IN ('blobs', 'blob_bytes') AND slot = 0;
END;
-- Quarantining or replacing a blob changes the catalog revision: what was cached under the old one is read again.
CREATE TRIGGER blobs_revision AFTER UPDATE ON blobs WHEN NEW.state <> OLD.state BEGIN
    UPDATE catalog_revision SET revision = revision + 1;
END;

-- `unreferenced_since` is the time of the last reference or reuse of a blob to which no artifact or attachment refers,
-- and NULL while one does. An unreferenced blob always has a time; collection clears that of a blob that was referenced
-- before it was stored.
CREATE TRIGGER artifacts_reference AFTER INSERT ON artifacts BEGIN
    UPDATE blobs SET unreferenced_since = NULL
        WHERE digest = NEW.primary_blob_digest AND unreferenced_since IS NOT NULL;
END;
CREATE TRIGGER attachments_reference AFTER INSERT ON attachments BEGIN
    UPDATE blobs SET unreferenced_since = NULL WHERE digest = NEW.blob_digest AND unreferenced_since IS NOT NULL;
END;
CREATE TRIGGER artifacts_release AFTER DELETE ON artifacts BEGIN
    UPDATE blobs SET unreferenced_since = CASE WHEN NOT EXISTS (
            SELECT 1 FROM blob_references WHERE digest = OLD.primary_blob_digest AND kind <> 'upload')
        THEN coalesce(unreferenced_since, CAST(strftime('%s', 'now') AS INTEGER) * 1000000) END
        WHERE digest = OLD.primary_blob_digest;
END;
CREATE TRIGGER attachments_release AFTER DELETE ON attachments BEGIN
    UPDATE blobs SET unreferenced_since = CASE WHEN NOT EXISTS (
            SELECT 1 FROM blob_references WHERE digest = OLD.blob_digest AND kind <> 'upload')
        THEN coalesce(unreferenced_since, CAST(strftime('%s', 'now') AS INTEGER) * 1000000) END
        WHERE digest = OLD.blob_digest;
END;
CREATE TRIGGER blobs_unreferenced_insert AFTER INSERT ON blobs WHEN NEW.unreferenced_since IS NOT NULL BEGIN
    INSERT INTO counters (name, slot, value) VALUES ('unreferenced_bytes', 0, NEW.size_bytes)
        ON CONFLICT (name, slot) DO UPDATE SET value = value + excluded.value;
END;
CREATE TRIGGER blobs_unreferenced_update AFTER UPDATE ON blobs
    WHEN (NEW.unreferenced_since IS NULL) <> (OLD.unreferenced_since IS NULL) BEGIN
    INSERT INTO counters (name, slot, value) VALUES ('unreferenced_bytes', 0,
        CASE WHEN NEW.unreferenced_since IS NULL THEN -NEW.size_bytes ELSE NEW.size_bytes END)
        ON CONFLICT (name, slot) DO UPDATE SET value = value + excluded.value;
END;
CREATE TRIGGER blobs_unreferenced_delete AFTER DELETE ON blobs WHEN OLD.unreferenced_since IS NOT NULL BEGIN
    UPDATE counters SET value = value - OLD.size_bytes WHERE name = 'unreferenced_bytes' AND slot = 0;
END;

-- Work -----------------------------------------------------------------------------------------------------

-- The queue of background work. `subject` is the id of an upload or job; nil for work that recurs. An item is due from
-- `due_at` on; while it is leased to `owner`, the lease expires then. `failures` counts the attempts since the last
-- progress and `silent` those at the end of them that ended without a word, both with the attempt that runs.
-- A parked item waits until it is enqueued again.
CREATE TABLE work_items (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    kind TEXT NOT NULL,
    subject BLOB NOT NULL,
    wanted_since INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    owner TEXT,
    attempt INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    silent INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER,
    error TEXT,
    parked_at INTEGER,
    CHECK (owner IS NULL OR parked_at IS NULL),
    UNIQUE (kind, subject)
) STRICT;
CREATE INDEX work_items_due ON work_items (kind, due_at) WHERE parked_at IS NULL;
CREATE INDEX work_items_parked ON work_items (kind) WHERE parked_at IS NOT NULL;

-- Uploads --------------------------------------------------------------------------------------------------

-- `expected_digest` is empty while the digest is not known.
CREATE TABLE upload_sessions (
    id BLOB PRIMARY KEY NOT NULL,
    created_by BLOB NOT NULL REFERENCES principals (id),
    -- The images that the credential leaves of those of the principal.
    image_scope TEXT NOT NULL CHECK (image_scope <> ''),
    kind TEXT NOT NULL CHECK (kind IN ('multipart', 'append')),
    expected_digest TEXT NOT NULL,
    digest_computed INTEGER NOT NULL DEFAULT 0 CHECK (digest_computed IN (0, 1)),
    expected_size_bytes INTEGER NOT NULL CHECK (expected_size_bytes >= 0),
    media_type_hint TEXT,
    filename_hint TEXT,
    idempotency_key TEXT,
    state TEXT NOT NULL CHECK (state IN
        ('created', 'uploading', 'completed', 'ingesting', 'ready', 'failed', 'aborted')),
    failure_reason TEXT,
    expires_at INTEGER NOT NULL,
    received_bytes INTEGER NOT NULL CHECK (received_bytes BETWEEN 0 AND expected_size_bytes),
    attempts INTEGER NOT NULL,
    frontier_writer_attempt BLOB,
    frontier_writer_number INTEGER,
    frontier_number INTEGER,
    hashed_bytes INTEGER,
    hashed_state BLOB,
    hashed_blocks BLOB,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX upload_sessions_key ON upload_sessions (created_by, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX upload_sessions_open ON upload_sessions (created_by, id) WHERE state IN ('created', 'uploading');
CREATE INDEX upload_sessions_pending ON upload_sessions (id) WHERE state IN ('completed', 'ingesting');
CREATE INDEX upload_sessions_expiring ON upload_sessions (expires_at) WHERE state IN ('created', 'uploading');
CREATE INDEX upload_sessions_by_digest ON upload_sessions (expected_digest)
    WHERE state IN ('created', 'uploading', 'completed', 'ingesting');
CREATE INDEX upload_sessions_by_principal ON upload_sessions (created_by);
CREATE INDEX upload_sessions_ended ON upload_sessions (updated_at) WHERE state IN ('ready', 'failed', 'aborted');

CREATE TABLE upload_parts (
    session_id BLOB NOT NULL REFERENCES upload_sessions (id),
    number INTEGER NOT NULL CHECK (number BETWEEN 1 AND 10000),
    attempt BLOB NOT NULL UNIQUE,
    sequence INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
    location TEXT NOT NULL,
    hash_bytes INTEGER,
    hash_state BLOB,
    hash_blocks BLOB,
    PRIMARY KEY (session_id, number)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER upload_sessions_count_insert AFTER INSERT ON upload_sessions BEGIN
    INSERT INTO counters (name, slot, value) VALUES ('uploads:' || NEW.state, 0, 1)
        ON CONFLICT (name, slot) DO UPDATE SET value = value + 1;
END;
CREATE TRIGGER upload_sessions_count_update AFTER UPDATE ON upload_sessions WHEN NEW.state <> OLD.state BEGIN
    INSERT INTO counters (name, slot, value) VALUES ('uploads:' || OLD.state, 0, -1), ('uploads:' || NEW.state, 0, 1)
        ON CONFLICT (name, slot) DO UPDATE SET value = value + excluded.value;
END;
CREATE TRIGGER upload_sessions_count_delete AFTER DELETE ON upload_sessions BEGIN
    UPDATE counters SET value = value - 1 WHERE name = 'uploads:' || OLD.state AND slot = 0;
END;

-- Publishing -----------------------------------------------------------------------------------------------

CREATE TABLE publish_jobs (
    id BLOB PRIMARY KEY NOT NULL,
    version_id BLOB NOT NULL,
    image_name TEXT NOT NULL,
    version_name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'abandoned')),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    revision INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX publish_jobs_live ON publish_jobs (version_id) WHERE state <> 'abandoned';
CREATE INDEX publish_jobs_by_state ON publish_jobs (state, id);
CREATE INDEX publish_jobs_by_image ON publish_jobs (image_name, state, id);
CREATE INDEX publish_jobs_by_version ON publish_jobs (version_id, id);
CREATE INDEX publish_jobs_abandoned ON publish_jobs (updated_at) WHERE state = 'abandoned';

CREATE TABLE publish_steps (
    job_id BLOB NOT NULL REFERENCES publish_jobs (id),
    sequence INTEGER NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'succeeded', 'failed')),
    reason TEXT,
    attempts INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    PRIMARY KEY (job_id, sequence),
    UNIQUE (job_id, name)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER publish_jobs_count_insert AFTER INSERT ON publish_jobs BEGIN
    INSERT INTO counters (name, slot, value) VALUES ('jobs:' || NEW.state, 0, 1)
        ON CONFLICT (name, slot) DO UPDATE SET value = value + 1;
END;
CREATE TRIGGER publish_jobs_count_update AFTER UPDATE ON publish_jobs WHEN NEW.state <> OLD.state BEGIN
    INSERT INTO counters (name, slot, value) VALUES ('jobs:' || OLD.state, 0, -1), ('jobs:' || NEW.state, 0, 1)
        ON CONFLICT (name, slot) DO UPDATE SET value = value + excluded.value;
END;
CREATE TRIGGER publish_jobs_count_delete AFTER DELETE ON publish_jobs BEGIN
    UPDATE counters SET value = value - 1 WHERE name = 'jobs:' || OLD.state AND slot = 0;
END;
CREATE TRIGGER publish_steps_count_insert AFTER INSERT ON publish_steps BEGIN
    INSERT INTO counters (name, slot, value) VALUES ('steps:' || NEW.name || ':' || NEW.state, 0, 1)
        ON CONFLICT (name, slot) DO UPDATE SET value = value + 1;
END;
CREATE TRIGGER publish_steps_count_update AFTER UPDATE ON publish_steps WHEN NEW.state <> OLD.state BEGIN
    INSERT INTO counters (name, slot, value)
        VALUES ('steps:' || OLD.name || ':' || OLD.state, 0, -1), ('steps:' || NEW.name || ':' || NEW.state, 0, 1)
        ON CONFLICT (name, slot) DO UPDATE SET value = value + excluded.value;
END;
CREATE TRIGGER publish_steps_count_delete AFTER DELETE ON publish_steps BEGIN
    UPDATE counters SET value = value - 1 WHERE name = 'steps:' || OLD.name || ':' || OLD.state AND slot = 0;
END;

-- What is to be published once an upload is ingested. `rule_id` is the rule that admitted the token of its creator, and
-- `rule_claims` are the values of the claims that the rule forwarded.
CREATE TABLE intakes (
    id BLOB PRIMARY KEY NOT NULL REFERENCES upload_sessions (id),
    created_by BLOB NOT NULL REFERENCES principals (id),
    rule_id TEXT,
    rule_claims TEXT CHECK ((rule_id IS NULL) = (rule_claims IS NULL)),
    image_name TEXT NOT NULL,
    version_name TEXT NOT NULL,
    operating_system TEXT NOT NULL,
    architecture TEXT NOT NULL,
    variant TEXT NOT NULL,
    format TEXT NOT NULL,
    media_type TEXT NOT NULL,
    aliases TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('receiving', 'publishing', 'published', 'failed')),
    reason TEXT CHECK ((state = 'failed') = (reason IS NOT NULL)),
    job_id BLOB REFERENCES publish_jobs (id),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    CHECK (job_id IS NOT NULL OR state IN ('receiving', 'failed'))
) STRICT, WITHOUT ROWID;
CREATE INDEX intakes_by_principal ON intakes (created_by);
CREATE UNIQUE INDEX intakes_by_job ON intakes (job_id) WHERE job_id IS NOT NULL;

-- Inspection results and stream index ----------------------------------------------------------------------

-- The inspection result of an artifact's bytes.
CREATE TABLE inspections (
    artifact_id BLOB PRIMARY KEY NOT NULL REFERENCES artifacts (id),
    version_id BLOB NOT NULL REFERENCES versions (id),
    detected_format TEXT,
    virtual_size_bytes INTEGER CHECK (virtual_size_bytes >= 0),
    cluster_size_bytes INTEGER CHECK (cluster_size_bytes > 0),
    compression TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX inspections_by_version ON inspections (version_id);

-- The packages that a file with that digest lists: a line a package, its name and versions with tabs between them.
CREATE TABLE package_lists (
    digest TEXT PRIMARY KEY NOT NULL,
    packages TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Faults that did not fail a publish step.
CREATE TABLE publish_warnings (
    version_id BLOB NOT NULL REFERENCES versions (id),
    step TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    artifact_id BLOB NOT NULL REFERENCES artifacts (id),
    reason TEXT NOT NULL,
    PRIMARY KEY (version_id, step, sequence)
) STRICT, WITHOUT ROWID;

-- The artifacts that Simple Streams list, from the catalog revision on in which their version was published.
CREATE TABLE incus_rows (
    artifact_id BLOB PRIMARY KEY NOT NULL REFERENCES artifacts (id),
    version_id BLOB NOT NULL REFERENCES versions (id),
    attachment_id BLOB REFERENCES attachments (id),
    -- Of an artifact that has its metadata in itself: the kind of instance.
    unified_kind TEXT,
    fingerprint TEXT NOT NULL,
    properties TEXT,
    expires_at INTEGER,
    catalog_revision INTEGER,
    CHECK ((attachment_id IS NULL) = (unified_kind IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE INDEX incus_rows_by_version ON incus_rows (version_id);
CREATE INDEX incus_rows_by_revision ON incus_rows (catalog_revision, artifact_id);

-- The SHA-256 of metadata followed by a root. Until it is known: the progress of that hash and of the root's own.
CREATE TABLE incus_fingerprints (
    metadata_digest TEXT NOT NULL,
    root_digest TEXT NOT NULL,
    combined_bytes INTEGER,
    combined_state BLOB,
    root_bytes INTEGER,
    root_state BLOB,
    fingerprint TEXT,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (metadata_digest, root_digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX incus_fingerprints_by_time ON incus_fingerprints (updated_at);

-- Results of publish steps are inserted and deleted only while their version is publishing.
CREATE TRIGGER inspections_insert BEFORE INSERT ON inspections BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NOT EXISTS (
        SELECT 1 FROM artifacts JOIN versions ON versions.id = artifacts.version_id
        WHERE artifacts.id = NEW.artifact_id AND versions.id = NEW.version_id AND versions.state = 'publishing');
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM inspections WHERE artifact_id = NEW.artifact_id;
END;
CREATE TRIGGER inspections_update BEFORE UPDATE ON inspections BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;
CREATE TRIGGER inspections_delete BEFORE DELETE ON inspections BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM versions WHERE id = OLD.version_id AND state <> 'publishing';
END;
CREATE TRIGGER publish_warnings_insert BEFORE INSERT ON publish_warnings BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NOT EXISTS (
        SELECT 1 FROM artifacts JOIN versions ON versions.id = artifacts.version_id
        WHERE artifacts.id = NEW.artifact_id AND versions.id = NEW.version_id AND versions.state = 'publishing');
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM publish_warnings
        WHERE version_id = NEW.version_id AND step = NEW.step AND sequence = NEW.sequence;
END;
CREATE TRIGGER publish_warnings_update BEFORE UPDATE ON publish_warnings BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;
CREATE TRIGGER publish_warnings_delete BEFORE DELETE ON publish_warnings BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM versions WHERE id = OLD.version_id AND state <> 'publishing';
END;
CREATE TRIGGER incus_rows_insert BEFORE INSERT ON incus_rows BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NEW.catalog_revision IS NOT NULL OR NOT EXISTS (
        SELECT 1 FROM artifacts JOIN versions ON versions.id = artifacts.version_id
        WHERE artifacts.id = NEW.artifact_id AND versions.id = NEW.version_id AND versions.state = 'publishing');
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE NEW.attachment_id IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM attachments WHERE id = NEW.attachment_id AND artifact_id = NEW.artifact_id);
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM incus_rows WHERE artifact_id = NEW.artifact_id;
END;
-- A row of the stream index changes once: when its version is published.
CREATE TRIGGER incus_rows_update BEFORE UPDATE ON incus_rows BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE OLD.catalog_revision IS NOT NULL OR NEW.catalog_revision IS NULL
        OR NEW.artifact_id <> OLD.artifact_id OR NEW.version_id <> OLD.version_id
        OR NEW.attachment_id IS NOT OLD.attachment_id OR NEW.unified_kind IS NOT OLD.unified_kind
        OR NEW.fingerprint <> OLD.fingerprint OR NEW.properties IS NOT OLD.properties OR NEW.expires_at IS NOT OLD.expires_at;
END;
CREATE TRIGGER incus_rows_delete BEFORE DELETE ON incus_rows BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM versions WHERE id = OLD.version_id AND state <> 'publishing';
END;
CREATE TRIGGER incus_rows_count AFTER UPDATE ON incus_rows WHEN OLD.catalog_revision IS NULL BEGIN
    INSERT INTO counters (name, slot, value) VALUES ('incus_rows', 0, 1)
        ON CONFLICT (name, slot) DO UPDATE SET value = value + 1;
END;
CREATE TRIGGER incus_fingerprints_update BEFORE UPDATE ON incus_fingerprints BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') WHERE OLD.fingerprint IS NOT NULL
        OR NEW.metadata_digest <> OLD.metadata_digest OR NEW.root_digest <> OLD.root_digest;
END;

-- Retention ------------------------------------------------------------------------------------------------

-- The retention policies of images. Durations are in microseconds.
CREATE TABLE retention_policies (
    image_id BLOB PRIMARY KEY NOT NULL,
    newest INTEGER,
    daily INTEGER,
    weekly INTEGER,
    monthly INTEGER,
    younger_than INTEGER,
    fetched_within INTEGER,
    min_keep INTEGER NOT NULL CHECK (min_keep > 0),
    deprecate_after INTEGER,
    remove_after INTEGER,
    enabled INTEGER NOT NULL CHECK (enabled IN (0, 1))
) STRICT, WITHOUT ROWID;

-- The day (UTC) on which a published version was last fetched, and the day since when that is recorded.
CREATE TABLE version_fetches (
    version_id BLOB PRIMARY KEY NOT NULL REFERENCES versions (id),
    fetched_on TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE fetch_recording (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    since TEXT NOT NULL
) STRICT;

-- Backups --------------------------------------------------------------------------------------------------

-- Running exports: while a pin has not expired, no blob is collected.
CREATE TABLE export_pins (
    id BLOB PRIMARY KEY NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The import that filled this catalog, by the digest of its backup, and the identity of the binding of its blob store.
-- Until it has finished, nothing else uses the catalog.
CREATE TABLE catalog_import (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    backup TEXT NOT NULL,
    store BLOB NOT NULL,
    finished_at INTEGER
) STRICT;

-- Server processes that run workers. A process records every 15 seconds that it runs, and removes its row when it ends.
CREATE TABLE nodes (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    workers TEXT NOT NULL,
    started_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Audit ----------------------------------------------------------------------------------------------------

CREATE TABLE audit_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    at INTEGER NOT NULL,
    actor_kind TEXT NOT NULL CHECK (actor_kind IN ('principal', 'worker', 'operator')),
    actor TEXT,
    -- The display name of the principal at that time.
    actor_name TEXT,
    request_id TEXT,
    address TEXT,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT
) STRICT;
CREATE INDEX audit_log_by_time ON audit_log (at, id);
CREATE INDEX audit_log_by_action ON audit_log (action, at, id);
CREATE INDEX audit_log_by_actor ON audit_log (actor, at, id);
CREATE INDEX audit_log_by_subject ON audit_log (subject, at, id);
CREATE INDEX audit_log_by_request ON audit_log (request_id, at, id);

-- Rows before this time are no longer retained. Rows after it are never deleted.
CREATE TABLE audit_horizon (
    only INTEGER PRIMARY KEY NOT NULL CHECK (only = 1),
    retained_since INTEGER NOT NULL
) STRICT;
INSERT INTO audit_horizon (only, retained_since) VALUES (1, 0);

CREATE TRIGGER audit_log_insert BEFORE INSERT ON audit_log BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM audit_log WHERE id = NEW.id;
END;
CREATE TRIGGER audit_log_update BEFORE UPDATE ON audit_log BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;
CREATE TRIGGER audit_log_delete BEFORE DELETE ON audit_log BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden') FROM audit_horizon WHERE retained_since <= OLD.at;
END;
CREATE TRIGGER audit_horizon_insert BEFORE INSERT ON audit_horizon BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;
CREATE TRIGGER audit_horizon_delete BEFORE DELETE ON audit_horizon BEGIN
    SELECT RAISE(ABORT, 'imgsrv:forbidden');
END;
