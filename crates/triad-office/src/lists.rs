//! The lists of the office.

use crate::table::CellKind::{Copied, Instant, Link, Number, Secret, State, Text};
use crate::table::{List, column};

/// All servers.
pub const SERVERS: List = List {
    noun: "servers",
    columns: &[
        (column("id", "No.", Number), "s.id"),
        (
            column("name", "Name", Link),
            "CASE WHEN s.name = '' THEN '(has not called)' ELSE s.name END",
        ),
        (column("hostid", "Host id", Copied), "s.hostid"),
        (column("role", "Role", State), "s.role"),
        (column("group", "Group", Text), "coalesce(lower(g.kind) || ' ' || g.id, '')"),
        (column("organisation", "Organisation", Text), "coalesce(o.name, '')"),
        (column("version", "Version", Text), "s.version"),
        (column("last_request", "Last request", Instant), "s.last_seen_ms"),
    ],
    from: "servers s LEFT JOIN server_groups g ON g.id = s.group_id
           LEFT JOIN organisations o ON o.id = g.organisation_id",
    only: "1",
    searched: &["s.hostid", "s.name", "o.name"],
    order: "s.id",
    href: "'/servers/' || s.id",
};

/// What was bought.
pub const RIGHTS: List = List {
    noun: "line items",
    columns: &[
        (column("id", "No.", Number), "l.id"),
        (column("rights_id", "Rights id", Secret), "l.rights_id"),
        (column("organisation", "Organisation", Text), "o.name"),
        (column("entitlement", "Entitlement", Text), "e.reference"),
        (column("product", "Product", Text), "p.name || ' ' || p.version"),
        (column("copies", "Copies", Number), "l.copies"),
        (column("mapped", "Mapped", Number), USED),
        (
            column("overage", "Overage", Number),
            "max(0, (SELECT coalesce(sum(m.copies + m.in_return), 0)
            FROM mappings m WHERE m.line_item_id = l.id) - l.copies)",
        ),
        (column("starts", "First day", Text), "coalesce(l.starts, '')"),
        (column("expires", "Last day", Text), "coalesce(l.expires, 'permanent')"),
    ],
    from: "line_items l JOIN entitlements e ON e.id = l.entitlement_id
           JOIN organisations o ON o.id = e.organisation_id JOIN products p ON p.id = l.product_id",
    only: "1",
    searched: &["l.rights_id", "o.name", "e.reference", "p.name"],
    order: "l.id",
    href: "''",
};

const USED: &str = "(SELECT coalesce(sum(m.copies + m.in_return), 0) FROM mappings m
    WHERE m.line_item_id = l.id)";

/// What is mapped to one group, `?1`.
pub const GROUP_RIGHTS: List = List {
    noun: "line items mapped",
    columns: &[
        (column("line_item", "No.", Number), "l.id"),
        (column("rights_id", "Rights id", Secret), "l.rights_id"),
        (column("product", "Product", Text), "p.name || ' ' || p.version"),
        (column("copies", "Copies", Number), "m.copies"),
        (column("in_return", "Await return", Number), "m.in_return"),
        (column("expires", "Last day", Text), "coalesce(l.expires, 'permanent')"),
        (
            column("by", "Mapped by", Text),
            "CASE m.requested WHEN 1 THEN 'request' ELSE 'a person' END",
        ),
    ],
    from: "mappings m JOIN line_items l ON l.id = m.line_item_id JOIN products p ON p.id = l.product_id",
    only: "m.group_id = ?1",
    searched: &["l.rights_id", "p.name"],
    order: "l.id",
    href: "''",
};

/// Requests that came in.
pub const REQUESTS: List = List {
    noun: "requests",
    columns: &[
        (column("at", "At", Instant), "r.at_ms"),
        (column("hostid", "Host id", Copied), "r.hostid"),
        (column("server", "Server", Link), "coalesce(nullif(s.name, ''), '')"),
        (column("operation", "Operation", Text), "r.operation"),
        (column("outcome", "Outcome", State), "r.outcome"),
        (column("message", "Message", Text), "r.message"),
        (column("correlation", "Correlation", Text), "r.correlation"),
    ],
    from: "requests r LEFT JOIN servers s ON s.hostid = r.hostid",
    only: "1",
    searched: &["r.hostid", "r.outcome", "r.correlation", "s.name"],
    order: "r.id DESC",
    href: "coalesce('/servers/' || s.id, '')",
};

