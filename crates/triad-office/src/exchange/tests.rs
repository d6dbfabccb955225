//! Requests as servers make them, lose, repeat, forge and steal them.

use rusqlite::Connection;
use tempfile::TempDir;
use triad_license::{
    CurrentLicense, HostId, ServerKey, SignedResponse, Site, WantedRights, check_own_host, show,
    verify,
};

use super::*;
use crate::db;
use crate::keys;
use crate::rights::{NewLineItem, ProductFeature};

const NOW: u64 = 1_795_392_000_000;
const DAY_MS: u64 = 86_400_000;
const CLUSTER: &str = "tc-00112233445566778899aabbccddeeff";
const OPERATOR: Writer<'static> = Writer { actor: "olga", now_ms: NOW };

struct Desk {
    connection: Connection,
    config: Config,
    _folder: TempDir,
}

/// An office that sells the product `suite`: 10 copies of 4 seats, rights id R-1.
fn desk() -> Desk {
    let folder = TempDir::new().unwrap();
    let text = "publisher = \"Acme\"\nlisten = \"127.0.0.1:0\"\nurl = \"https://office\"\n\
                keys = \".\"\n[tls]\nmode = \"off\"\n";
    let config = Config::parse(text, &folder.path().join("office.toml")).unwrap();
    let mut connection = db::in_memory().unwrap();
    db::write(&mut connection, |tx| {
        keys::draw(tx, &config.keys, OPERATOR)?;
        let organisation = rights::add_organisation(tx, "Customer", OPERATOR)?;
        let solver = ProductFeature {
            feature: "solver".into(),
            version: "2026.1".into(),
            seats: 4,
            overdraft: 0,
        };
        let product = rights::add_product(tx, "suite", "1", &[solver], OPERATOR)?;
        let entitlement = rights::add_entitlement(tx, organisation, "PO-1", OPERATOR)?;
        rights::add_line_item(tx, entitlement, &item(product, "R-1", 10), OPERATOR)?;
        Ok(())
    })
    .unwrap();
    Desk { connection, config, _folder: folder }
}

fn item(product: i64, rights_id: &str, copies: u32) -> NewLineItem {
    NewLineItem { product, copies, starts: None, expires: None, rights_id: Some(rights_id.into()) }
}

impl Desk {
    fn ask(&mut self, text: &str) -> Result<String, OfficeError> {
        answer(&mut self.connection, &self.config, text, Way::Online, NOW)
    }

    /// The answer to a new request of a server, and its license.
    fn told(&mut self, server: &mut Server) -> (CapabilityResponse, Option<String>) {
        let text = server.request();
        let answer = self.ask(&text).unwrap();
        self.read(&answer)
    }

    fn read(&self, answer: &str) -> (CapabilityResponse, Option<String>) {
        let keyring = Keys::load(&self.connection, &self.config.keys).unwrap().public().unwrap();
        let read = SignedResponse::open(answer, &keyring).unwrap();
        (read.response, read.license)
    }

    fn map(&mut self, group: i64, copies: u32) -> Result<(), OfficeError> {
        db::write(&mut self.connection, |tx| rights::map(tx, group, 1, copies, false, OPERATOR))
    }

    /// A server that calls, is given so many copies, and has the license with them.
    fn licensed(&mut self, server: &mut Server, copies: u32) -> String {
        self.told(server);
        self.map(1, copies).unwrap();
        let license = self.told(server).1.unwrap();
        server.has(&license);
        license
    }

    fn copies(&self) -> rights::Copies {
        rights::copies_of(&self.connection, 1).unwrap()
    }
}

/// A server with a key, and what it asks.
struct Server {
    key: ServerKey,
    asks: CapabilityRequest,
}

fn server(letter: char, role: DeclaredRole, partners: &[char]) -> Server {
    let host = |letter: char| HostId::parse(&format!("STRING:{letter}")).unwrap();
    Server {
        key: ServerKey::generate([letter as u8; 32]),
        asks: CapabilityRequest {
            operation: Operation::Request,
            correlation: "c".into(),
            sequence: 0,
            issued_ms: NOW,
            cluster: CLUSTER.into(),
            hostid: host(letter),
            role,
            partners: partners.iter().map(|letter| host(*letter)).collect(),
            name: format!("lic-{letter}"),
            version: "0.1.0".into(),
            incremental: false,
            rights: Vec::new(),
            license: None,
            usage: Vec::new(),
        },
    }
}

