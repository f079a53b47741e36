-- 0003_runs: what a list names, counted once when it is loaded and not again by every export.

-- What a list names, of each type in the order of ids, cut into runs of at most 1,000 ids: `ids` of them from behind the
-- run before and up to `through`. A plan adds up runs to slices, and reads a thousandth of what it would have to count.
-- As of any time a list has all of its runs or none. It has none as of a time before this table, or long ago; then a plan
-- counts.
CREATE TABLE attribution_run (
    list text COLLATE "C" NOT NULL,
    resource_type text COLLATE "C" NOT NULL,
    through text COLLATE "C" NOT NULL,
    ids bigint NOT NULL,
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL DEFAULT 'infinity',
    PRIMARY KEY (list, resource_type, through, valid_from)
);

-- Nobody is loading a list while those that are there are counted.
SELECT take_stamp();

-- Of the lists that are there already, as they have been since they last changed.
INSERT INTO attribution_run (list, resource_type, through, ids, valid_from)
SELECT numbered.list, resource_type, max(id), count(*), max(head.valid_from) FROM (
    SELECT list, resource_type, id,
        (row_number() OVER (PARTITION BY list, resource_type ORDER BY id) - 1) / 1000 AS run
    FROM attribution_listed
    WHERE valid_to = 'infinity'
) numbered
JOIN attribution_list head ON head.list = numbered.list AND head.valid_to = 'infinity'
GROUP BY numbered.list, resource_type, run;
