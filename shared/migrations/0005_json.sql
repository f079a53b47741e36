-- 0005_json: what is no JSON is refused when it is written, whoever writes it.
--
-- An export looks at each body only so closely as it can afford (shared/src/fhir/sound.rs). NOT VALID leaves the rows alone
-- that are there already: to read them all takes as long as to load them, and a bad one among them must stop no update.
-- A row of a list that has ended may be bad, or a load that mends it could not end it. `resource_history` takes anything, or a
-- bad resource could not be replaced. The cast keeps no part of the text: unlike `jsonb` it takes all that is JSON.
--
-- It takes its turn among the writers: with one at work, each could wait for a table that the other has. Readers of a table
-- wait behind whoever waits for it alone, so this waits for seconds only, and the whole step is tried again.
SELECT pg_advisory_xact_lock(lock_class(), 0);
SET LOCAL lock_timeout = '2s';
ALTER TABLE resource
    ADD CONSTRAINT resource_is_json CHECK (json_typeof(body::json) = 'object') NOT VALID;
ALTER TABLE attribution_member
    ADD CONSTRAINT member_is_json
        CHECK (CASE WHEN valid_to < 'infinity' THEN true ELSE json_typeof(body::json) = 'object' END) NOT VALID;
ALTER TABLE attribution_list
    ADD CONSTRAINT list_is_json
        CHECK (CASE WHEN valid_to < 'infinity' THEN true ELSE json_typeof((before || after)::json) = 'object' END) NOT VALID;
