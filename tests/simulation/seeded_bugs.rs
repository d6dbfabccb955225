//! The bugs that can be put in, to see whether the simulation finds them.

/// Puts a bug in, by its name.
#[cfg(debug_assertions)]
pub fn put_in(name: &str) -> Result<(), String> {
    use triad_client::mutation as client;
    use triad_ledger::mutation as ledger;
    use triad_raft::mutation as raft;
    use triad_server::mutation as server;
    match name {
        "skip-fsync" => raft::switch_on(raft::Mutation::SkipFsync),
        "answer-before-sync" => raft::switch_on(raft::Mutation::AnswerBeforeSync),
        "forget-vote" => raft::switch_on(raft::Mutation::ForgetVote),
        "lease-read" => raft::switch_on(raft::Mutation::LeaseRead),
        "purge-beyond-image" => raft::switch_on(raft::Mutation::PurgeBeyondImage),
        "answer-before-commit" => server::switch_on(server::Mutation::AnswerBeforeCommit),
        "wiped-node-votes" => server::switch_on(server::Mutation::WipedNodeVotes),
        "heartbeat-without-quorum" => server::switch_on(server::Mutation::HeartbeatWithoutQuorum),
        "no-grace-on-promotion" => server::switch_on(server::Mutation::NoGraceOnPromotion),
        "expire-by-wall-clock" => server::switch_on(server::Mutation::ExpireByWallClock),
        "no-stall-forgiveness" => server::switch_on(server::Mutation::NoStallForgiveness),
        "release-on-timeout" => server::switch_on(server::Mutation::ReleaseOnTimeout),
        "open-does-not-refresh" => server::switch_on(server::Mutation::OpenDoesNotRefresh),
        "late-heartbeat-revives" => server::switch_on(server::Mutation::LateHeartbeatRevives),
        "lease-from-acknowledgement" => {
            client::switch_on(client::Mutation::LeaseFromAcknowledgement);
        }
        "retry-is-new" => client::switch_on(client::Mutation::RetryIsNew),
        "close-is-no-sign" => client::switch_on(client::Mutation::CloseIsNoSign),
        "keep-abandoned-grant" => client::switch_on(client::Mutation::KeepAbandonedGrant),
        "end-without-term" => ledger::switch_on(ledger::Mutation::EndWithoutTerm),
        "forget-receipts" => ledger::switch_on(ledger::Mutation::ForgetReceipts),
        "receipts-not-recorded" => ledger::switch_on(ledger::Mutation::ReceiptsNotRecorded),
        "overtake-queue" => ledger::switch_on(ledger::Mutation::OvertakeQueue),
        "lost-wakeup" => ledger::switch_on(ledger::Mutation::LostWakeup),
        "loans-end-with-session" => ledger::switch_on(ledger::Mutation::LoansEndWithSession),
        "late-answer-forgotten" => ledger::switch_on(ledger::Mutation::LateAnswerForgotten),
        "due-loans-forgotten" => server::switch_on(server::Mutation::DueLoansForgotten),
        "suspect-heard-at-once" => server::switch_on(server::Mutation::SuspectHeardAtOnce),
        "first-item-only" => server::switch_on(server::Mutation::FirstItemOnly),
        "idle-from-now" => server::switch_on(server::Mutation::IdleFromNow),
        "never-suspect" => server::switch_on(server::Mutation::NeverSuspect),
        "close-is-forgotten" => server::switch_on(server::Mutation::CloseIsForgotten),
        "sick-disk-leads" => raft::switch_on(raft::Mutation::SickDiskLeads),
        "failed-sync-forgotten" => raft::switch_on(raft::Mutation::FailedSyncForgotten),
        "stay-on-dead-path" => client::switch_on(client::Mutation::StayOnDeadPath),
        "unknown-end-is-refused" => server::switch_on(server::Mutation::UnknownEndIsRefused),
        "own-clock-is-date" => raft::switch_on(raft::Mutation::OwnClockIsDate),
        "kept-though-ended" => client::switch_on(client::Mutation::KeptThoughEnded),
        _ => return Err(format!("no seeded bug is called {name}")),
    }
    Ok(())
}

/// Puts a bug in, by its name.
#[cfg(not(debug_assertions))]
pub fn put_in(name: &str) -> Result<(), String> {
    Err(format!("{name}: a build for release has no seeded bugs"))
}
