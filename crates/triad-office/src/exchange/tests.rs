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
