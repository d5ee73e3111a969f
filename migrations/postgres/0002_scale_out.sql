-- Counters, so that telling how much there is costs the same however much there is; wake-ups across nodes.

-- The sum over all slots of a name is its count. A transaction counts in slots that no other one uses, so that none
-- waits for another, as long as there are enough.
CREATE TABLE counters (
    name text COLLATE "C" NOT NULL,
    slot bigint NOT NULL,
    value bigint NOT NULL,
    PRIMARY KEY (name, slot)
);

CREATE FUNCTION count_change(counted text, change bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    mine integer := pg_backend_pid() % 64;
BEGIN
    -- 0x696d67 is "img". The lock is held to the end of the transaction.
    FOR tries IN 1..64 LOOP
        EXIT WHEN pg_try_advisory_xact_lock(x'696d67'::integer, mine);
        mine := (mine + 1) % 64;
    END LOOP;
    INSERT INTO counters AS c (name, slot, value) VALUES (counted, mine, change)
        ON CONFLICT (name, slot) DO UPDATE SET value = c.value + excluded.value;
END $$;

INSERT INTO counters (name, slot, value)
    SELECT 'uploads:' || state, 0, count(*) FROM upload_sessions GROUP BY state
    UNION ALL SELECT 'jobs:' || state, 0, count(*) FROM publish_jobs GROUP BY state
    UNION ALL SELECT 'steps:' || name || ':' || state, 0, count(*) FROM publish_steps GROUP BY name, state
    UNION ALL SELECT 'versions:' || state, 0, count(*) FROM versions GROUP BY state
    UNION ALL SELECT 'blobs', 0, count(*) FROM blobs WHERE state = 'trusted'
    UNION ALL SELECT 'blob_bytes', 0, coalesce(sum(size_bytes), 0) FROM blobs WHERE state = 'trusted';

-- Counts rows by state under the prefix that the trigger is given; steps by name, too.
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

CREATE TRIGGER upload_sessions_count_insert AFTER INSERT ON upload_sessions
    FOR EACH ROW EXECUTE FUNCTION count_states('uploads:');
CREATE TRIGGER upload_sessions_count_update AFTER UPDATE ON upload_sessions
    FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION count_states('uploads:');
CREATE TRIGGER upload_sessions_count_delete AFTER DELETE ON upload_sessions
    FOR EACH ROW EXECUTE FUNCTION count_states('uploads:');
CREATE TRIGGER publish_jobs_count_insert AFTER INSERT ON publish_jobs
    FOR EACH ROW EXECUTE FUNCTION count_states('jobs:');
CREATE TRIGGER publish_jobs_count_update AFTER UPDATE ON publish_jobs
    FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION count_states('jobs:');
CREATE TRIGGER publish_jobs_count_delete AFTER DELETE ON publish_jobs
    FOR EACH ROW EXECUTE FUNCTION count_states('jobs:');
CREATE TRIGGER publish_steps_count_insert AFTER INSERT ON publish_steps FOR EACH ROW EXECUTE FUNCTION count_steps();
CREATE TRIGGER publish_steps_count_update AFTER UPDATE ON publish_steps
    FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION count_steps();
CREATE TRIGGER publish_steps_count_delete AFTER DELETE ON publish_steps FOR EACH ROW EXECUTE FUNCTION count_steps();
CREATE TRIGGER versions_count_insert AFTER INSERT ON versions
    FOR EACH ROW EXECUTE FUNCTION count_states('versions:');
CREATE TRIGGER versions_count_update AFTER UPDATE ON versions
    FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION count_states('versions:');
CREATE TRIGGER versions_count_delete AFTER DELETE ON versions
    FOR EACH ROW EXECUTE FUNCTION count_states('versions:');
CREATE TRIGGER blobs_count_insert AFTER INSERT ON blobs FOR EACH ROW EXECUTE FUNCTION count_blobs();
CREATE TRIGGER blobs_count_update AFTER UPDATE ON blobs
    FOR EACH ROW WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION count_blobs();
CREATE TRIGGER blobs_count_delete AFTER DELETE ON blobs FOR EACH ROW EXECUTE FUNCTION count_blobs();

-- Tells every node that work is due; what it is due for is the payload.
CREATE FUNCTION notify_enqueued() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('imgsrv_enqueued', TG_ARGV[0]);
    RETURN NULL;
END $$;
CREATE TRIGGER upload_sessions_notify AFTER UPDATE ON upload_sessions
    FOR EACH ROW WHEN (NEW.state = 'completed' AND NEW.due_at <= NEW.updated_at)
    EXECUTE FUNCTION notify_enqueued('ingest');
CREATE TRIGGER publish_jobs_notify_insert AFTER INSERT ON publish_jobs
    FOR EACH ROW WHEN (NEW.state = 'queued') EXECUTE FUNCTION notify_enqueued('publish');
CREATE TRIGGER publish_jobs_notify_update AFTER UPDATE ON publish_jobs
    FOR EACH ROW WHEN (NEW.state = 'queued' AND NEW.due_at <= NEW.updated_at)
    EXECUTE FUNCTION notify_enqueued('publish');

-- What tells this catalog from every other one, and the blob store that it is bound to: no store is used by two
-- catalogs, and no node of a catalog uses another store than the others.
CREATE TABLE catalog_identity (
    "only" bigint PRIMARY KEY CHECK ("only" = 1),
    id uuid NOT NULL,
    store uuid
);
INSERT INTO catalog_identity ("only", id) VALUES (1, gen_random_uuid());

-- Whoever may set a search_path must not choose which tables the guards look at, these and the ones before.
DO $$
DECLARE
    guard text;
BEGIN
    FOREACH guard IN ARRAY ARRAY['forbid()', 'images_guard()', 'keep_ref()', 'versions_guard()', 'mark_published()',
        'aliases_guard()', 'image_refs_guard()', 'manifest_guard()', 'blobs_guard()', 'hold_blob()',
        'count_change(text, bigint)', 'count_states()', 'count_steps()', 'count_blobs()', 'notify_enqueued()']
    LOOP
        EXECUTE format('ALTER FUNCTION %I.%s SET search_path = %I, pg_temp', current_schema(), guard, current_schema());
    END LOOP;
END $$;
