-- 0004_stamps: a safe point that never goes back, and that leaves out no change that was acknowledged before it was asked for.
--
-- Names of whole seconds did both: whoever asked while a writer was at work was sent back to before its second, and so
-- before changes of that second that others had seen already.

-- name_class: the first key of the advisory locks that name a time. Not that of the lock by which writers take turns: a
-- writer that began before this step names its time there, and a reader waits for it.
CREATE OR REPLACE FUNCTION name_class() RETURNS integer LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
    SELECT hashtext('times of writers in ' || current_schema())
$$;

-- name_of: a time in whole milliseconds as the second key of a lock. It comes again after 24 days.
CREATE OR REPLACE FUNCTION name_of(at timestamptz) RETURNS integer LANGUAGE sql IMMUTABLE AS $$
    SELECT (floor(extract(epoch FROM at) * 1000)::bigint & 2147483647)::integer
$$;

-- take_stamp: the time under which a transaction writes; call it once, before the first change.
--
-- A stamp is taken long before its commit is seen, so "now" is no safe point for readers: a transaction with an earlier
-- stamp may still be on its way. Therefore each writer, when its turn has come, takes a lock that names the next
-- millisecond, waits until that has begun, and only then takes its stamp. Whoever wrote before it has a stamp before that
-- millisecond, and its own is behind the beginning of it.
-- Writers go one at a time: stamps of one resource then rise in the order of its versions, and two loads of the same
-- resources cannot lock each other out.
CREATE OR REPLACE FUNCTION take_stamp() RETURNS timestamptz LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    next timestamptz;
BEGIN
    PERFORM pg_advisory_xact_lock(lock_class(), 0);
    next := date_trunc('milliseconds', clock_timestamp()) + interval '1 millisecond';
    PERFORM pg_advisory_xact_lock_shared(name_class(), name_of(next));
    WHILE clock_timestamp() <= next LOOP
        PERFORM pg_sleep(0.0005);
    END LOOP;
    RETURN clock_timestamp();
END
$$;

-- safe_point: a time, in whole milliseconds, at or before which nothing will change any more.
--
-- The clock is read first, the locks after it. Without a writer whose turn it is, the answer is just before the clock: who
-- comes next takes its turn, its name and its stamp after that. With one, it is the beginning of the millisecond that the
-- writer has named, which its stamp is behind. One that has its turn and no name yet names its time in an instant, and is
-- waited for: else a later answer might be earlier than this one. A writer whose locks are gone has committed, and
-- PostgreSQL shows a commit before it lets go of the locks. So every change that a later snapshot shows for the first
-- time is later than the answer, and every change that had been shown is not. This needs the primary (a standby has no
-- locks) and a clock that is not set back.
CREATE OR REPLACE FUNCTION safe_point() RETURNS timestamptz LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
DECLARE
    now_first timestamptz;
    has_turn boolean;
    name bigint;
    age bigint;
BEGIN
    LOOP
        now_first := clock_timestamp();
        SELECT coalesce(bool_or(l.classid::bigint = lock_class()::bigint & 4294967295 AND l.objid = 0), false),
            min(l.objid::bigint) FILTER (WHERE l.classid::bigint = name_class()::bigint & 4294967295)
        INTO has_turn, name
        FROM pg_locks l
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
            AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
        IF name IS NOT NULL THEN
            age := (name_of(now_first)::bigint - name) & 2147483647;
            -- A name that is ahead of the clock, by a millisecond, seems to be as old as names get.
            IF age > 2147483647 - 60000 THEN
                age := 0;
            END IF;
            RETURN least(
                date_trunc('milliseconds', now_first) - age * interval '1 millisecond',
                date_trunc('milliseconds', now_first - interval '1 microsecond'));
        ELSIF NOT has_turn THEN
            RETURN date_trunc('milliseconds', now_first - interval '1 microsecond');
        END IF;
        PERFORM pg_sleep(0.0005);
    END LOOP;
END
$$;