impl Server {
    fn request(&mut self) -> String {
        self.asks.sequence += 1;
        self.asks.seal(&self.key).unwrap()
    }

    fn has(&mut self, license: &str) {
        let summary = show(license).unwrap();
        self.asks.license = Some(CurrentLicense {
            id: summary.license,
            serial: summary.serial,
            digest: triad_license::license_digest(license).unwrap(),
        });
    }
}

fn seats(license: &str) -> u64 {
    show(license).unwrap().features.iter().map(|feature| u64::from(feature.seats)).sum()
}

#[test]
fn a_pair_is_registered_by_its_main_and_gets_what_is_mapped_to_it() {
    let mut desk = desk();
    let mut main = server('a', DeclaredRole::Main, &['b']);
    let mut backup = server('b', DeclaredRole::Backup, &['a']);
    assert_eq!(desk.told(&mut backup).0.status, ResponseStatus::PendingMain);
    let (response, _) = desk.told(&mut main);
    assert_eq!(response.status, ResponseStatus::NoRights);
    let roles: Vec<&str> = response.member.iter().map(|member| member.role.as_str()).collect();
    assert_eq!(roles, ["MAIN", "BACKUP"]);
    desk.map(response.group.parse().unwrap(), 2).unwrap();

    let (response, license) = desk.told(&mut main);
    assert_eq!(response.status, ResponseStatus::Licensed);
    let license = license.unwrap();
    let keyring = Keys::load(&desk.connection, &desk.config.keys).unwrap().public().unwrap();
    let site = Site { cluster_id: CLUSTER, hostids: &[] };
    let verified = verify(&license, &keyring, &site, NOW).unwrap();
    check_own_host(&verified, std::slice::from_ref(&backup.asks.hostid)).unwrap();
    check_own_host(&verified, &[HostId::parse("STRING:thief").unwrap()]).unwrap_err();
    assert_eq!(seats(&license), 8);

    main.has(&license);
    assert_eq!(desk.told(&mut main).0.status, ResponseStatus::Unchanged);
    backup.has(&license);
    assert_eq!(desk.told(&mut backup).0.status, ResponseStatus::Unchanged, "the same group's");
}

/// P3: a request to the back office that comes again takes no second copy.
#[test]
fn a_retry_gets_the_first_answer_and_a_replay_none() {
    let mut desk = desk();
    let mut single = server('a', DeclaredRole::Single, &[]);
    single.asks.rights = vec![WantedRights { id: "R-1".into(), copies: Some(3) }];
    let first = single.request();
    let answer = desk.ask(&first).unwrap();
    assert_eq!(desk.ask(&first).unwrap(), answer);
    assert_eq!(desk.copies().used, 3, "not six");
    desk.told(&mut single);
    assert_eq!(desk.ask(&first).unwrap(), answer, "still the answer to that request");

    single.asks.sequence -= 1;
    single.asks.correlation = "another".into();
    let older = single.asks.seal(&single.key).unwrap();
    let error = desk.ask(&older).unwrap_err();
    assert!(matches!(error, OfficeError::Replayed { last: 2 }), "{error}");
}

