//! The ledger's rules as conversations that an administrator can read: each
//! file in `tests/scripts` is one rule, and the pages of `docs/reference/rules`
//! have examples of the same kind. After a rule has changed on purpose,
//! `UPDATE_GOLDENFILES=1 cargo test -p triad-ledger --test golden` writes what
//! is said now; read the difference line by line before it is committed.

mod calendar;
mod conversation;
mod pages;
mod words;

use conversation::Conversation;

macro_rules! scripts {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() -> std::io::Result<()> {
            let script = concat!("tests/scripts/", stringify!($name));
            goldenscript::run(&mut Conversation::default(), script)
        })*

        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

scripts!(
    acknowledged,
    administrators,
    atomic,
    borrow,
    borrow_shared,
    clock,
    closing,
    counts_lowered,
    counts_raised,
    dates,
    denials_are_remembered,
    encoding,
    ends_are_fenced,
    expiry_ends,
    expiry_moves,
    expiry_named,
    expiry_policy,
    explain,
    features,
    foreign_checkin,
    idle,
    limits,
    linger,
    linger_denied,
    linger_other_pool,
    linger_own_seat,
    loan_outlasts,
    named,
    overdraft,
    oversell,
    policy_bounds,
    policy_exclude_include,
    policy_max,
    policy_order,
    policy_reserve,
    policy_reserve_pools,
    policy_subjects,
    queue,
    queue_acknowledged,
    queue_fairness,
    queue_never,
    queue_other_pool,
    queue_own_max,
    receipts,
    renewal,
    renewal_later,
    resume,
    revoke,
    rules,
    serials,
    session_taken,
    sharing,
    soonest_expiring_first,
    supersede,
    supersede_later,
    suspects,
    tokens,
    unacknowledged,
    uncounted,
    uncounted_first,
    versions,
    withdrawn,
);

#[test]
fn every_script_is_run() -> std::io::Result<()> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("tests/scripts")? {
        found.push(entry?.file_name().into_string().expect("script names are ASCII"));
    }
    found.sort();
    assert_eq!(found, NAMES);
    Ok(())
}
