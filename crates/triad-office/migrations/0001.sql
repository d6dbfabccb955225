CREATE TABLE organisations (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE products (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    UNIQUE (name, version)
) STRICT;

-- What one copy of a product grants.
CREATE TABLE product_features (
    product_id INTEGER NOT NULL REFERENCES products,
    feature TEXT NOT NULL,
    version TEXT NOT NULL,
    seats INTEGER NOT NULL CHECK (seats > 0),
    overdraft INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (product_id, feature, version)
) STRICT;

CREATE TABLE entitlements (
    id INTEGER PRIMARY KEY,
    organisation_id INTEGER NOT NULL REFERENCES organisations,
    reference TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE line_items (
    id INTEGER PRIMARY KEY,
    entitlement_id INTEGER NOT NULL REFERENCES entitlements,
    product_id INTEGER NOT NULL REFERENCES products,
    rights_id TEXT NOT NULL UNIQUE,
    copies INTEGER NOT NULL CHECK (copies >= 0),
    starts TEXT,
    expires TEXT
) STRICT;

CREATE TABLE server_groups (
    -- Never given again: a license of the group that is gone has the number in its id.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('SINGLE', 'PAIR', 'TRIAD')),
    organisation_id INTEGER REFERENCES organisations,
    -- The cluster whose member called first; the rights are bound to it.
    cluster_id TEXT,
    -- Of the license issued last, and of what it was made.
    serial INTEGER NOT NULL DEFAULT 0,
    license TEXT,
    license_digest TEXT,
    content TEXT NOT NULL DEFAULT '',
    licensed_until TEXT,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE servers (
    id INTEGER PRIMARY KEY,
    -- TYPE:value in the one spelling.
    hostid TEXT NOT NULL UNIQUE,
    group_id INTEGER REFERENCES server_groups,
    role TEXT NOT NULL CHECK (role IN ('SINGLE', 'MAIN', 'BACKUP', 'MEMBER', 'PENDING_MAIN')),
    -- What the server said of itself last.
    declared TEXT NOT NULL DEFAULT '',
    public_key TEXT,
    sequence INTEGER NOT NULL DEFAULT 0,
    name TEXT NOT NULL DEFAULT '',
    version TEXT NOT NULL DEFAULT '',
    created_ms INTEGER NOT NULL,
    last_seen_ms INTEGER
) STRICT;
CREATE INDEX servers_by_group ON servers (group_id);
CREATE INDEX servers_by_name ON servers (name);

CREATE TABLE mappings (
    group_id INTEGER NOT NULL REFERENCES server_groups,
    line_item_id INTEGER NOT NULL REFERENCES line_items,
    copies INTEGER NOT NULL CHECK (copies >= 0),
    -- Taken back here, and not yet confirmed by the site.
    in_return INTEGER NOT NULL DEFAULT 0,
    -- The serial from which on the site's license is without them.
    return_serial INTEGER,
    -- Asked for by a server, not mapped by a person.
    requested INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (group_id, line_item_id)
) STRICT;
CREATE INDEX mappings_by_item ON mappings (line_item_id);

CREATE TABLE requests (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    hostid TEXT NOT NULL,
    group_id INTEGER,
    digest TEXT NOT NULL,
    correlation TEXT NOT NULL,
    operation TEXT NOT NULL,
    outcome TEXT NOT NULL,
    message TEXT NOT NULL,
    response TEXT
) STRICT;
CREATE INDEX requests_by_digest ON requests (digest);
CREATE INDEX requests_by_group ON requests (group_id, id);
CREATE INDEX requests_by_host ON requests (hostid, id);

CREATE TABLE usage_reports (
    id INTEGER PRIMARY KEY,
    group_id INTEGER NOT NULL,
    hostid TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    feature TEXT NOT NULL,
    seats INTEGER NOT NULL,
    in_use INTEGER NOT NULL
) STRICT;
CREATE INDEX usage_by_group ON usage_reports (group_id, id);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    group_id INTEGER,
    hostid TEXT NOT NULL DEFAULT '',
    detail TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_group ON audit (group_id, id);
CREATE INDEX audit_by_host ON audit (hostid, id);

CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    -- Argon2id; nothing until the set-up link was used.
    password TEXT,
    created_ms INTEGER NOT NULL
) STRICT;

-- Tokens are kept as hashes only.
CREATE TABLE setup_links (
    token_hash TEXT PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users,
    expires_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE logins (
    token_hash TEXT PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users,
    form_token TEXT NOT NULL,
    expires_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE api_tokens (
    token_hash TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE publisher_keys (
    key_id TEXT PRIMARY KEY,
    public_key TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('CURRENT', 'NEXT', 'RETIRED')),
    created_ms INTEGER NOT NULL
) STRICT;