/// P10: what asks for rights in the name of another, or again, or too late, gets none.
#[test]
fn forged_stolen_old_and_foreign_requests_are_refused_with_the_reason() {
    let mut desk = desk();
    let mut single = server('a', DeclaredRole::Single, &[]);
    let good = single.request();
    desk.ask(&good).unwrap();
    let reason = |desk: &mut Desk, text: &str| desk.ask(text).unwrap_err().reason();
    assert_eq!(reason(&mut desk, &good.replace("lic-a", "lic-z")), "FORGED");
    assert_eq!(reason(&mut desk, "nonsense"), "MALFORMED");
    let mut thief = server('a', DeclaredRole::Single, &[]);
    thief.key = ServerKey::generate([77; 32]);
    thief.asks.sequence = 5;
    let stolen = thief.request();
    assert_eq!(reason(&mut desk, &stolen), "KEY_CHANGED");
    single.asks.cluster = "tc-another".into();
    let foreign = single.request();
    assert_eq!(reason(&mut desk, &foreign), "OTHER_CLUSTER");
    single.asks.cluster = CLUSTER.into();
    single.asks.issued_ms = NOW - 25 * 3_600_000;
    let old = single.request();
    assert_eq!(reason(&mut desk, &old), "REQUEST_EXPIRED");
    let by_file = answer(&mut desk.connection, &desk.config, &old, Way::Offline, NOW);
    by_file.expect("a file may be a day under way");
    single.asks.issued_ms = NOW + 25 * 3_600_000;
    let ahead = single.request();
    assert_eq!(reason(&mut desk, &ahead), "CLOCK_AHEAD");
    let text = "SELECT count(*) FROM requests WHERE response IS NULL";
    let logged: u32 = desk.connection.query_row(text, [], |row| row.get(0)).unwrap();
    assert_eq!(logged, 6, "each refusal is in the log of requests");
    desk.config.exchange.register_unknown = false;
    let stranger = server('z', DeclaredRole::Single, &[]).request();
    assert_eq!(reason(&mut desk, &stranger), "UNKNOWN_SERVER");
}

#[test]
fn copies_that_are_taken_back_are_free_when_the_site_has_confirmed() {
    let mut desk = desk();
    let mut single = server('a', DeclaredRole::Single, &[]);
    desk.told(&mut single);
    desk.map(1, 10).unwrap();
    let (_, license) = desk.told(&mut single);
    single.has(&license.unwrap());
    desk.map(1, 4).unwrap();
    assert_eq!(desk.copies().free(), 0, "the site may still use all ten");
    let mut other = server('b', DeclaredRole::Single, &[]);
    desk.told(&mut other);
    assert_eq!(desk.map(2, 1).unwrap_err().reason(), "RIGHTS_EXHAUSTED");
    let (response, license) = desk.told(&mut single);
    assert_eq!((response.status, desk.copies().free()), (ResponseStatus::Licensed, 0));
    let license = license.unwrap();
    assert_eq!(seats(&license), 16);
    // Until it says that it has the license without them.
    desk.told(&mut single);
    assert_eq!(desk.copies().free(), 0);
    single.has(&license);
    desk.told(&mut single);
    assert_eq!(desk.copies().free(), 6);
    desk.map(2, 6).unwrap();

    // All of it: the license says that it grants nothing any more.
    desk.map(1, 0).unwrap();
    let (_, license) = desk.told(&mut single);
    let license = license.unwrap();
    assert_eq!(seats(&license), 0);
    single.has(&license);
    assert_eq!(desk.told(&mut single).0.status, ResponseStatus::Unchanged);
    assert_eq!(desk.copies(), rights::Copies { bought: 10, used: 6 });
}

/// Servers that ask for rights by id get what a person gave them instead, and nothing again of
/// what he took back.
#[test]
fn what_a_person_decided_of_rights_stands() {
    let mut desk = desk();
    let mut single = server('a', DeclaredRole::Single, &[]);
    single.asks.rights = vec![WantedRights { id: "R-1".into(), copies: Some(3) }];
    for (given, seats_then) in [(None, 12), (Some(5), 20), (Some(0), 0)] {
        if let Some(copies) = given {
            desk.map(1, copies).unwrap();
        }
        let license = desk.told(&mut single).1.unwrap();
        assert_eq!(seats(&license), seats_then);
        single.has(&license);
        assert_eq!(desk.told(&mut single).0.status, ResponseStatus::Unchanged);
    }
    assert_eq!(desk.copies().used, 0);
    single.asks.rights[0].copies = None;
    assert_eq!(desk.told(&mut single).0.status, ResponseStatus::Unchanged);
    assert_eq!(desk.copies().used, 0, "nor all that are free");
}

#[test]
fn returns_that_change_no_license_are_credited_as_well() {
    let mut desk = desk();
    let mut single = server('a', DeclaredRole::Single, &[]);
    desk.told(&mut single);
    for copies in [5, 3] {
        desk.map(1, copies).unwrap();
        let license = desk.told(&mut single).1.unwrap();
        single.has(&license);
    }
    desk.told(&mut single);
    assert_eq!(desk.copies().used, 3);
    desk.map(1, 4).unwrap();
    desk.map(1, 3).unwrap();
    assert_eq!(desk.copies().used, 4, "whether anybody saw the fourth, nobody knows");
    for _ in 0..2 {
        assert_eq!(desk.told(&mut single).0.status, ResponseStatus::Unchanged);
    }
    assert_eq!(desk.copies().used, 3);
}

