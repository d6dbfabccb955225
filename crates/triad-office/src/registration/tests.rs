//! Every order in which two and three servers may call, with crashes between,
//! ends in the same state; and what is refused is refused with its reason.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::*;
use crate::db;

fn host(letter: char) -> HostId {
    HostId::parse(&format!("STRING:{letter}")).unwrap()
}

fn by(repairs: bool) -> Registrar<'static> {
    Registrar { actor: "server", how: "in a test", cluster: None, repairs, now_ms: 1 }
}

fn undeclared(letter: char) -> Claim {
    Claim { hostid: host(letter), shape: Shape::Undeclared }
}

fn main_of(letter: char, backup: char) -> Claim {
    Claim { hostid: host(letter), shape: Shape::Main { backup: host(backup) } }
}

fn backup_of(letter: char, main: char) -> Claim {
    Claim { hostid: host(letter), shape: Shape::Backup { main: host(main) } }
}

fn member(letter: char, others: [char; 2]) -> Claim {
    Claim { hostid: host(letter), shape: Shape::Member { others: others.map(host) } }
}

/// A call, and where the process dies.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    /// Before the transaction is committed: as if the call had never come.
    DiesBefore,
    /// After it was committed: the caller knows nothing and calls again later.
    DiesAfter,
}

const FATES: [Fate; 3] = [Fate::Answered, Fate::DiesBefore, Fate::DiesAfter];

fn call(connection: &mut Connection, claim: &Claim, fate: Fate) -> Result<Placement, OfficeError> {
    let tx = connection.transaction()?;
    let placement = register(&tx, claim, by(false))?;
    let key = "UPDATE servers SET public_key = 'k' WHERE hostid = ?1";
    tx.execute(key, [claim.hostid.to_string()])?;
    match fate {
        Fate::DiesBefore => drop(tx),
        Fate::Answered | Fate::DiesAfter => tx.commit()?,
    }
    Ok(placement)
}

/// Who is with whom in which role, numbers left out.
fn state(connection: &Connection) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut statement = connection.prepare("SELECT id, kind FROM server_groups").unwrap();
    let groups = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    for (group, kind) in groups.map(|row| -> (i64, String) { row.unwrap() }) {
        let with = members(connection, group).unwrap();
        let with: Vec<String> =
            with.iter().map(|server| format!("{} {}", server.role, server.hostid)).collect();
        found.insert(format!("{kind}: {}", with.join(", ")));
    }
    let text = "SELECT hostid, role FROM servers WHERE group_id IS NULL";
    let mut statement = connection.prepare(text).unwrap();
    let alone = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    found.extend(alone.map(|row| {
        let (hostid, role): (String, String) = row.unwrap();
        format!("alone: {role} {hostid}")
    }));
    found
}

/// Every sequence of `length` calls, each with every fate; then each server
/// calls once more, in every order. Returns how many there were.
fn every_order(claims: &[Claim], length: u32, expected: &[&str]) -> usize {
    let expected: BTreeSet<String> = expected.iter().map(|line| (*line).to_owned()).collect();
    let choices = claims.len() * FATES.len();
    let mut tried = 0;
    for number in 0..choices.pow(length) {
        let mut connection = db::in_memory().unwrap();
        let mut rest = number;
        let mut history = Vec::new();
        for _ in 0..length {
            let (claim, fate) = (rest % claims.len(), FATES[rest / claims.len() % FATES.len()]);
            rest /= choices;
            history.push((claim, fate));
            call(&mut connection, &claims[claim], fate).expect("nothing is wrong with it");
        }
        // Which server is the last to call depends on the number, too.
        for step in 0..claims.len() {
            let claim = (number + step) % claims.len();
            call(&mut connection, &claims[claim], Fate::Answered).expect("nor with that");
        }
        assert_eq!(state(&connection), expected, "after {history:?}");
        tried += 1;
    }
    tried
}

/// P14: a main server and its back-up call in every order, with deaths before and after
/// each commit.
#[test]
fn every_order_of_a_pair_ends_in_the_same_state() {
    let pair = ["PAIR: MAIN STRING:a, BACKUP STRING:b"];
    let told = [main_of('a', 'b'), backup_of('b', 'a')];
    assert_eq!(every_order(&told, 4, &pair), 1_296);
    // As in the incumbent's procedure, the back-up knows nothing.
    let silent = [main_of('a', 'b'), undeclared('b')];
    assert_eq!(every_order(&silent, 4, &pair), 1_296);
}

