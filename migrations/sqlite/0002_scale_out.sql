-- Counters, so that telling how much there is costs the same however much there is; boolean conditions that
-- PostgreSQL shares.

DROP INDEX images_published;
CREATE INDEX images_published ON images (name) WHERE has_published;
DROP INDEX upload_sessions_uncleared;
CREATE INDEX upload_sessions_uncleared ON upload_sessions (updated_at)
    WHERE state IN ('ready', 'failed', 'aborted') AND NOT cleared;

-- The sum over all slots of a name is its count. Where several writers run at once, each has a slot of its own.
CREATE TABLE counters (
    name TEXT NOT NULL,
    slot INTEGER NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (name, slot)
) STRICT, WITHOUT ROWID;

INSERT INTO counters (name, slot, value)
    SELECT 'uploads:' || state, 0, count(*) FROM upload_sessions GROUP BY state
    UNION ALL SELECT 'jobs:' || state, 0, count(*) FROM publish_jobs GROUP BY state
    UNION ALL SELECT 'steps:' || name || ':' || state, 0, count(*) FROM publish_steps GROUP BY name, state
    UNION ALL SELECT 'versions:' || state, 0, count(*) FROM versions GROUP BY state
    UNION ALL SELECT 'blobs', 0, count(*) FROM blobs WHERE state = 'trusted'
    UNION ALL SELECT 'blob_bytes', 0, coalesce(sum(size_bytes), 0) FROM blobs WHERE state = 'trusted';

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

-- What tells this catalog from every other one, and the blob store that it is bound to: no store is used by two
-- catalogs, and no node of a catalog uses another store than the others.
CREATE TABLE catalog_identity (
    only INTEGER PRIMARY KEY NOT NULL CHECK (only = 1),
    id BLOB NOT NULL,
    store BLOB
) STRICT;
INSERT INTO catalog_identity (only, id) VALUES (1, randomblob(16));