#[test]
fn fewer_copies_than_are_mapped_are_an_overage_and_nobody_loses_any() {
    let mut desk = desk();
    let mut single = server('a', DeclaredRole::Single, &[]);
    desk.told(&mut single);
    desk.map(1, 8).unwrap();
    db::write(&mut desk.connection, |tx| rights::set_copies(tx, 1, 5, OPERATOR)).unwrap();
    assert_eq!((desk.copies().overage(), desk.copies().free()), (3, 0));
    assert_eq!(seats(&desk.told(&mut single).1.unwrap()), 32);
}

#[test]
fn each_rights_id_is_granted_or_refused_for_itself() {
    let mut desk = desk();
    db::write(&mut desk.connection, |tx| {
        let other = rights::add_organisation(tx, "Other", OPERATOR)?;
        let entitlement = rights::add_entitlement(tx, other, "PO-2", OPERATOR)?;
        rights::add_line_item(tx, entitlement, &item(1, "R-2", 1), OPERATOR)?;
        let expired = NewLineItem { expires: Some("2026-01-01".into()), ..item(1, "R-3", 1) };
        rights::add_line_item(tx, 1, &expired, OPERATOR)
    })
    .unwrap();
    let mut single = server('a', DeclaredRole::Single, &[]);
    let wanted = [("R-1", 3), ("R-2", 1), ("R-3", 1), ("R-4", 1)];
    single.asks.rights =
        wanted.map(|(id, copies)| WantedRights { id: id.into(), copies: Some(copies) }).into();
    let (response, license) = desk.told(&mut single);
    let refused: Vec<(&str, &str)> =
        response.refused.iter().map(|r| (r.id.as_str(), r.reason.as_str())).collect();
    assert_eq!(
        refused,
        [
            ("R-2", "RIGHTS_OF_ANOTHER_ORGANISATION"),
            ("R-3", "RIGHTS_EXPIRED"),
            ("R-4", "RIGHTS_UNKNOWN"),
        ]
    );
    assert_eq!(seats(&license.unwrap()), 12);
    single.asks.rights = vec![WantedRights { id: "R-1".into(), copies: Some(11) }];
    let (response, _) = desk.told(&mut single);
    assert_eq!(response.refused[0].reason, "RIGHTS_EXHAUSTED");
    assert_eq!(desk.copies().used, 3, "what it had stays");
    // Without `copies`, what it has is enough.
    single.asks.rights[0].copies = None;
    assert_eq!(desk.told(&mut single).0.refused, Vec::new());
    assert_eq!(desk.copies().used, 3);
}

#[test]
fn a_license_is_renewed_at_half_of_its_life() {
    let mut desk = desk();
    let mut single = server('a', DeclaredRole::Single, &[]);
    desk.told(&mut single);
    desk.map(1, 1).unwrap();
    let license = desk.told(&mut single).1.unwrap();
    assert_eq!(show(&license).unwrap().features[0].expires.as_deref(), Some("2026-12-23"));
    single.has(&license);
    let mut status_on = |day: u64| {
        let now = NOW + day * DAY_MS;
        single.asks.issued_ms = now;
        let text = single.request();
        let answer = answer(&mut desk.connection, &desk.config, &text, Way::Online, now).unwrap();
        desk.read(&answer).0.status
    };
    assert_eq!(status_on(14), ResponseStatus::Unchanged);
    assert_eq!(status_on(15), ResponseStatus::Licensed);
}

#[test]
fn two_keys_sign_while_one_follows_the_other() {
    let mut desk = desk();
    let mut single = server('a', DeclaredRole::Single, &[]);
    desk.told(&mut single);
    desk.map(1, 1).unwrap();
    let signatures = |text: &str| show(text).unwrap().also_signed_by.len();
    assert_eq!(signatures(&desk.told(&mut single).1.unwrap()), 1);
    let folder = desk.config.keys.clone();
    db::write(&mut desk.connection, |tx| keys::draw(tx, &folder, OPERATOR)).unwrap();
    let both = desk.told(&mut single).1.unwrap();
    assert_eq!((signatures(&both), show(&both).unwrap().serial), (2, 2));
    db::write(&mut desk.connection, |tx| keys::promote(tx, OPERATOR)).unwrap();
    assert_eq!(signatures(&desk.told(&mut single).1.unwrap()), 1);
}