/// Every write.
pub const AUDIT: List = List {
    noun: "entries",
    columns: &[
        (column("at", "At", Instant), "a.at_ms"),
        (column("actor", "Who", Text), "a.actor"),
        (column("action", "What", Text), "a.action"),
        (column("group", "Group", Text), "coalesce(a.group_id, '')"),
        (column("hostid", "Host id", Copied), "a.hostid"),
        (column("detail", "Detail", Text), "a.detail"),
    ],
    from: "audit a",
    only: "1",
    searched: &["a.actor", "a.action", "a.hostid", "a.detail"],
    order: "a.id DESC",
    href: "''",
};

/// What happened to one group `?1` or one server `?2`.
pub const TIMELINE: List = List {
    noun: "events",
    columns: AUDIT.columns,
    from: "audit a",
    only: "a.group_id = ?1 OR a.hostid = ?2",
    searched: &["a.detail"],
    order: "a.id DESC",
    href: "''",
};

/// The newest report of each feature of one group, `?1`.
pub const USAGE: List = List {
    noun: "features in use",
    columns: &[
        (column("feature", "Feature", Text), "u.feature"),
        (column("in_use", "In use", Number), "u.in_use"),
        (column("seats", "Seats", Number), "u.seats"),
        (column("at", "Reported", Instant), "u.at_ms"),
        (column("hostid", "By", Text), "u.hostid"),
    ],
    from: "usage_reports u",
    only: "u.id IN (SELECT max(id) FROM usage_reports WHERE group_id = ?1 GROUP BY feature)",
    searched: &["u.feature"],
    order: "u.feature",
    href: "''",
};

/// Customers.
pub const ORGANISATIONS: List = List {
    noun: "organisations",
    columns: &[
        (column("id", "No.", Number), "o.id"),
        (column("name", "Name", Text), "o.name"),
        (
            column("groups", "Server groups", Number),
            "(SELECT count(*) FROM server_groups g WHERE g.organisation_id = o.id)",
        ),
    ],
    from: "organisations o",
    only: "1",
    searched: &["o.name"],
    order: "o.id DESC",
    href: "''",
};

/// What is sold.
pub const PRODUCTS: List = List {
    noun: "products",
    columns: &[
        (column("id", "No.", Number), "p.id"),
        (column("name", "Name", Text), "p.name"),
        (column("version", "Version", Text), "p.version"),
        (
            column("features", "Each copy grants", Text),
            "(SELECT group_concat(f.feature || ' ' || f.version || ': ' || f.seats, ', ')
            FROM product_features f WHERE f.product_id = p.id)",
        ),
    ],
    from: "products p",
    only: "1",
    searched: &["p.name"],
    order: "p.id DESC",
    href: "''",
};

/// Purchases.
pub const ENTITLEMENTS: List = List {
    noun: "entitlements",
    columns: &[
        (column("id", "No.", Number), "e.id"),
        (column("reference", "Reference", Text), "e.reference"),
        (column("organisation", "Organisation", Text), "o.name"),
        (
            column("line_items", "Line items", Number),
            "(SELECT count(*) FROM line_items l WHERE l.entitlement_id = e.id)",
        ),
    ],
    from: "entitlements e JOIN organisations o ON o.id = e.organisation_id",
    only: "1",
    searched: &["e.reference", "o.name"],
    order: "e.id DESC",
    href: "''",
};

/// Who may sign in.
pub const USERS: List = List {
    noun: "users",
    columns: &[
        (column("name", "Name", Text), "u.name"),
        (column("role", "Role", Text), "u.role"),
        (
            column("state", "State", State),
            "CASE WHEN u.password IS NULL THEN 'INVITED' ELSE 'ACTIVE' END",
        ),
        (column("since", "Since", Instant), "u.created_ms"),
    ],
    from: "users u",
    only: "1",
    searched: &["u.name"],
    order: "u.name",
    href: "''",
};

/// The publisher's keys.
pub const KEYS: List = List {
    noun: "publisher keys",
    columns: &[
        (column("key_id", "Key id", Text), "k.key_id"),
        (column("state", "State", State), "k.state"),
        (
            column("public_key", "Public key, for publisher_keys of each node", Copied),
            "k.public_key",
        ),
        (column("since", "Since", Instant), "k.created_ms"),
    ],
    from: "publisher_keys k",
    only: "1",
    searched: &["k.key_id"],
    order: "k.state = 'RETIRED', k.created_ms",
    href: "''",
};
