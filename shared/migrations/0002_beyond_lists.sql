-- 0002_beyond_lists: what reads need that begin at no list: of all that there is of a type, of what was deleted, and of
-- lists that are looked for.

-- Which ids there are as of a time is then answered by the key alone, without a look at the bodies.
ALTER TABLE resource DROP CONSTRAINT resource_pkey, ADD PRIMARY KEY (resource_type, id) INCLUDE (last_updated);

-- When the resource was deleted, if this version ended so; else NULL, it was changed. It may have come back later.
ALTER TABLE resource_history ADD COLUMN deleted_at timestamptz;

-- A version that was changed ended when the next one began.
UPDATE resource_history h SET deleted_at = h.superseded_at
WHERE NOT EXISTS (
        SELECT FROM resource r
        WHERE r.resource_type = h.resource_type AND r.id = h.id AND r.last_updated = h.superseded_at
    )
    AND NOT EXISTS (
        SELECT FROM resource_history n
        WHERE n.resource_type = h.resource_type AND n.id = h.id AND n.last_updated = h.superseded_at
    );

-- Deletions since a time, in the order in which they are told: a few among millions of changes. The index on
-- `superseded_at` of the first step stays: it finds what has changed since a time, which a read as of that time still sees.
CREATE INDEX ON resource_history (deleted_at, resource_type, id) WHERE deleted_at IS NOT NULL;

-- identifier_values: the values of the identifiers of a resource; a single empty text when the database cannot read it,
-- so that it is looked at and not passed over: there is JSON that `jsonb` does not take, "\u0000" for one.
-- COST says that reading JSON is dear, so that the planner asks the index below.
CREATE FUNCTION identifier_values(body text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE STRICT COST 10000 AS $$
BEGIN
    -- An entry of the index holds about 2,700 bytes; a longer value is not asked for and must not stop a load.
    RETURN ARRAY(
        SELECT CASE WHEN length(value #>> '{}') > 500 THEN '' ELSE value #>> '{}' END
        FROM jsonb_path_query(body::jsonb, '$.identifier[*].value') AS found (value)
    );
EXCEPTION WHEN OTHERS THEN
    RETURN ARRAY[''];
END
$$;

CREATE INDEX resource_list_identifiers ON resource USING gin (identifier_values(body)) WHERE resource_type = 'Group';