impl Desk {
    /// The answer to a request that is made and comes so many days later.
    fn told_after(
        &mut self,
        days: u64,
        server: &mut Server,
    ) -> (CapabilityResponse, Option<String>) {
        let now = NOW + days * DAY_MS;
        server.asks.issued_ms = now;
        let text = server.request();
        let answer = answer(&mut self.connection, &self.config, &text, Way::Online, now).unwrap();
        self.read(&answer)
    }

    fn sell(&mut self, item: &NewLineItem) -> Result<i64, OfficeError> {
        db::write(&mut self.connection, |tx| Ok(rights::add_line_item(tx, 1, item, OPERATOR)?.0))
    }
}

/// A renewal that begins next year stands beside what runs now, and takes nothing from it.
#[test]
fn what_begins_later_is_in_the_license_in_time() {
    let mut desk = desk();
    let mut single = server('a', DeclaredRole::Single, &[]);
    desk.told(&mut single);
    // NOW is 2026-11-23.
    let renewal = NewLineItem { starts: Some("2027-01-01".into()), ..item(1, "R-2", 5) };
    let renewal = desk.sell(&renewal).unwrap();
    db::write(&mut desk.connection, |tx| rights::map(tx, 1, renewal, 5, false, OPERATOR)).unwrap();
    assert_eq!(desk.told(&mut single).0.status, ResponseStatus::NoRights, "nothing runs yet");
    desk.map(1, 1).unwrap();
    let license = desk.told(&mut single).1.unwrap();
    assert_eq!(seats(&license), 4);
    single.has(&license);
    let license = desk.told_after(15, &mut single).1.unwrap();
    assert_eq!(seats(&license), 24, "it may be in force when it begins");
    let never = NewLineItem { starts: Some("0001-01-01".into()), ..item(1, "R-3", 1) };
    assert_eq!(desk.sell(&never).unwrap_err().reason(), "INVALID");
}

#[test]
fn copies_of_a_site_that_never_calls_again_come_back_when_its_licenses_have_ended() {
    let mut desk = desk();
    let mut single = server('a', DeclaredRole::Single, &[]);
    desk.told(&mut single);
    desk.map(1, 10).unwrap();
    desk.told(&mut single);
    desk.map(1, 0).unwrap();
    let mut other = server('b', DeclaredRole::Single, &[]);
    for (days, free) in [(30, 0), (31, 0), (32, 10)] {
        desk.told_after(days, &mut other);
        assert_eq!(desk.copies().free(), free, "after {days} days");
    }
}

#[test]
fn a_publisher_of_another_name_goes_on_with_the_same_license() {
    let mut desk = desk();
    let mut single = server('a', DeclaredRole::Single, &[]);
    let before = desk.licensed(&mut single, 2);
    desk.config.publisher = "Acme Inc".into();
    let after = desk.told(&mut single).1.unwrap();
    let (before, after) = (show(&before).unwrap(), show(&after).unwrap());
    assert_eq!((before.license, before.serial + 1), (after.license, after.serial));
}

/// An office that was restored from a copy has forgotten what it issued since; sites go back to none
/// of it.
#[test]
fn a_serial_goes_above_what_the_site_has() {
    let mut desk = desk();
    let mut single = server('a', DeclaredRole::Single, &[]);
    desk.licensed(&mut single, 2);
    for (told, serial) in [(7, 8), (u64::MAX, 9)] {
        single.asks.license.as_mut().unwrap().serial = told;
        desk.map(1, serial).unwrap();
        let license = desk.told(&mut single).1.unwrap();
        assert_eq!(show(&license).unwrap().serial, u64::from(serial), "{told} was told");
    }
}

#[test]
fn a_license_that_needs_no_renewal_is_issued_at_once() {
    let mut desk = desk();
    let mut single = server('a', DeclaredRole::Single, &[]);
    desk.licensed(&mut single, 2);
    desk.config.exchange.lifetime_days = 0;
    let license = desk.told(&mut single).1.unwrap();
    assert_eq!(show(&license).unwrap().features[0].expires, None);
    single.has(&license);
    assert_eq!(desk.told(&mut single).0.status, ResponseStatus::Unchanged);
}