/// P14: the same of three servers.
#[test]
fn every_order_of_a_triad_ends_in_the_same_state() {
    let triad = ["TRIAD: MEMBER STRING:a, MEMBER STRING:b, MEMBER STRING:c"];
    let told = [member('a', ['b', 'c']), member('b', ['c', 'a']), member('c', ['a', 'b'])];
    assert_eq!(every_order(&told, 3, &triad), 729);
    let one_told = [member('a', ['b', 'c']), undeclared('b'), undeclared('c')];
    assert_eq!(every_order(&one_told, 3, &triad), 729);
}

#[test]
fn a_declared_back_up_waits_for_its_main_and_joins_nobody_by_itself() {
    let mut connection = db::in_memory().unwrap();
    let mut call = |claim: &Claim| call(&mut connection, claim, Fate::Answered).unwrap();
    assert_eq!(call(&backup_of('b', 'a')), Placement::PendingMain);
    call(&undeclared('a'));
    assert_eq!(call(&backup_of('b', 'a')), Placement::PendingMain, "a has not named b");
    let pair = call(&main_of('a', 'b'));
    assert_eq!(call(&backup_of('b', 'a')), pair);
}

/// One line item of ten copies, of which `copies` are mapped to the group.
fn give_rights(connection: &Connection, group: i64, copies: u32) {
    connection
        .execute_batch(
            "INSERT OR IGNORE INTO organisations (id, name) VALUES (1, 'Acme');
             INSERT OR IGNORE INTO products (id, name, version) VALUES (1, 'p', '1');
             INSERT OR IGNORE INTO entitlements (id, organisation_id, reference) VALUES (1, 1, 'e');
             INSERT OR IGNORE INTO line_items (id, entitlement_id, product_id, rights_id, copies)
             VALUES (1, 1, 1, 'R-1', 10);",
        )
        .unwrap();
    let text = "INSERT INTO mappings (group_id, line_item_id, copies) VALUES (?1, 1, ?2)";
    connection.execute(text, params![group, copies]).unwrap();
}

fn group_of(placement: Placement) -> i64 {
    match placement {
        Placement::Group(group) => group,
        Placement::PendingMain => panic!("pending"),
    }
}

#[test]
fn a_mistaken_main_with_rights_is_refused_and_mended_by_repair() {
    let mut connection = db::in_memory().unwrap();
    let mistaken = group_of(call(&mut connection, &undeclared('b'), Fate::Answered).unwrap());
    give_rights(&connection, mistaken, 3);
    let error = call(&mut connection, &main_of('a', 'b'), Fate::Answered).unwrap_err();
    assert_eq!(error.reason(), "MAIN_HOLDS_RIGHTS");
    let text = error.to_string();
    assert!(text.starts_with("STRING:b is registered as a main server of its own and"), "{text}");
    assert!(text.contains("3 copies") && text.contains("pair repair STRING:a STRING:b"), "{text}");
    let error = call(&mut connection, &backup_of('b', 'a'), Fate::Answered).unwrap_err();
    assert_eq!(error.reason(), "MAIN_HOLDS_RIGHTS");
    assert_eq!(state(&connection), BTreeSet::from(["SINGLE: SINGLE STRING:b".to_owned()]));

    let pair = register_group(&connection, Kind::Pair, &[host('a'), host('b')], by(true)).unwrap();
    assert_eq!(copies_held(&connection, pair).unwrap(), 3);
    let expected = "PAIR: MAIN STRING:a, BACKUP STRING:b".to_owned();
    assert_eq!(state(&connection), BTreeSet::from([expected]));
    call(&mut connection, &main_of('a', 'b'), Fate::Answered).expect("now it is right");
}

