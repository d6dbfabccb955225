-- The id of the group's license, whatever the publisher is called later.
ALTER TABLE server_groups ADD COLUMN license_id TEXT;
-- The last day of all that was ever issued to the group; 9999-12-31 where something has no end.
ALTER TABLE server_groups ADD COLUMN out_until TEXT NOT NULL DEFAULT '';
UPDATE server_groups SET out_until = coalesce(licensed_until, '9999-12-31') WHERE serial > 0;
CREATE INDEX mappings_in_return ON mappings (group_id) WHERE in_return > 0;

-- Not shown to come from the server that it names: one log for all of those.
ALTER TABLE requests ADD COLUMN stranger INTEGER NOT NULL DEFAULT 0;
UPDATE requests SET stranger = 1 WHERE hostid NOT IN (SELECT hostid FROM servers);
CREATE INDEX requests_of_strangers ON requests (id) WHERE stranger = 1;

-- Machines in whose place others are. The servers beside them name them until they are configured
-- anew.
CREATE TABLE replaced (
    hostid TEXT PRIMARY KEY,
    by_hostid TEXT NOT NULL
) STRICT;

-- Forms that were sent, by the number that each of them carries.
CREATE TABLE forms_sent (
    form TEXT PRIMARY KEY,
    at_ms INTEGER NOT NULL
) STRICT;