/// Rights go where the server's own cluster is: naming somebody else's server makes nobody its main.
#[test]
fn a_stranger_takes_no_server_of_another_cluster() {
    let mut desk = desk();
    let mut customer = server('v', DeclaredRole::Single, &[]);
    desk.told(&mut customer);
    for (role, partners) in [(DeclaredRole::Main, &['v'][..]), (DeclaredRole::Member, &['v', 'w'])]
    {
        let mut stranger = server('x', role, partners);
        stranger.asks.cluster = "tc-another".into();
        let text = stranger.request();
        let error = desk.ask(&text).unwrap_err();
        assert_eq!(error.reason(), "OTHER_CLUSTER", "{error}");
    }
    desk.map(1, 10).unwrap();
    assert_eq!(seats(&desk.told(&mut customer).1.unwrap()), 40);
}

#[test]
fn a_person_s_decision_is_told_to_whoever_asks_for_other_copies() {
    let mut desk = desk();
    let mut single = server('a', DeclaredRole::Single, &[]);
    desk.told(&mut single);
    desk.map(1, 2).unwrap();
    for (wanted, is_told) in [(Some(2), false), (None, false), (Some(3), true)] {
        single.asks.rights = vec![WantedRights { id: "R-1".into(), copies: wanted }];
        let told = desk.told(&mut single).0.refused;
        let told: Vec<_> = told.iter().map(|refused| refused.reason.as_str()).collect();
        let expected = if is_told { vec!["DECIDED_BY_A_PERSON"] } else { Vec::new() };
        assert_eq!(told, expected, "{wanted:?}");
    }
}

/// Anybody can name a server; its log of requests is its own all the same.
#[test]
fn who_is_not_the_server_pushes_nothing_out_of_its_log() {
    let mut desk = desk();
    let mut single = server('a', DeclaredRole::Single, &[]);
    let first = single.request();
    let answer = desk.ask(&first).unwrap();
    let mut thief = server('a', DeclaredRole::Single, &[]);
    thief.key = ServerKey::generate([77; 32]);
    for _ in 0..=REQUESTS_KEPT {
        let text = thief.request();
        assert_eq!(desk.ask(&text).unwrap_err().reason(), "KEY_CHANGED");
    }
    assert_eq!(desk.ask(&first).unwrap(), answer);
    for _ in 0..STRANGERS_KEPT {
        desk.ask("nonsense").unwrap_err();
    }
    let text = "SELECT count(*) FROM requests WHERE stranger = 1";
    let strangers: u32 = desk.connection.query_row(text, [], |row| row.get(0)).unwrap();
    assert_eq!(strangers, STRANGERS_KEPT);
}

/// Whoever has a rights id claims its copies, and reading is for everybody in the house.
#[test]
fn rights_ids_are_told_to_those_who_may_map_them() {
    let mut desk = desk();
    let drawn = desk.sell(&NewLineItem { rights_id: None, ..item(1, "", 5) }).unwrap();
    let text = "SELECT rights_id FROM line_items WHERE id = ?1";
    let id: String = desk.connection.query_row(text, [drawn], |row| row.get(0)).unwrap();
    let mut single = server('a', DeclaredRole::Single, &[]);
    single.asks.rights = vec![WantedRights { id: id.clone(), copies: Some(9) }];
    desk.told(&mut single);
    for list in [&crate::lists::RIGHTS, &crate::lists::REQUESTS, &crate::lists::AUDIT] {
        let read = |q: &str, sees_secrets| {
            let ask = crate::table::Ask { q: q.into(), sees_secrets, ..Default::default() };
            list.read(&desk.connection, &ask, &[], 50).unwrap()
        };
        let all = read("", false).to_csv();
        assert!(!all.contains(&id), "{all}");
        assert_eq!(read(&id[5..], false).total, 0, "nor can it be guessed");
    }
    let ask = crate::table::Ask { sees_secrets: true, ..Default::default() };
    let all = crate::lists::RIGHTS.read(&desk.connection, &ask, &[], 50).unwrap().to_csv();
    assert!(all.contains(&id), "{all}");
}