#[test]
fn a_repair_keeps_the_group_that_holds_rights_and_its_license() {
    let mut connection = db::in_memory().unwrap();
    let main = group_of(call(&mut connection, &undeclared('a'), Fate::Answered).unwrap());
    let mistaken = group_of(call(&mut connection, &undeclared('b'), Fate::Answered).unwrap());
    give_rights(&connection, mistaken, 3);
    let hosts = [host('a'), host('b')];
    assert_eq!(register_group(&connection, Kind::Pair, &hosts, by(true)).unwrap(), mistaken);
    assert_eq!(copies_held(&connection, mistaken).unwrap(), 3);
    assert!(members(&connection, main).unwrap().is_empty());

    // Two licenses are out: one would be left over.
    let third = group_of(call(&mut connection, &undeclared('c'), Fate::Answered).unwrap());
    give_rights(&connection, third, 1);
    let hosts = [host('a'), host('b'), host('c')];
    let error = register_group(&connection, Kind::Triad, &hosts, by(true)).unwrap_err();
    assert_eq!(error.reason(), "SEVERAL_HOLD_RIGHTS");
}

#[test]
fn a_pair_the_wrong_way_round_turns_by_itself_while_it_holds_no_rights() {
    let mut connection = db::in_memory().unwrap();
    let wrong = register_group(&connection, Kind::Pair, &[host('b'), host('a')], by(false));
    call(&mut connection, &main_of('a', 'b'), Fate::Answered).unwrap();
    let right = "PAIR: MAIN STRING:a, BACKUP STRING:b".to_owned();
    assert_eq!(state(&connection), BTreeSet::from([right.clone()]));
    register_group(&connection, Kind::Pair, &[host('b'), host('a')], by(false)).unwrap();
    give_rights(&connection, wrong.unwrap(), 1);
    let error = call(&mut connection, &main_of('a', 'b'), Fate::Answered).unwrap_err();
    assert_eq!(error.reason(), "MAIN_HOLDS_RIGHTS");
    register_group(&connection, Kind::Pair, &[host('a'), host('b')], by(true)).unwrap();
    assert_eq!(state(&connection), BTreeSet::from([right]));
}

#[test]
fn a_main_server_with_rights_keeps_them_when_it_grows() {
    let mut connection = db::in_memory().unwrap();
    let single = group_of(call(&mut connection, &undeclared('a'), Fate::Answered).unwrap());
    give_rights(&connection, single, 2);
    let pair = call(&mut connection, &main_of('a', 'b'), Fate::Answered).unwrap();
    assert_eq!(pair, Placement::Group(single));
    let triad = call(&mut connection, &member('a', ['b', 'c']), Fate::Answered).unwrap();
    assert_eq!(triad, Placement::Group(single));
    assert_eq!(copies_held(&connection, single).unwrap(), 2);
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    let mut connection = db::in_memory().unwrap();
    call(&mut connection, &main_of('a', 'b'), Fate::Answered).unwrap();
    let before = state(&connection);
    let ethernet = HostId::parse("ETHERNET:001122334455").unwrap();
    let mixed = Claim { hostid: host('x'), shape: Shape::Main { backup: ethernet } };
    for (claim, reason) in [
        (main_of('x', 'x'), "HOSTID_TWICE"),
        (backup_of('x', 'x'), "HOSTID_TWICE"),
        (member('x', ['y', 'y']), "HOSTID_TWICE"),
        (mixed, "HOSTID_TYPES_DIFFER"),
        (main_of('x', 'b'), "IN_OTHER_GROUP"),
        (main_of('x', 'a'), "IN_OTHER_GROUP"),
        (backup_of('a', 'x'), "IN_OTHER_GROUP"),
        (member('x', ['a', 'y']), "IN_OTHER_GROUP"),
    ] {
        let error = call(&mut connection, &claim, Fate::Answered).unwrap_err();
        assert_eq!(error.reason(), reason, "{claim:?}: {error}");
        assert_eq!(state(&connection), before, "{claim:?}");
    }
    call(&mut connection, &backup_of('d', 'c'), Fate::Answered).unwrap();
    let error = call(&mut connection, &main_of('x', 'd'), Fate::Answered).unwrap_err();
    assert_eq!(error.reason(), "BACKUP_OF_ANOTHER");
}

#[test]
fn nobody_can_leave_a_group_that_another_confirms() {
    let mut connection = db::in_memory().unwrap();
    call(&mut connection, &member('a', ['b', 'x']), Fate::Answered).unwrap();
    // A slip in x; nobody else has called, so a may correct itself.
    call(&mut connection, &member('a', ['b', 'c']), Fate::Answered).unwrap();
    call(&mut connection, &member('b', ['a', 'c']), Fate::Answered).unwrap();
    let error = call(&mut connection, &member('a', ['c', 'd']), Fate::Answered).unwrap_err();
    assert_eq!(error.reason(), "IN_OTHER_GROUP");
}

