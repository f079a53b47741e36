-- 0001_resources: resources and attribution lists, each as of any time since they were loaded.
--
-- All of it lives in the schema that the search path names when this runs. JSON is `text`: `jsonb` would reorder it and
-- rewrite its numbers. Ids compare by bytes (COLLATE "C"), as the program compares them.

-- The current version of each resource. Of a Group: its JSON without the members.
CREATE TABLE resource (
    resource_type text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    last_updated timestamptz NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (resource_type, id)
);

-- Superseded versions. A deleted resource has its last version here and no row in `resource`.
CREATE TABLE resource_history (
    resource_type text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    last_updated timestamptz NOT NULL,
    superseded_at timestamptz NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (resource_type, id, version)
);

-- Deletions since a time are found by this.
CREATE INDEX ON resource_history (superseded_at);

-- The heads of the lists. In this table and the next two a row holds from `valid_from` until before `valid_to`.
CREATE TABLE attribution_list (
    list text COLLATE "C" NOT NULL,
    before text NOT NULL,
    after text NOT NULL,
    members bigint NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL DEFAULT 'infinity',
    PRIMARY KEY (list, valid_from)
);

-- The members of a list: at any time one row for each ordinal from 0 to `members` - 1, so that a page is a range of
-- ordinals. `patient`, `coverage` and `provider` are the first local references of each kind; a provider is `Type/id`.
CREATE TABLE attribution_member (
    list text COLLATE "C" NOT NULL,
    ordinal bigint NOT NULL,
    body text NOT NULL,
    patient text COLLATE "C",
    coverage text COLLATE "C",
    provider text COLLATE "C",
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL DEFAULT 'infinity',
    PRIMARY KEY (list, ordinal, valid_from)
);

-- Who is a member of what is asked of one patient, or of a few; coverage and provider are read from the rows found.
CREATE INDEX ON attribution_member (patient, list);

-- What the members of a list name, each resource once: the set that an export is cut by. The list itself is left out.
-- `listed_since` goes back beyond `valid_from` when only `named_by` has changed.
CREATE TABLE attribution_listed (
    list text COLLATE "C" NOT NULL,
    resource_type text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    named_by smallint NOT NULL,
    listed_since timestamptz NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL DEFAULT 'infinity',
    PRIMARY KEY (list, resource_type, id, valid_from)
);

-- Bodies over 2 kB are compressed; lz4 reads several times as fast as the default where the server was built with it.
DO $$
BEGIN
    ALTER TABLE resource ALTER COLUMN body SET COMPRESSION lz4;
    ALTER TABLE resource_history ALTER COLUMN body SET COMPRESSION lz4;
EXCEPTION WHEN OTHERS THEN
    NULL;
END
$$;

-- version_at: the version of a resource that was current at a time; no row when there was none.
-- Plain SQL without options that forbid it, so that the planner writes it out inside the statements that use it; LIMIT
-- keeps it a probe of two primary keys, the second only when the first finds nothing, whatever the statistics say.
CREATE FUNCTION version_at(of_type text, of_id text, as_of timestamptz)
RETURNS TABLE (last_updated timestamptz, body text) LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT r.last_updated, r.body FROM resource r
    WHERE r.resource_type = of_type AND r.id = of_id AND r.last_updated <= as_of
    UNION ALL
    SELECT h.last_updated, h.body FROM resource_history h
    WHERE h.resource_type = of_type AND h.id = of_id AND h.last_updated <= as_of AND as_of < h.superseded_at
    LIMIT 1
$$;

-- lock_class: the first key of this schema's advisory locks.
CREATE FUNCTION lock_class() RETURNS integer LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT hashtext('attribution lists in ' || current_schema())
$$;

-- take_stamp: the time under which a transaction writes; call it once, before the first change.
--
-- A stamp is taken long before its commit is seen, so "now" is no safe point for readers: a transaction with an earlier
-- stamp may still be on its way. Therefore each writer first takes a lock that names the present second, and only then
-- its stamp, which is thus no earlier than that second. Writers go one at a time: stamps of one resource then rise in
-- the order of its versions, and two loads of the same resources cannot lock each other out.
-- The second is counted from 2020, so that it fits the key until 2088.
CREATE FUNCTION take_stamp() RETURNS timestamptz LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(lock_class(), 0);
    PERFORM pg_advisory_xact_lock_shared(
        lock_class(), floor(extract(epoch FROM clock_timestamp()) - 1577836800)::integer);
    RETURN clock_timestamp();
END
$$;

-- safe_point: a time, in whole milliseconds, at or before which nothing will change any more.
--
-- The clock is read first, the locks after it. A writer whose lock is seen has a stamp of that second or later. A writer
-- whose lock is not seen yet takes it, and so its stamp, after the clock was read. A writer whose lock is gone has
-- committed, and PostgreSQL shows a commit before it lets go of its locks. So every change that a later snapshot shows
-- for the first time is later than the answer. This needs the primary (a standby has no locks) and a clock that is not
-- set back.
CREATE FUNCTION safe_point() RETURNS timestamptz LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    now_first CONSTANT timestamptz := clock_timestamp();
    oldest bigint;
BEGIN
    SELECT min(l.objid::bigint) INTO oldest FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.objid <> 0
        AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
        AND l.classid::bigint = (lock_class()::bigint & 4294967295);
    RETURN date_trunc(
        'milliseconds', least(now_first, to_timestamp(oldest + 1577836800)) - interval '1 microsecond');
END
$$;