#[test]
fn a_new_machine_takes_the_place_of_an_old_one_with_its_role_and_rights() {
    let mut connection = db::in_memory().unwrap();
    let triad = call(&mut connection, &member('a', ['b', 'c']), Fate::Answered).unwrap();
    give_rights(&connection, group_of(triad), 2);
    call(&mut connection, &undeclared('d'), Fate::Answered).unwrap();
    let error = call(&mut connection, &member('a', ['b', 'd']), Fate::Answered).unwrap_err();
    assert_eq!(error.reason(), "IN_OTHER_GROUP", "rights do not follow a slip");
    let group = replace_server(&connection, &host('c'), &host('d'), by(false)).unwrap();
    assert_eq!(Placement::Group(group), triad);
    let now = "TRIAD: MEMBER STRING:a, MEMBER STRING:b, MEMBER STRING:d".to_owned();
    assert_eq!(state(&connection), BTreeSet::from([now]));
    assert_eq!(call(&mut connection, &member('d', ['a', 'b']), Fate::Answered).unwrap(), triad);
    assert_eq!(copies_held(&connection, group).unwrap(), 2);

    let ethernet = HostId::parse("ETHERNET:001122334455").unwrap();
    let refused = |old: HostId, new: HostId| {
        replace_server(&connection, &old, &new, by(false)).unwrap_err().reason()
    };
    assert_eq!(refused(host('a'), ethernet), "HOSTID_TYPES_DIFFER");
    assert_eq!(refused(host('a'), host('b')), "HOSTID_TWICE");
    assert_eq!(refused(host('c'), host('x')), "NOT_FOUND");
}

/// The office is told of a new machine first, and its partners are configured anew one by one.
#[test]
fn partners_that_still_name_the_machine_before_are_in_the_same_group() {
    let mut connection = db::in_memory().unwrap();
    let triad = call(&mut connection, &member('a', ['b', 'c']), Fate::Answered).unwrap();
    give_rights(&connection, group_of(triad), 2);
    replace_server(&connection, &host('c'), &host('d'), by(false)).unwrap();
    replace_server(&connection, &host('d'), &host('e'), by(false)).unwrap();
    for others in [['b', 'c'], ['b', 'd'], ['b', 'e']] {
        let claim = member('a', others);
        assert_eq!(call(&mut connection, &claim, Fate::Answered).unwrap(), triad, "{others:?}");
    }
    let now = "TRIAD: MEMBER STRING:a, MEMBER STRING:b, MEMBER STRING:e".to_owned();
    assert_eq!(state(&connection), BTreeSet::from([now]));
    let error = call(&mut connection, &member('x', ['b', 'c']), Fate::Answered).unwrap_err();
    assert_eq!(error.reason(), "IN_OTHER_GROUP", "it stands for the new one among its own alone");
}

/// Of partners that were only ever named, none is left behind by who changes his mind.
#[test]
fn servers_that_nobody_heard_of_go_with_their_group() {
    let mut connection = db::in_memory().unwrap();
    for (one, other) in [('m', 'n'), ('o', 'p'), ('q', 'r')] {
        call(&mut connection, &member('a', [one, other]), Fate::Answered).unwrap();
    }
    let text = "SELECT count(*) FROM servers";
    assert_eq!(connection.query_row(text, [], |row| row.get(0)), Ok(3));
}

#[test]
fn a_triad_grows_from_the_one_that_has_the_rights() {
    let mut connection = db::in_memory().unwrap();
    let single = group_of(call(&mut connection, &undeclared('a'), Fate::Answered).unwrap());
    give_rights(&connection, single, 2);
    let error = call(&mut connection, &member('b', ['a', 'c']), Fate::Answered).unwrap_err();
    assert!(error.to_string().contains("STRING:a") && error.to_string().contains("call first"));
    call(&mut connection, &member('a', ['b', 'c']), Fate::Answered).unwrap();
    call(&mut connection, &member('b', ['a', 'c']), Fate::Answered).expect("they are one now");
}
